import { checksumDamage, checksumText, type Crc32 } from "../protocol/index.ts";
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
      value = crc32(chunk, value);
      yield chunk;
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

/**
 * The body without the digits that follow it. `read` throws `checksum-mismatch` instead of giving the end of a body that does not
 * fit them. This throws it for a body without a length, or one that is too short.
 *
 * @param what The body, at the beginning of an error's message.
 */
export function withoutChecksum(
  body: StreamBody,
  crc32: Crc32,
  what: string,
): StreamBody & { readonly byteLength: number } {
  const byteLength = (body.byteLength ?? 0) - digits;
  if (byteLength < 0) throw checksumDamage(what);
  async function* read(): AsyncIterable<Uint8Array> {
    let value = 0;
    let passed = 0;
    let told = "";
    let end: Uint8Array | undefined;
    for await (const chunk of body.read()) {
      const own = chunk.subarray(0, Math.min(chunk.byteLength, byteLength - passed));
      passed += own.byteLength;
      value = crc32(own, value);
      if (own.byteLength < chunk.byteLength) told += String.fromCharCode(...chunk.subarray(own.byteLength));
      // The chunk is only lent until the next one is read, and the end waits for its checksum.
      if (passed === byteLength && own.byteLength > 0) end = own.slice();
      else if (own.byteLength > 0) yield own;
    }
    if (passed !== byteLength || told !== checksumText(value)) throw checksumDamage(what);
    if (end) yield end;
  }
  return { kind: "stream", byteLength, read };
}
