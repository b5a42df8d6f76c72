import { LongshoreError } from "../base/index.ts";
import { type Datatype, elementBytes, elementOffsets, type Tensor, TextWriter } from "../tensor/index.ts";
import type { ArrayText } from "./array-text.ts";

/**
 * The JSON form of tensor data: a row-major array, nested or flat. FP16 and BF16 have no JSON form; numbers that are not finite
 * are the words that Python and Triton write and read, which JSON itself does not have.
 */

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", message);
}

interface Put {
  /** Puts the leaf that was just found at an index; false when it is not of the datatype. */
  (text: ArrayText, index: number): boolean;
  /** Finds and puts leaves from an index on, as far as there is a quicker way; tells how far it came. */
  many?(text: ArrayText, index: number, until: number): number;
}

type Words = readonly (readonly [string, number])[];
const truths: Words = Object.entries({ true: 1, false: 0 });
const notFinite: Words = Object.entries({ NaN, Infinity, "-Infinity": -Infinity });

function integer(into: { [index: number]: number }, least: number, most: number): Put {
  return (text, index) => {
    const value = text.whole();
    if (value === undefined || value < least || value > most) return false;
    into[index] = value;
    return true;
  };
}

function long(into: BigInt64Array | BigUint64Array, least: bigint, most: bigint): Put {
  const halves = new Int32Array(into.buffer);
  return (text, index) => {
    const value = text.long();
    if (value === undefined) return false;
    if (typeof value === "bigint") {
      if (value < least || value > most) return false;
      into[index] = value;
      return true;
    }
    if (value < 0 && least === 0n) return false;
    // Two's complement by halves, since a bigint of every value would cost more than the rest.
    halves[2 * index] = value | 0;
    halves[2 * index + 1] = Math.floor(value / 2 ** 32) | 0;
    return true;
  };
}

/** How a datatype's leaves are read into new bytes; undefined for those without JSON form. */
function putsInto(datatype: Datatype, buffer: ArrayBuffer): Put | undefined {
  switch (datatype) {
    case "BOOL": {
      const into = new Uint8Array(buffer);
      return (text, index) => {
        const value = text.word(truths) ?? text.float64();
        into[index] = value;
        return value === 0 || value === 1;
      };
    }
    case "UINT8":
      return integer(new Uint8Array(buffer), 0, 0xff);
    case "INT8":
      return integer(new Int8Array(buffer), -0x80, 0x7f);
    case "UINT16":
      return integer(new Uint16Array(buffer), 0, 0xffff);
    case "INT16":
      return integer(new Int16Array(buffer), -0x8000, 0x7fff);
    case "UINT32":
      return integer(new Uint32Array(buffer), 0, 0xffffffff);
    case "INT32":
      return integer(new Int32Array(buffer), -0x80000000, 0x7fffffff);
    case "UINT64":
      return long(new BigUint64Array(buffer), 0n, 2n ** 64n - 1n);
    case "INT64":
      return long(new BigInt64Array(buffer), -(2n ** 63n), 2n ** 63n - 1n);
    case "FP32": {
      const into = new Float32Array(buffer);
      return Object.assign(
        (text: ArrayText, index: number) => {
          const word = text.word(notFinite);
          const value = word ?? text.float32();
          into[index] = value;
          return word !== undefined || Number.isFinite(value);
        },
        { many: (text: ArrayText, index: number, until: number) => text.plainSingles(into, index, until) },
      );
    }
    case "FP64": {
      const into = new Float64Array(buffer);
      return (text, index) => {
        const word = text.word(notFinite);
        const value = word ?? text.float64();
        into[index] = value;
        return word !== undefined || Number.isFinite(value);
      };
    }
    default:
      return undefined;
  }
}

/** How many values may still be read before other work gets its turn, over all work in the same turn. */
export interface Turn {
  left: number;
}

/** Values that are read in one turn: about two milliseconds. */
const valuesAtOnce = 65_536;

/** A turn that begins. */
export const newTurn = (): Turn => ({ left: valuesAtOnce });

/** Reads the bytes of a tensor, and yields at the end of each turn. Throws `invalid-input` or `body-mismatch`, to be `named`. */
export type DataWork = (turn: Turn) => Generator<void, Uint8Array>;

function wrongCount(count: number, came: string): LongshoreError {
  return new LongshoreError("body-mismatch", "decode", `its shape takes ${count} values, but ${came} came`);
}

/** The problem with the text of a tensor, with its name. */
export function named(thrown: unknown, name: string): unknown {
  if (!LongshoreError.is(thrown)) return thrown;
  return new LongshoreError(thrown.reason, thrown.stage, `${name}: ${thrown.message}`);
}

/** Numbers that are read before bytes are counted: those between them and their own may be many. */
const numbersAtOnce = 256;
/** Bytes of JSON that take as long as a number. */
const bytesOfNumber = 16;

/** Reads leaves with `put` until there are `count` of them and no more. */
function* numbersWork(
  text: ArrayText,
  bytes: Uint8Array,
  count: number,
  put: Put,
  turn: Turn,
): Generator<void, Uint8Array> {
  let index = 0;
  while (index < count) {
    if (turn.left <= 0) {
      yield;
      turn.left = valuesAtOnce;
    }
    const until = Math.min(count, index + numbersAtOnce);
    const before = text.bytesLeft;
    const slowBefore = text.notPlain;
    turn.left -= until - index;
    for (;;) {
      if (put.many) index = put.many(text, index, until);
      if (index === until) break;
      if (!text.next()) throw wrongCount(count, String(index));
      if (!put(text, index)) {
        throw invalid(`value ${index} is not of its datatype and range, with all its digits`);
      }
      index += 1;
    }
    turn.left -= Math.floor((before - text.bytesLeft) / bytesOfNumber) + text.notPlain - slowBefore;
  }
  if (text.next()) throw wrongCount(count, "more");
  return bytes;
}

