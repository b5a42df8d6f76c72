import { LongshoreError } from "@longshore/core";
import { acknowledgeHeader } from "@longshore/core/internal";
import type { IncomingRequest } from "./parts.ts";

/** The smallest step in which bodies are acknowledged, less than a packet: a sender cannot make the server talk more than listen. */
const leastStep = 1000;

/** Acknowledges each further `step` bytes, and the last byte. */
export function acknowledging(
  incoming: IncomingRequest,
  length: number | undefined,
): ((bytes: number) => void) | undefined {
  const { received, request } = incoming;
  const value = request.headers[acknowledgeHeader];
  if (value === undefined || !received) return undefined;
  if (!/^[0-9]{1,12}$/.test(value)) {
    throw new LongshoreError("invalid-input", "admission", `${acknowledgeHeader} must be a number of bytes`);
  }
  const step = Math.max(leastStep, Number(value));
  let told = 0;
  return (bytes) => {
    if (bytes - told < step && bytes !== length) return;
    told = bytes;
    received(bytes);
  };
}
