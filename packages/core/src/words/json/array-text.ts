import { bad, isBlank, readLongText, readJsonText } from "./json-characters.ts";

/**
 * The JSON text of an array of scalars, read one leaf after another from the bytes of a message.
 *
 * The obvious way, `JSON.parse`, makes a JavaScript number of every value and an array of all of them before the tensor exists:
 * for an image that costs more than running the model. Here values go from the text into the tensor, and the rest of this file
 * is about giving the same values: a decimal number is `significand * 10^exponent`; with at most 2^53 and
 * |exponent| at most 22 both are exact in binary and one division or multiplication rounds once, correctly (W. D.
 * Clinger, "How to read floating point numbers accurately", 1990). Numbers outside that range go to `Number`, except that FP32
 * has bits to spare: an approximation whose error interval rounds to one FP32 value has rounded correctly.
 *
 * Invariant: a leaf is handed out only where JSON allows one, at one depth throughout, and `next` returns false only after the
 * bracket that closes the array, at `end`.
 */

const zero = 0x30;
const minus = 0x2d;
const comma = 0x2c;
const blank = 0x20;
const quote = 0x22;
const opening = 0x5b;
const closing = 0x5d;

/** Powers of ten, each correctly rounded; exact up to 10^22. */
const powers: Float64Array = Float64Array.from({ length: 309 }, (_, power) => Number(`1e${power}`));

/** Their inverses, each correctly rounded. */
const inverses: Float64Array = Float64Array.from({ length: 24 }, (_, power) => Number(`1e-${power}`));

/** The largest whole number up to which all are exact, and what a significand in 19 digits stays below. */
const exactMost = 2 ** 53;
const nineteenDigits = 1e19;

/** The most bytes between two values; they are read at once. Even deep nesting takes less. */
const mostBetween = 4096;
/** The most bytes of a number; they are read at once. No FP64 value has more digits. */
const mostDigits = 1100;
/** Longer strings are read in pieces. */
const shortText = 4096;
/** The cost of a number that goes to JavaScript's own readers, in ordinary numbers; each two characters cost one more. */
const numbersInSlow = 8;

/**
 * Bounds of the relative error of a significand below 10^19 that was summed up in FP64 (at most 4 digits beyond the exact
 * ones, two roundings each), times a rounded power (three more): 11 * 2^-53, taken as 2^-48.
 */
const belowIt: number = 1 - 2 ** -48;
const aboveIt: number = 1 + 2 ** -48;

const toSingle: (value: number) => number = Math.fround;

/** Bytes that may follow digits, less the byte of zero. */
const point = 0x2e - zero;
const exponentSmall = 0x65 - zero;
const exponentLarge = 0x45 - zero;

/** The number that four bytes of digits are, the first in the lowest byte. */
function fourDigits(four: number): number {
  const pairs = (Math.imul(four & 0x0f0f0f0f, 2561) >>> 8) & 0x00ff00ff;
  return Math.imul(pairs, 6_553_601) >>> 16;
}

const afterOpening = 1;
const afterValue = 2;
const afterComma = 3;

/** Reads the leaves of one array. Every reader throws `invalid-input` for text that is not JSON. */
export class ArrayText {
  readonly bytes: Uint8Array;
  /** Behind the closing bracket. */
  readonly end: number;
  /** Leaves that `next` has handed out. */
  leaves = 0;
  /** How many plain numbers take as long as what could not be read as one did, so far. */
  notPlain = 0;
  #at: number;
  readonly #words: DataView;
  #state = 0;
  #depth = 0;
  #leafDepth = -1;
  #deepest = 1;
  #rowLength = 0;
  /** Of the number that was read last. */
  #significand = 0;
  #exponent = 0;
  #negative = false;