/** A text takes as long as some dozens of numbers, besides its bytes. */
const numbersInText = 32;

function* textsWork(text: ArrayText, count: number, turn: Turn): Generator<void, Uint8Array> {
  // Enough for all of them: no text has more units than its JSON has bytes.
  const texts = new TextWriter(4 * count + 3 * text.bytesLeft);
  for (let index = 0; index < count; index++) {
    if (turn.left <= 0) {
      yield;
      turn.left = valuesAtOnce;
    }
    const before = text.bytesLeft;
    if (!text.next()) throw wrongCount(count, String(index));
    const short = text.text();
    if (short === undefined) texts.addPieces(yield* text.longText());
    else texts.add(short);
    turn.left -= numbersInText + Math.floor((before - text.bytesLeft) / bytesOfNumber);
  }
  if (text.next()) throw wrongCount(count, "more");
  return yield* texts.bytesInSteps();
}

/**
 * The work of reading the bytes of a tensor whose data came as JSON. Whether the text can hold `count` values (the product
 * of the shape) is checked before their bytes are allocated. Values that are not of the datatype are `invalid-input`:
 * fractions for integers, and numbers out of range. Integers keep all 64 bits.
 */
export function dataWork(
  text: ArrayText,
  datatype: Datatype,
  shape: readonly number[],
  count: number,
  name: string,
): DataWork {
  if (count > text.mostLeaves) throw named(wrongCount(count, "fewer"), name);
  text.expect(shape);
  if (datatype === "BYTES") return (turn) => textsWork(text, count, turn);
  const bytes = new Uint8Array(count * elementBytes(datatype));
  const put = putsInto(datatype, bytes.buffer);
  if (!put) throw invalid(`${name}: ${datatype} has no JSON form; send it as binary data`);
  return (turn) => numbersWork(text, bytes, count, put, turn);
}

const gets: Readonly<Partial<Record<Datatype, (view: DataView, at: number) => number | bigint | boolean>>> = {
  BOOL: (view, at) => view.getUint8(at) !== 0,
  UINT8: (view, at) => view.getUint8(at),
  INT8: (view, at) => view.getInt8(at),
  UINT16: (view, at) => view.getUint16(at, true),
  INT16: (view, at) => view.getInt16(at, true),
  UINT32: (view, at) => view.getUint32(at, true),
  INT32: (view, at) => view.getInt32(at, true),
  UINT64: (view, at) => view.getBigUint64(at, true),
  INT64: (view, at) => view.getBigInt64(at, true),
  FP32: (view, at) => view.getFloat32(at, true),
  FP64: (view, at) => view.getFloat64(at, true),
};

/** Values that one piece of text has: so few that what it takes is young when it goes. */
const valuesInPiece = 2048;
/** Bytes of text that one has. */
const bytesInPiece = 16_384;

/**
 * The flat JSON array of a tensor, as text in pieces: 64-bit integers keep all their digits. Throws `unsupported` for what
 * JSON cannot carry: FP16, BF16, BYTES that are not UTF-8.
 */
export function* dataPieces(tensor: Tensor): Generator<string> {
  const { name, datatype } = tensor.spec;
  const refuse = (why: string): LongshoreError =>
    new LongshoreError(
      "unsupported",
      "encode",
      `${name}: ${why}, which JSON cannot carry; request binary data`,
    );
  yield "[";
  if (datatype === "BYTES") {
    yield* textPieces(tensor, refuse);
  } else {
    const get = gets[datatype];
    if (!get) throw refuse(`is ${datatype}`);
    const { bytes } = tensor;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const width = elementBytes(datatype);
    for (let from = 0; from < bytes.byteLength; from += valuesInPiece * width) {
      const words: string[] = [];
      const to = Math.min(bytes.byteLength, from + valuesInPiece * width);
      for (let at = from; at < to; at += width) {
        const value = get(view, at);
        words.push(Object.is(value, -0) ? "-0" : String(value));
      }
      yield `${from === 0 ? "" : ","}${words.join(",")}`;
    }
  }
  yield "]";
}

function* textPieces(tensor: Tensor, refuse: (why: string) => LongshoreError): Generator<string> {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const offsets = elementOffsets(tensor);
  for (let index = 0; index + 1 < offsets.length; index++) {
    const bytes = tensor.bytes.subarray((offsets[index] ?? 0) + 4, offsets[index + 1]);
    yield index === 0 ? '"' : ',"';
    for (let from = 0; from < bytes.byteLength; from += bytesInPiece) {
      const more = from + bytesInPiece < bytes.byteLength;
      let text: string;
      try {
        // Of a character that goes on in the next piece it gives nothing before that.
        text = utf8.decode(bytes.subarray(from, from + bytesInPiece), { stream: more });
      } catch {
        throw refuse("holds bytes that are not UTF-8 text");
      }
      yield JSON.stringify(text).slice(1, -1);
    }
    yield '"';
  }
}
