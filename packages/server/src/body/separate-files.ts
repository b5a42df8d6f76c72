import { LongshoreError } from "@longshore/core";
import { read } from "@longshore/core/internal";

/**
 * A request to load a model may bring its files along: tens of megabytes of base64 in one JSON text, which read at once would
 * hold the event loop for a large part of a second. So the texts of files are lifted out of the body in steps, each decoded
 * where it lies, with its number left in its position; the rest is small and read as any other request. In the rest, every text
 * under a key that begins with `file:` is such a number, however the key is written: no text of a sender is mistaken for one.
 */
export interface SeparatedFiles {
  /** The body with numbers, as text, for the texts of files. */
  readonly json: Uint8Array;
  /** By number; each in memory of its own. */
  readonly files: readonly Uint8Array[];
}

/** Characters that are decoded before other work gets its turn: about a millisecond. */
const atOnce = 2 ** 18;
/** Bytes in which a quote is looked for before that. */
const searchedAtOnce = 2 ** 22;

const quote = 0x22;
const colon = 0x3a;
const slash = 0x5c;
const equals = 0x3d;

/** Bytes that tell whether a key begins with `file:`, all of it escaped. */
const longestPrefix = 30;
const filePrefix = /^(?:f|\\u0066)(?:i|\\u0069)(?:l|\\u006[cC])(?:e|\\u0065)(?::|\\u003[aA])/;
const latin1 = new TextDecoder("latin1");
const encoder = new TextEncoder();

/** The value of a byte in base64; 64 for none. */
const sextets = new Uint8Array(256).fill(64);
const letters64 = encoder.encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
for (const [value, letter] of letters64.entries()) sextets[letter] = value;

function notBase64(): never {
  read.refuseField("a file", "the bytes of a file in base64");
}

/** The end of the text that begins at `from`, after its quote; `most` if it has not ended by then. */
function closingQuote(bytes: Uint8Array, from: number, most: number): number {
  for (let at = from; at < most; at++) {
    if (bytes[at] === quote) return at;
    if (bytes[at] === slash) at += 1;
  }
  return most;
}

/** Where the next quote is, which base64 never holds, escaped or not; the end of all where none is. */
function* nextQuote(bytes: Uint8Array, from: number): Generator<void, number> {
  for (let at = from; at < bytes.byteLength; at += searchedAtOnce) {
    const found = bytes.subarray(at, at + searchedAtOnce).indexOf(quote);
    if (found >= 0) return at + found;
    yield;
  }
  return bytes.byteLength;
}

/** The character of an escape after a backslash, and where it ends. */
function escaped(bytes: Uint8Array, at: number): { readonly code: number; readonly end: number } {
  const [letter = "", ...hex] = latin1.decode(bytes.subarray(at, at + 5));
  if (letter === "u" && /^[0-9a-fA-F]{4}$/.test(hex.join(""))) {
    return { code: Number.parseInt(hex.join(""), 16), end: at + 5 };
  }
  const code = { "/": 0x2f, n: 0x0a, r: 0x0d, t: 0x09, f: 0x0c }[letter];
  return code === undefined ? notBase64() : { code, end: at + 1 };
}

/** Decodes base64 as `atob` does: blanks count for nothing, and padding may be missing. */
function* decoded(text: Uint8Array): Generator<void, Uint8Array> {
  const bytes = new Uint8Array(Math.floor((text.byteLength * 3) / 4));
  let to = 0;
  let bits = 0;
  let letters = 0;
  let padding = 0;
  let stop = atOnce;
  for (let at = 0; at < text.byteLength;) {
    if (at >= stop) {
      yield;
      stop = at + atOnce;
    }
    if (letters === 0 && padding === 0) {
      const end = Math.min(stop, text.byteLength - 3);
      while (at < end) {
        const a = sextets[text[at] as number] as number;
        const b = sextets[text[at + 1] as number] as number;
        const c = sextets[text[at + 2] as number] as number;
        const d = sextets[text[at + 3] as number] as number;
        if ((a | b | c | d) > 63) break;
        bytes[to] = (a << 2) | (b >> 4);
        bytes[to + 1] = (b << 4) | (c >> 2);
        bytes[to + 2] = (c << 6) | d;
        to += 3;
        at += 4;
      }
      if (at >= stop || at >= text.byteLength) continue;
    }
    let code = text[at] ?? 0;
    // Control characters are no JSON unless they are escaped.
    if (code < 0x20) notBase64();
    at += 1;
    if (code === slash) ({ code, end: at } = escaped(text, at));
    if (code === 0x20 || (code >= 0x09 && code <= 0x0d && code !== 0x0b)) continue;
    if (code === equals) {
      padding += 1;
      continue;
    }
    const value = sextets[code] ?? 64;
    if (value > 63 || padding > 0) notBase64();
    bits = (bits << 6) | value;
    letters += 1;
    if (letters < 4) continue;
    bytes[to] = bits >> 16;
    bytes[to + 1] = bits >> 8;
    bytes[to + 2] = bits;
    to += 3;
    letters = 0;
    bits = 0;
  }
  if (letters === 1 || (padding > 0 && (padding > 2 || letters + padding !== 4))) notBase64();
  if (letters >= 2) bytes[to] = bits >> (letters === 2 ? 4 : 10);
  if (letters === 3) bytes[to + 1] = bits >> 2;
  return bytes.subarray(0, to + Math.max(0, letters - 1));
}

/**
 * Lifts the files out of a body, yielding after each two milliseconds or so. Throws `invalid-input` where a file is not in
 * base64, and `body-too-large` where more than `mostJsonBytes` are left. Whether what is left is JSON is for its reader.
 */
export function* separateFiles(body: Uint8Array, mostJsonBytes: number): Generator<void, SeparatedFiles> {
  const kept: Uint8Array[] = [];
  const files: Uint8Array[] = [];
  let keptBytes = 0;
  let from = 0;
  const keep = (piece: Uint8Array): void => {
    keptBytes += piece.byteLength;
    if (keptBytes > mostJsonBytes) {
      const message = `the request has more than ${mostJsonBytes} bytes besides files`;
      throw new LongshoreError("body-too-large", "decode", message);
    }
    kept.push(piece);
  };
  /** The last token: a text that may be the key of a file, that and a colon, or any other. */
  let last: "key" | "colon" | undefined;
  const length = body.byteLength;
  let stop = atOnce;
  for (let at = 0; at < length; at++) {
    if (at >= stop) {
      yield;
      stop = at + atOnce;
    }
    // Text outside of files is searched only up to its limit.
    if (at - from > mostJsonBytes) break;
    const byte = body[at];
    if (byte === colon && last === "key") last = "colon";
    else if (byte === quote) {
      if (last === "colon") {
        const end = yield* nextQuote(body, at + 1);
        keep(body.subarray(from, at + 1));
        keep(encoder.encode(String(files.length)));
        files.push(yield* decoded(body.subarray(at + 1, end)));
        from = end;
        last = undefined;
        at = end;
      } else {
        const end = closingQuote(body, at + 1, Math.min(length, from + mostJsonBytes + 1));
        const lead = latin1.decode(body.subarray(at + 1, Math.min(end, at + 1 + longestPrefix)));
        last = filePrefix.test(lead) ? "key" : undefined;
        at = end;
      }
    } else if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) last = undefined;
  }
  keep(body.subarray(from));
  const json = new Uint8Array(keptBytes);
  let offset = 0;
  for (const piece of kept) {
    json.set(piece, offset);
    offset += piece.byteLength;
  }
  return { json, files };
}