  /** @param start Where the opening bracket stands. */
  constructor(bytes: Uint8Array, start: number, end: number) {
    this.bytes = bytes;
    this.#at = start;
    this.end = end;
    this.#words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** States the shape that the array is read for: it may be flat, or nested no deeper than that. */
  expect(shape: readonly number[]): void {
    this.#deepest = Math.max(shape.length, 1);
    this.#rowLength = shape.at(-1) ?? 1;
  }

  /** Bytes that were not read yet. */
  get bytesLeft(): number {
    return this.end - this.#at;
  }

  /** The most leaves that this text can hold, by its length. */
  get mostLeaves(): number {
    return Math.ceil((this.end - this.#at) / 2);
  }

  /** Moves to the next leaf. False after the last one. */
  next(): boolean {
    const { bytes } = this;
    let at = this.#at;
    if (this.#state === afterValue && bytes[at] === comma && this.#depth === this.#leafDepth) {
      // The usual text between two numbers.
      if (bytes[at + 1] === blank) at += 1;
      const byte = bytes[at + 1] ?? 0;
      if ((byte >= zero && byte <= 0x39) || byte === minus) {
        this.#at = at + 1;
        this.leaves += 1;
        return true;
      }
      at = this.#at;
    }
    return this.#search(at);
  }

  #search(from: number): boolean {
    const { bytes, end } = this;
    const most = Math.min(end, from + mostBetween);
    let state = this.#state;
    for (let at = from; at < most; at++) {
      const byte = bytes[at];
      if (isBlank(byte)) continue;
      if (byte === comma && state === afterValue && this.#depth > 0) {
        state = afterComma;
      } else if (byte === opening && state !== afterValue) {
        this.#depth += 1;
        if (this.#depth > this.#deepest) throw bad("is nested deeper than its shape");
        state = afterOpening;
      } else if (byte === closing && (state === afterValue || state === afterOpening)) {
        this.#closeRow();
        state = afterValue;
        if (this.#depth > 0) continue;
        this.#at = at + 1;
        this.#state = afterValue;
        if (this.#at !== end) throw bad("is not a JSON array of values");
        return false;
      } else {
        const misplaced = byte === comma || byte === closing || state === afterValue || state === 0;
        if (misplaced) throw bad("is not a JSON array of values");
        if (this.#leafDepth < 0) this.#leafDepth = this.#depth;
        else if (this.#leafDepth !== this.#depth) throw bad("mixes values and rows");
        this.#at = at;
        this.#state = afterValue;
        this.leaves += 1;
        return true;
      }
    }
    if (most < end) throw bad(`has more than ${mostBetween} bytes between two values`);
    throw bad("is not a JSON array of values");
  }

  #closeRow(): void {
    const whole = this.#depth === this.#deepest && this.#depth === this.#leafDepth;
    if (whole && this.#deepest > 1 && this.leaves % this.#rowLength !== 0) {
      throw bad("has rows of other lengths than its shape");
    }
    this.#depth -= 1;
  }

  /**
   * Reads further leaves into `into` from `index` on, no further than `until`, as long as they have the usual form: at most 9
   * digits, a point, and at most 20 digits, a comma before them. Returns the index after the last one. The same as `next` and
   * `float32`, without going through this object for each.
   */
  plainSingles(into: Float32Array, index: number, until: number): number {
    if (this.#state !== afterValue || this.#depth !== this.#leafDepth) return index;
    const { bytes } = this;
    const words = this.#words;
    // Bytes that are read ahead must lie within the message.
    const last = bytes.length - 40;
    let at = this.#at;
    let next = index;
    while (next < until && at < last && bytes[at] === comma) {
      let here = bytes[at + 1] === blank ? at + 2 : at + 1;
      const negative = bytes[here] === minus;
      if (negative) here += 1;
      const first = (bytes[here] ?? 0) - zero;
      if (first < 0 || first > 9) break;
      here += 1;
      let digit = (bytes[here] ?? 0) - zero;
      let significand = first;
      let power = 0;
      if (digit >= 0 && digit <= 9) {
        if (first === 0) break;
        const most = here + 8;
        do {
          significand = Math.imul(significand, 10) + digit;
          here += 1;
          digit = (bytes[here] ?? 0) - zero;
        } while (digit >= 0 && digit <= 9 && here < most);
        if (digit >= 0 && digit <= 9) break;
      }
      if (digit === point) {
        here += 1;
        const from = here;
        for (;;) {
          // Four digits at a time, by arithmetic on all four bytes at once (after D. Lemire and W. Mula).
          const four = words.getInt32(here, true);
          const other = ((four & 0xf0f0f0f0) | (((four + 0x06060606) & 0xf0f0f0f0) >>> 4)) ^ 0x33333333;
          if (other === 0) {
            significand = significand * 10_000 + fourDigits(four);
            here += 4;
            if (here - from > 16) break;
          } else {
            // The lowest byte that is no digit tells how many are; shifted up, the others have zeros before them.
            const digits = (31 - Math.clz32(other & -other)) >>> 3;
            if (digits > 0) {
              significand = significand * (powers[digits] ?? 1) + fourDigits(four << (32 - 8 * digits));
              here += digits;
            }
            break;
          }
        }
        power = here - from;
        digit = (bytes[here] ?? 0) - zero;
        if (power === 0 || (digit >= 0 && digit <= 9) || digit === point) break;
      }
      if (digit === exponentSmall || digit === exponentLarge) break;
      const value = significand * (inverses[power] ?? 0);
      const single = toSingle(value * aboveIt);
      if (single !== toSingle(value * belowIt)) break;
      into[next] = negative ? -single : single;
      next += 1;
      at = here;
    }
    this.#at = at;
    this.leaves += next - index;
    return next;
  }

  /** The leaf as FP64, exactly rounded; infinite where FP64 ends. */
  float64(): number {
    const from = this.#at;
    this.#number();
    const significand = this.#significand;
    const exponent = this.#exponent;
    if (significand <= exactMost && exponent <= 22 && exponent >= -22) {
      // Both are exact, so one operation rounds once.
      const value =
        exponent < 0 ? significand / (powers[-exponent] ?? 1) : significand * (powers[exponent] ?? 1);
      return this.#negative ? -value : value;
    }
    return Number(this.#slice(from));
  }

  /** The leaf rounded to FP64 and then to FP32, as from `JSON.parse`; infinite where FP32 ends. */
  float32(): number {
    const from = this.#at;
    this.#number();
    const significand = this.#significand;
    const exponent = this.#exponent;
    if (significand < nineteenDigits && exponent <= 308 && exponent >= -308) {
      const value =
        exponent < 0 ? significand / (powers[-exponent] ?? 1) : significand * (powers[exponent] ?? 1);
      const single = toSingle(value * aboveIt);
      if (single === toSingle(value * belowIt)) return this.#negative ? -single : single;
    }
    return toSingle(Number(this.#slice(from)));
  }

  /** The leaf as a whole number up to 2^53, or undefined when it is none. */
  whole(): number | undefined {
    const value = this.float64();
    return Number.isSafeInteger(value) ? value : undefined;
  }

  /**
   * The leaf as a whole number with all its digits: a JSON number, or decimal text as senders write it whose JSON cannot
   * hold 64 bits. Undefined when it is none. A `bigint` only beyond 2^53.
   */
  long(): number | bigint | undefined {
    const { bytes } = this;
    if (bytes[this.#at] === quote) {
      const text = this.text();
      this.notPlain += 3 * numbersInSlow;
      return text !== undefined && /^-?[0-9]{1,20}$/.test(text) ? BigInt(text) : undefined;
    }
    const from = this.#at;
    const value = this.float64();
    if (Number.isSafeInteger(value)) return value;
    this.notPlain += 2 * numbersInSlow;
    const written = this.#slice(from);
    return /^-?[0-9]{1,20}$/.test(written) ? BigInt(written) : undefined;
  }

  /** The value of the word that the leaf is; undefined if it is none of these. */
  word(words: readonly (readonly [string, number])[]): number | undefined {
    const first = this.bytes[this.#at] ?? 0;
    if (first >= zero && first <= 0x39) return undefined;
    const [word, value] = words.find(([one]) => this.#startsWith(one)) ?? (["", undefined] as const);
    this.#at += word.length;
    return value;
  }

  /** The leaf as text; undefined where it is a long one. Throws `invalid-input` when it is none. */
  text(): string | undefined {
    const text = readJsonText(this.bytes, this.#at, this.end, shortText);
    if (text) this.#at = text.at;
    return text?.value;
  }

  /** A long one, as pieces of UTF-8, some of them views on the message; yields after each millisecond or so. */
  *longText(): Generator<void, readonly Uint8Array[]> {
    const { pieces, at } = yield* readLongText(this.bytes, this.#at, this.end);
    this.#at = at;
    return pieces;
  }

  #startsWith(word: string): boolean {
    for (let index = 0; index < word.length; index++) {
      if (this.bytes[this.#at + index] !== word.charCodeAt(index)) return false;
    }
    return true;
  }

  /** The text of the number that began at `from` and was read just now: ASCII, since its grammar was checked. */
  #slice(from: number): string {
    this.notPlain += numbersInSlow + ((this.#at - from) >> 1);
    let text = "";
    for (let at = from; at < this.#at; at++) text += String.fromCharCode(this.bytes[at] ?? 0);
    return text;
  }

  /** Reads one number by JSON's grammar into significand, exponent and sign. */
  #number(): void {
    const { bytes } = this;
    let at = this.#at;
    const most = at + mostDigits;
    const negative = bytes[at] === minus;
    if (negative) at += 1;
    const first = (bytes[at] ?? 0) - zero;
    if (!(first >= 0 && first <= 9)) throw bad("holds something else than JSON numbers");
    at += 1;
    let significand = first;
    let exponent = 0;
    let digit = (bytes[at] ?? 0) - zero;
    if (first === 0) {
      if (digit >= 0 && digit <= 9) throw bad("holds a number with a leading zero");
    } else {
      while (digit >= 0 && digit <= 9 && at < most) {
        significand = significand * 10 + digit;
        at += 1;
        digit = (bytes[at] ?? 0) - zero;
      }
    }
    if (digit === point) {
      at += 1;
      const from = at;
      digit = (bytes[at] ?? 0) - zero;
      while (digit >= 0 && digit <= 9 && at < most) {
        significand = significand * 10 + digit;
        at += 1;
        digit = (bytes[at] ?? 0) - zero;
      }
      exponent = from - at;
      if (exponent === 0) throw bad("holds a number that ends in a point");
    }
    if (digit === exponentSmall || digit === exponentLarge) {
      at += 1;
      const sign = bytes[at];
      if (sign === minus || sign === 0x2b) at += 1;
      const from = at;
      let power = 0;
      digit = (bytes[at] ?? 0) - zero;
      while (digit >= 0 && digit <= 9 && at < most) {
        // Large enough to be out of every range; it must not wrap around.
        if (power < 100_000) power = power * 10 + digit;
        at += 1;
        digit = (bytes[at] ?? 0) - zero;
      }
      if (at === from) throw bad("holds a number without digits in its exponent");
      exponent += sign === minus ? -power : power;
    }
    if (at >= most) throw bad(`holds a number of ${mostDigits} or more characters`);
    this.#at = at;
    this.#significand = significand;
    this.#exponent = exponent;
    this.#negative = negative;
  }
}
