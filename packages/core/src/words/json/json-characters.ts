import { LongshoreError } from "../base/index.ts";

/** Blanks and texts of JSON, read from bytes: the shared part of the readers of messages and of arrays. */

const blank = 0x20;
const quote = 0x22;

/** The error for data that is refused. */
export function bad(problem: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", `the data ${problem}`);
}

/** Tells whether a byte is one of the four that JSON allows between tokens. */
export function isBlank(byte: number | undefined): boolean {
  return byte === blank || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** A text that was read, and where it ends, after its quote. */
export interface ReadText {
  readonly value: string;
  readonly at: number;
}

/**
 * The JSON text that begins with a quote at `from`, and where it ends. Throws `invalid-input` for what is not JSON, not
 * UTF-8, or half of a surrogate pair, which stands for no character and would come back as another.
 *
 * @param most A text of more bytes is not read, but undefined.
 */
export function readJsonText(bytes: Uint8Array, from: number, end: number): ReadText;
export function readJsonText(
  bytes: Uint8Array,
  from: number,
  end: number,
  most: number,
): ReadText | undefined;
export function readJsonText(
  bytes: Uint8Array,
  from: number,
  end: number,
  most = Infinity,
): ReadText | undefined {
  const stop = from + most;
  if (bytes[from] !== quote) throw bad("holds something else than text");
  let at = from + 1;
  let escaped = false;
  for (; ; at++) {
    const byte = bytes[at] ?? 0;
    if (at >= end || byte < blank) throw bad("holds text that does not end or has control characters");
    if (byte === quote) break;
    if (at > stop) return undefined;
    if (byte === 0x5c) {
      escaped = true;
      at += 1;
    }
  }
  return { value: textOf(bytes.subarray(from + 1, at), escaped), at: at + 1 };
}

/** The text between quotes, or a part of it that ends with a character. */
function textOf(bytes: Uint8Array, escaped: boolean): string {
  let value: string;
  try {
    value = utf8.decode(bytes);
    // Only escapes need JSON's own reader, which here is the fast one: it makes one text.
    if (escaped) value = JSON.parse(`"${value}"`) as string;
  } catch {
    throw bad("holds text that is not UTF-8, or an unknown escape");
  }
  if (escaped && /\p{Surrogate}/u.test(value)) throw bad("holds half of a surrogate pair");
  return value;
}

/** Bytes of a text that are read before other work gets its turn: about a millisecond. */
const textAtOnce = 65_536;

/** Whether the escape after a backslash is the first half of a surrogate pair. */
function isFirstHalf(bytes: Uint8Array, at: number): boolean {
  const [letter, d, next = 0] = bytes.subarray(at, at + 3);
  return letter === 0x75 && (d === 0x64 || d === 0x44) && /[89abAB]/.test(String.fromCharCode(next));
}

/**
 * The same of a text that may be long, as the pieces of its UTF-8, which are views on `bytes` where nothing is escaped. Yields
 * after each of them.
 */
export function* readLongText(
  bytes: Uint8Array,
  from: number,
  end: number,
): Generator<void, { readonly pieces: readonly Uint8Array[]; readonly at: number }> {
  const pieces: Uint8Array[] = [];
  let at = from + 1;
  for (;;) {
    const start = at;
    let escaped = false;
    let half = false;
    for (; bytes[at] !== quote; at++) {
      const byte = bytes[at] ?? 0;
      if (at >= end || byte < blank) throw bad("holds text that does not end or has control characters");
      // A piece begins with a character: with neither a further byte of UTF-8 nor the second half of a pair.
      if (at - start >= textAtOnce && !half && (byte & 0xc0) !== 0x80) break;
      half = byte === 0x5c && isFirstHalf(bytes, at + 1);
      if (byte !== 0x5c) continue;
      escaped = true;
      at += bytes[at + 1] === 0x75 ? 5 : 1;
    }
    const piece = bytes.subarray(start, at);
    const text = textOf(piece, escaped);
    pieces.push(escaped ? encoder.encode(text) : piece);
    if (bytes[at] === quote) return { pieces, at: at + 1 };
    yield;
  }
}
