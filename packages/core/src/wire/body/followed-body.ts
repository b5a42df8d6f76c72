import { type BodyCheck, checksumDamage, checksumText, type Crc32 } from "../protocol/index.ts";
import type { StreamBody } from "./body.ts";

/**
 * The checksum of a body that is passed on while it arrives.
 *
 * A gateway begins to send before it has all of a body, so it cannot state the checksum in a header, and a trailer would need chunks, which hide
 * the length from the receiver's admission. So the digits follow the body, and the length counts them.
 *
 * Invariant: a reader never gets the last byte of a damaged body.
 */

/** Digits behind the body. */
const digits = 8;

/** A body of known length, followed by the digits of its checksum. */
export function followedByChecksum(
  body: StreamBody,
  byteLength: number,
  crc32: Crc32,
): StreamBody & { readonly byteLength: number } {
  async function* read(): AsyncIterable<Uint8Array> {
    let value = 0;
    for await (const chunk of body.read()) {
      // Sent first: its receiver works on it meanwhile. It stays as it is until the next one is read.
      yield chunk;
      value = crc32(chunk, value);
    }
    yield new TextEncoder().encode(checksumText(value));
  }
  return {
    kind: "stream",
    byteLength: byteLength + digits,
    read,
    get complete() {
      return body.complete === true;
    },
    get again() {
      return body.again !== false;
    },
  };
}

/** The check of a body that its checksum follows. */
export interface FollowedCheck extends Pick<BodyCheck, "add" | "finish"> {
  /** Length of the body without the digits. */
  readonly byteLength: number;
}

/**
 * The check of a body with the digits that follow it. It throws `checksum-mismatch` for a body without a length, or one that is too
 * short.
 *
 * @param byteLength Length of the body and the digits.
 * @param what The body, at the beginning of an error's message.
 */
export function followedCheck(byteLength: number | undefined, crc32: Crc32, what: string): FollowedCheck {
  const bodyBytes = (byteLength ?? 0) - digits;
  if (bodyBytes < 0) throw checksumDamage(what);
  let value = 0;
  let passed = 0;
  let told = "";
  return {
    byteLength: bodyBytes,
    add(bytes) {
      const own = bytes.subarray(0, Math.max(0, bodyBytes - passed));
      passed += bytes.byteLength;
      value = crc32(own, value);
      if (own.byteLength < bytes.byteLength) told += String.fromCharCode(...bytes.subarray(own.byteLength));
    },
    finish() {
      if (passed !== bodyBytes + digits || told !== checksumText(value)) throw checksumDamage(what);
    },
  };
}

/** The body without the digits that follow it. `read` throws the error of `check` instead of giving the end of a damaged body. */
export function withoutChecksum(
  body: StreamBody,
  check: FollowedCheck,
): StreamBody & { readonly byteLength: number } {
  const { byteLength } = check;
  const free = body.free?.bind(body);
  /** The last piece with the digits that came with it. */
  let end: { readonly own: Uint8Array; readonly chunk: Uint8Array } | undefined;
  async function* read(): AsyncIterable<Uint8Array> {
    let passed = 0;
    for await (const chunk of body.read()) {
      check.add(chunk);
      const own = chunk.subarray(0, Math.min(chunk.byteLength, byteLength - passed));
      passed += own.byteLength;
      // The end waits for its checksum. A lent chunk is there only until the next one is read.
      if (own.byteLength === 0) free?.(chunk);
      else if (passed === byteLength) end = { own: free ? own : own.slice(), chunk };
      else yield own;
    }
    check.finish();
    if (end) yield end.own;
  }
  if (!free) return { kind: "stream", byteLength, read };
  return { kind: "stream", byteLength, read, free: (piece) => free(piece === end?.own ? end.chunk : piece) };
}
