import { allSteps, LongshoreError } from "../base/index.ts";
import { ArrayText } from "./array-text.ts";
import { isBlank, readJsonText } from "./json-characters.ts";

/**
 * Parses the JSON of a message with tensors. Gives the result of `JSON.parse`, with four differences. The `data` of the entries
 * of `inputs` and `outputs` stays text (an `ArrayText`), which is read when datatype and shape are known. A parameter of the
 * message or of such an entry that is a whole number of 64 bits which JavaScript would round is a `bigint`. A key that comes
 * twice is refused, since two readers of one message must not see two messages. Nesting is bounded, so that a message of
 * brackets cannot exhaust the stack. All but `data` is read at once and bounded for that: no message needs megabytes or ten
 * thousands of values besides. In a long message the ends of `data` are found in steps before.
 */

/** Levels of nesting in what came from elsewhere; in messages, outside of `data`. */
export const maxDepth = 32;

/** Values in a message outside of `data`: 256 inputs and outputs with their shapes and parameters have half as many. */
const maxValues = 8192;
/** The most bytes of a message besides its tensor data. */
const maxBesideBytes = 2 ** 20;
/** Bytes of a message that are read in one turn. */
const atOnceBytes = 65_536;

const lists: ReadonlySet<string> = new Set(["inputs", "outputs"]);

/** Where in a message a value stands, as far as it matters. */
type Place = "message" | "fields" | "parameters" | "parameter" | "list" | "entry" | "elsewhere";

/** Messages up to this are made text in one go; in ASCII, which most are, names are then slices of it. */
const wholeBytes = 16_384;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const ascii = new TextDecoder("latin1");
const longestNumber = 400;
/** As many digits as whole numbers beyond 2^53 and within 64 bits have. */
const wholeNumber = /^-?[1-9][0-9]{15,19}$/;
const leastSigned = -(2n ** 63n);
const mostUnsigned = 2n ** 64n - 1n;

/** The characters that make a slice of a message differ from the text that it stands for. */
// eslint-disable-next-line no-control-regex -- JSON refuses control characters in text
const unplain = /[\\\u0000-\u001f]/;

const ownProperty = { writable: true, enumerable: true, configurable: true } as const;

function bad(problem: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", `the message ${problem}`);
}

const broken = "is not valid JSON in UTF-8";

function asciiOf(bytes: Uint8Array): string | undefined {
  if (bytes.byteLength > wholeBytes) return undefined;
  try {
    const text = utf8.decode(bytes);
    return text.length === bytes.byteLength ? text : undefined;
  } catch {
    throw bad(broken);
  }
}

class MessageText {
  readonly #bytes: Uint8Array;
  /** The same as text, one character for each byte; undefined for what is long or not ASCII. */
  readonly #ascii: string | undefined;
  readonly #ends: ReadonlyMap<number, number> | undefined;
  #at = 0;
  #depth = 0;
  #values = 0;

  /** @param ends Where each array of `data` ends, by where it begins, as far as that is known. */
  constructor(bytes: Uint8Array, ends: ReadonlyMap<number, number> | undefined) {
    this.#bytes = bytes;
    this.#ends = ends;
    this.#ascii = asciiOf(bytes);
  }

