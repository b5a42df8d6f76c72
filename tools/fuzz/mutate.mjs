/** Seeded mutation of bytes: small steps away from inputs that are good, with the words that a reader knows. */

/** A generator of draws in [0, 1) with 32 bits of state (mulberry32). */
export function draws(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export const below = (draw, most) => Math.floor(draw() * most);
export const oneOf = (draw, list) => list[below(draw, list.length)];

const interestingBytes = [
  0, 1, 0x7f, 0x80, 0xff, 0x20, 0x22, 0x2d, 0x30, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x0a, 0x0d, 0x25,
];

/** Words that trouble any reader of numbers, names and lists. */
const troublesome = [
  "-1", "0", "-0", "1e309", "1e-400", "9007199254740993", "18446744073709551616", "9223372036854775808", "4294967296", "2147483648",
  "0.1", "NaN", "Infinity", "null", "true", "__proto__", "constructor", "toString", "..", "../", "%2e%2e%2f", "%00", "\u0000", "\ud800",
  "\ufeff", "\\u0000", "\\ud800", "é", "💥", "a".repeat(600), "[".repeat(40), "{\"a\":".repeat(40), "1".repeat(400), "\r\n", "\t", "",
]; // prettier-ignore

function splice(bytes, from, length, insert) {
  const out = new Uint8Array(bytes.length - length + insert.length);
  out.set(bytes.subarray(0, from));
  out.set(insert, from);
  out.set(bytes.subarray(from + length), from + insert.length);
  return out;
}

const encoder = new TextEncoder();
const mostBytes = 65_536;

/** One to six steps away from one of the seeds, sometimes with a piece of another. */
export function mutated(draw, seeds, dictionary) {
  let bytes = oneOf(draw, seeds);
  for (let steps = 1 + below(draw, 6); steps > 0; steps--) {
    const at = below(draw, bytes.length + 1);
    const rest = bytes.length - at;
    const kind = below(draw, 8);
    if (kind === 0 && rest > 0) {
      bytes = bytes.slice();
      bytes[at] ^= 1 << below(draw, 8);
    } else if (kind === 1 && rest > 0) {
      bytes = bytes.slice();
      bytes[at] = oneOf(draw, interestingBytes);
    } else if (kind === 2) {
      bytes = splice(bytes, at, below(draw, Math.min(rest, 16) + 1), new Uint8Array(0));
    } else if (kind === 3) {
      bytes = splice(bytes, at, 0, encoder.encode(oneOf(draw, draw() < 0.5 ? dictionary : troublesome)));
    } else if (kind === 4) {
      const word = encoder.encode(oneOf(draw, draw() < 0.5 ? dictionary : troublesome));
      bytes = splice(bytes, at, Math.min(rest, word.length), word);
    } else if (kind === 5) {
      const length = below(draw, Math.min(rest, 64) + 1);
      bytes = splice(bytes, at, 0, bytes.slice(at, at + length));
    } else if (kind === 6) {
      const other = oneOf(draw, seeds);
      const from = below(draw, other.length + 1);
      bytes = splice(
        bytes,
        at,
        below(draw, Math.min(rest, 64) + 1),
        other.slice(from, from + below(draw, 200)),
      );
    } else {
      bytes = bytes.slice(0, at);
    }
    if (bytes.length > mostBytes) bytes = bytes.slice(0, mostBytes);
  }
  return bytes;
}
