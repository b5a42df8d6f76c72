import { defaultWireLimits, type WireLimits } from "@longshore/core";
import { defaultMaxKeptBytes } from "@longshore/server";

/** Bytes of bodies that may be worked on at one time, where bodies are no larger than usual. */
const bufferedBytes = 2 ** 30;

/**
 * The further limits of a server that takes bodies of this many bytes: a tensor that fills one, and two of them at a time, even
 * if `maxKeptBytes` of each are kept for a resend.
 */
export function messageLimits(
  maxBodyBytes: number = defaultWireLimits.maxBodyBytes,
  maxKeptBytes: number = defaultMaxKeptBytes,
): {
  readonly limits: WireLimits;
  readonly maxBufferedBytes: number;
  readonly maxKeptBytes: number;
} {
  const maxTensorBytes = Math.max(defaultWireLimits.maxTensorBytes, maxBodyBytes);
  return {
    limits: { ...defaultWireLimits, maxBodyBytes, maxTensorBytes },
    maxBufferedBytes: Math.max(bufferedBytes, 2 * (maxBodyBytes + Math.min(maxBodyBytes, maxKeptBytes))),
    maxKeptBytes,
  };
}