  whole(place: "message" | "fields" = "message"): unknown {
    const value = this.#value(place);
    this.#skipBlanks();
    if (this.#at !== this.#bytes.byteLength) throw bad(broken);
    return value;
  }

  #skipBlanks(): number {
    while (isBlank(this.#bytes[this.#at])) this.#at += 1;
    return this.#bytes[this.#at] ?? 0;
  }

  #value(place: Place): unknown {
    const byte = this.#skipBlanks();
    this.#values += 1;
    if (this.#values > maxValues) throw bad(`has more than ${maxValues} values besides data`);
    if (byte === 0x7b || byte === 0x5b) {
      this.#depth += 1;
      if (this.#depth > maxDepth) throw bad(`is nested more than ${maxDepth} deep`);
      this.#at += 1;
      const value = byte === 0x7b ? this.#object(place) : this.#array(place);
      this.#depth -= 1;
      return value;
    }
    if (byte === 0x22) return this.#text();
    if (byte === 0x74) return this.#word("true", true);
    if (byte === 0x66) return this.#word("false", false);
    if (byte === 0x6e) return this.#word("null", null);
    return this.#number(place === "parameter");
  }

  #object(place: Place): object {
    const object: Record<string, unknown> = {};
    let byte = this.#skipBlanks();
    if (byte === 0x7d) {
      this.#at += 1;
      return object;
    }
    for (;;) {
      if (byte !== 0x22) throw bad(broken);
      const key = this.#text();
      if (Object.hasOwn(object, key)) throw bad("has a key twice in one object");
      if (this.#skipBlanks() !== 0x3a) throw bad(broken);
      this.#at += 1;
      const value = this.#member(place, key);
      // Assigned, `__proto__` would be no key as any other.
      if (key === "__proto__") Object.defineProperty(object, key, { ...ownProperty, value });
      else object[key] = value;
      byte = this.#skipBlanks();
      this.#at += 1;
      if (byte === 0x7d) return object;
      if (byte !== 0x2c) throw bad(broken);
      byte = this.#skipBlanks();
    }
  }

  #member(place: Place, key: string): unknown {
    if (place === "message" && lists.has(key)) return this.#value("list");
    if ((place === "message" || place === "entry") && key === "parameters") return this.#value("parameters");
    if (place === "parameters") return this.#value("parameter");
    if (place === "fields") return this.#value(key === "parameters" ? "fields" : "parameter");
    if (place === "entry" && key === "data" && this.#skipBlanks() === 0x5b) return this.#data();
    return this.#value("elsewhere");
  }

  #array(place: Place): unknown[] {
    const inner: Place = place === "list" ? "entry" : place === "parameter" ? "parameter" : "elsewhere";
    const items: unknown[] = [];
    if (this.#skipBlanks() === 0x5d) {
      this.#at += 1;
      return items;
    }
    for (;;) {
      items.push(this.#value(inner));
      const byte = this.#skipBlanks();
      this.#at += 1;
      if (byte === 0x5d) return items;
      if (byte !== 0x2c) throw bad(broken);
    }
  }

  #data(): ArrayText {
    const start = this.#at;
    this.#at = this.#ends?.get(start) ?? allSteps(arrayEnd(this.#bytes, start));
    return new ArrayText(this.#bytes, start, this.#at);
  }

  #text(): string {
    if (this.#ascii !== undefined) {
      const from = this.#at + 1;
      const end = this.#ascii.indexOf('"', from);
      const text = end < 0 ? "" : this.#ascii.slice(from, end);
      if (end >= 0 && !unplain.test(text)) {
        this.#at = end + 1;
        return text;
      }
    }
    try {
      const { value, at } = readJsonText(this.#bytes, this.#at, this.#bytes.byteLength);
      this.#at = at;
      return value;
    } catch (thrown) {
      if (LongshoreError.is(thrown)) throw bad(broken);
      throw thrown;
    }
  }

  #word<T>(word: string, value: T): T {
    const end = this.#at + word.length;
    if (ascii.decode(this.#bytes.subarray(this.#at, end)) !== word) throw bad(broken);
    this.#at = end;
    return value;
  }

  #number(exact: boolean): number | bigint {
    // No number in a message outside of data is longer than this and still means something.
    const text = this.#ascii ?? ascii.decode(this.#bytes.subarray(this.#at, this.#at + longestNumber));
    number.lastIndex = this.#ascii === undefined ? 0 : this.#at;
    const [found] = number.exec(text) ?? [];
    if (found === undefined || found.length >= longestNumber) throw bad(broken);
    this.#at += found.length;
    const value = Number(found);
    if (!exact || Number.isSafeInteger(value) || !wholeNumber.test(found)) return value;
    const whole = BigInt(found);
    return whole < leastSigned || whole > mostUnsigned ? value : whole;
  }
}

/** Bytes that are searched for an end before other work gets a turn. */
const searchedAtOnce = 262_144;
/** Bytes that one leap counts as. */
const leap = 32;

/**
 * Where an array of scalars ends, after its bracket. From a number on it leaps to the next closing bracket: in an array that
 * JSON allows and a tensor may have, no bracket and no text can lie between. In any other the end comes out wrong, and then
 * either the message goes on with nonsense or the array is refused when it is read. Yields after each millisecond or so.
 */
function* arrayEnd(bytes: Uint8Array, start: number): Generator<void, number> {
  let depth = 0;
  let inText = false;
  let at = start;
  let left = searchedAtOnce;
  while (at >= 0 && at < bytes.byteLength) {
    if (left <= 0) {
      yield;
      left = searchedAtOnce;
    }
    const byte = bytes[at];
    left -= 1;
    if (inText) {
      if (byte === 0x22) inText = false;
      at += byte === 0x5c ? 2 : 1;
    } else if (byte === 0x5b) {
      depth += 1;
      at += 1;
    } else if (byte === 0x5d) {
      depth -= 1;
      at += 1;
      if (depth === 0) return at;
    } else if (byte === 0x22) {
      inText = true;
      at += 1;
    } else if (byte === 0x2c || isBlank(byte)) {
      at += 1;
    } else {
      left -= leap;
      at = bytes.indexOf(0x5d, at);
    }
  }
  throw bad(broken);
}

/** Behind the quote that closes the text beginning at `from`, or at `most`. */
function textEnd(bytes: Uint8Array, from: number, most: number): number {
  for (let at = from + 1; at < most; at++) {
    if (bytes[at] === 0x5c) at += 1;
    else if (bytes[at] === 0x22) return at + 1;
  }
  return most;
}

/** The key that a text would be; longer ones, and escaped ones, are none of those that are looked for. */
const keyOf = (quoted: Uint8Array): string =>
  quoted.byteLength > 9 ? "" : ascii.decode(quoted.subarray(1, -1));

/**
 * Where the arrays of `data` of a message's entries begin and end. Throws where there is more than a megabyte besides. Whether it is
 * JSON is for its reader.
 */
function* dataEnds(bytes: Uint8Array): Generator<void, ReadonlyMap<number, number>> {
  const ends = new Map<number, number>();
  /** The brackets that are open. */
  const open: (number | undefined)[] = [];
  let inList = false;
  let last: "key" | "colon" | undefined;
  let most = maxBesideBytes;
  let stop = atOnceBytes;
  for (let at = 0; at < bytes.byteLength; at++) {
    if (at >= stop) {
      yield;
      stop = at + atOnceBytes;
    }
    if (at >= most) throw bad(`has more than ${maxBesideBytes} bytes besides data`);
    const byte = bytes[at];
    if (byte === 0x22) {
      const end = textEnd(bytes, at, Math.min(bytes.byteLength, most));
      const key = keyOf(bytes.subarray(at, end));
      if (open.length === 1) inList = lists.has(key);
      last = key === "data" ? "key" : undefined;
      at = end - 1;
    } else if (byte === 0x3a && last === "key") last = "colon";
    else if (byte === 0x5b && last === "colon" && inList && open.length === 3 && open[1] === 0x5b) {
      const end = yield* arrayEnd(bytes, at);
      ends.set(at, end);
      most += end - at;
      stop += end - at;
      at = end - 1;
      last = undefined;
    } else if (!isBlank(byte)) {
      last = undefined;
      if (byte === 0x7b || byte === 0x5b) open.push(byte);
      else if (byte === 0x7d || byte === 0x5d) open.pop();
      if (open.length > maxDepth) throw bad(`is nested more than ${maxDepth} deep`);
    }
  }
  return ends;
}

/** The work of parsing a message. Throws `invalid-input`; the error holds nothing of the text. */
export function* messageWork(bytes: Uint8Array): Generator<void, unknown> {
  const ends = bytes.byteLength > atOnceBytes ? yield* dataEnds(bytes) : undefined;
  return new MessageText(bytes, ends).whole();
}

/**
 * Parses a request whose fields are inputs and parameters by their names, or inside `parameters`: the numbers of each, alone or in a
 * list, keep all digits as those among a message's parameters do. Throws as `messageWork`.
 */
export function parseFields(bytes: Uint8Array): unknown {
  return new MessageText(bytes, undefined).whole("fields");
}

/** Parses a message. Throws as `messageWork`. */
export function parseMessage(bytes: Uint8Array): unknown {
  return allSteps(messageWork(bytes));
}
