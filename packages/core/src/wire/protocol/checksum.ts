/**
 * A checksum of bodies. TCP's own checksum has 16 bits, and a relay that copies bytes computes it again: on plain HTTP a flipped bit
 * can arrive as a wrong tensor with status 200. Both sides of Longshore's extension therefore state the CRC-32 of a whole body
 * (JSON and binary part, before any content coding) in a header, and the receiver compares. CRC-32 finds every single flipped bit and
 * every burst of up to 32 bits. It is no protection against someone who changes bytes on purpose: that is what TLS is for.
 */
import { LongshoreError } from "../../words/base/index.ts";

/**
 * The CRC-32 (IEEE 802.3) of bytes, after bytes whose CRC-32 is `value` (default 0: none). The signature is that of `zlib.crc32` in
 * Node.js, which is some four times as fast as the one in TypeScript.
 */
export type Crc32 = (bytes: Uint8Array, value?: number) => number;

/**
 * Of a request: 8 hexadecimal digits; `after` if the digits follow the body, since the sender does not know them before it sends; or
 * `none`. Each requests the same header, with digits, in the reply. Servers without the extension ignore it.
 */
export const checksumHeader = "longshore-crc32";

/** A request's value that states no checksum and requests one. */
export const noChecksum = "none";

/** A request's value if the 8 digits are the end of the body, and its length counts them. */
export const checksumAfter = "after";

const polynomial = 0xedb88320;
/** Bytes that are read in one step. */
const sliceBytes = 8;

/** Table n has the CRC-32 of each byte followed by n zero bytes. */
function makeTables(): readonly Uint32Array[] {
  const first = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    first[byte] = value;
  }
  const tables = [first];
  for (let index = 1; index < sliceBytes; index++) {
    const before = tables[index - 1] ?? first;
    tables.push(before.map((value) => (value >>> 8) ^ (first[value & 0xff] ?? 0)));
  }
  return tables;
}

/** CRC-32 in TypeScript, for browsers: 8 bytes a step (Kounavis and Berry, 2005, "A systematic approach to building high performance CRCs"). */
export function createTableCrc32(): Crc32 {
  const tables = makeTables();
  const empty = new Uint32Array(256);
  const [t0 = empty, t1 = empty, t2 = empty, t3 = empty, t4 = empty, t5 = empty, t6 = empty, t7 = empty] =
    tables;
  return (bytes, value = 0) => {
    const { byteLength } = bytes;
    let crc = ~value;
    let at = 0;
    for (; at + sliceBytes <= byteLength; at += sliceBytes) {
      // In bounds by the loop's condition; each index of a table is below 256.
      const b = bytes as unknown as Readonly<Record<number, number>>;
      const low =
        crc ^
        ((b[at] as number) |
          ((b[at + 1] as number) << 8) |
          ((b[at + 2] as number) << 16) |
          ((b[at + 3] as number) << 24));
      crc =
        (t7[low & 0xff] as number) ^
        (t6[(low >>> 8) & 0xff] as number) ^
        (t5[(low >>> 16) & 0xff] as number) ^
        (t4[low >>> 24] as number) ^
        (t3[b[at + 4] as number] as number) ^
        (t2[b[at + 5] as number] as number) ^
        (t1[b[at + 6] as number] as number) ^
        (t0[b[at + 7] as number] as number);
    }
    for (; at < byteLength; at++) crc = (crc >>> 8) ^ (t0[(crc ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
    return ~crc >>> 0;
  };
}

/** The CRC-32 of parts that follow one another. */
export function crc32Of(parts: readonly Uint8Array[], crc32: Crc32): number {
  let value = 0;
  for (const part of parts) value = crc32(part, value);
  return value;
}

/** A CRC-32 as the header states it. */
export function checksumText(value: number): string {
  return value.toString(16).padStart(8, "0");
}

/** Compares the bytes of a body, as they come, with the checksum that its sender stated. */
export interface BodyCheck {
  /** The stated checksum. */
  readonly crc32: number;
  /** The next bytes. */
  add(bytes: Uint8Array): void;
  /** Throws `checksum-mismatch` if the bytes so far, which are all, have another checksum. */
  finish(): void;
}

/** The error of a body that does not fit its checksum. `what` is the body, at the beginning of the message. */
export function checksumDamage(what: string): LongshoreError {
  return new LongshoreError(
    "checksum-mismatch",
    "transport",
    `${what} was damaged on its way: its CRC-32 is not the one in ${checksumHeader}; send the request again`,
  );
}

/**
 * The check of a body by the header of its message; undefined where its sender stated no checksum. Throws `checksum-mismatch` for a
 * header that no sender writes.
 *
 * @param what The body, at the beginning of an error's message.
 */
export function bodyCheck(
  headers: Readonly<Record<string, string>>,
  what: string,
  crc32: Crc32,
): BodyCheck | undefined {
  const stated = headers[checksumHeader];
  if (stated === undefined || stated === noChecksum) return undefined;
  if (!/^[0-9a-f]{8}$/.test(stated)) throw checksumDamage(what);
  return new StatedCheck(Number.parseInt(stated, 16), what, crc32);
}

class StatedCheck implements BodyCheck {
  readonly crc32: number;
  readonly #what: string;
  readonly #sum: Crc32;
  #value = 0;

  constructor(stated: number, what: string, sum: Crc32) {
    this.crc32 = stated;
    this.#what = what;
    this.#sum = sum;
  }

  add(bytes: Uint8Array): void {
    this.#value = this.#sum(bytes, this.#value);
  }

  finish(): void {
    if (this.#value !== this.crc32) throw checksumDamage(this.#what);
  }
}
