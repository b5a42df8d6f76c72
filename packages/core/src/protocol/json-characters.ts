import { LongshoreError } from "../base/index.ts";

/** Blanks and texts of JSON, read from bytes: what the readers of messages and of arrays have in common. */

const blank = 0x20;
const quote = 0x22;

function bad(problem: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", `the data ${problem}`);
}

/** Tells whether a byte is one of the four that JSON allows between tokens. */
export function isBlank(byte: number | undefined): boolean {
  return byte === blank || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The JSON text that begins with a quote at `from`, and where it ends. Throws `invalid-input` for what is not JSON, not
 * UTF-8, or half of a surrogate pair, which stands for no character and would come back as another.
 */
export function readText(
  bytes: Uint8Array,
  from: number,
  end: number,
): { readonly value: string; readonly at: number } {
  if (bytes[from] !== quote) throw bad("holds something else than text");
  let at = from + 1;
  let escaped = false;
  for (; ; at++) {
    const byte = bytes[at] ?? 0;
    if (at >= end || byte < blank) throw bad("holds text that does not end or has control characters");
    if (byte === quote) break;
    if (byte === 0x5c) {
      escaped = true;
      at += 1;
    }
  }
  let value: string;
  try {
    // Only escapes need JSON's own reader, which here is the fast one: it makes one text.
    value = escaped
      ? (JSON.parse(utf8.decode(bytes.subarray(from, at + 1))) as string)
      : utf8.decode(bytes.subarray(from + 1, at));
  } catch {
    throw bad("holds text that is not UTF-8, or an unknown escape");
  }
  if (escaped && /\p{Surrogate}/u.test(value)) throw bad("holds half of a surrogate pair");
  return { value, at: at + 1 };
}
