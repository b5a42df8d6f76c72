import { type Datatype, LongshoreError } from "@longshore/core";
import { elementBytes } from "@longshore/core/internal";
import { Cursor, wireTypes } from "./cursor.ts";

/** Which field of `InferTensorContents` carries which datatype. FP16 and BF16 travel raw only. */
const fieldOf: Readonly<Partial<Record<Datatype, number>>> = {
  BOOL: 1,
  INT8: 2,
  INT16: 2,
  INT32: 2,
  INT64: 3,
  UINT8: 4,
  UINT16: 4,
  UINT32: 4,
  UINT64: 5,
  FP32: 6,
  FP64: 7,
  BYTES: 8,
};

/** The first field whose values have a fixed size. The fields before it hold varints. */
const firstFixed = 6;
/** The field of byte strings. */
const bytesField = 8;

function invalid(name: string, why: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", `${name}: ${why}`);
}

function wrongCount(name: string, count: number, came: string): LongshoreError {
  return new LongshoreError(
    "body-mismatch",
    "decode",
    `${name}: its shape takes ${count} values, but ${came} came`,
  );
}

/** Fields and runs that are read before other work gets its turn: each takes as long as some numbers. */
const runsAtOnce = 4096;

/** Bytes whose varints are counted before other work gets its turn. */
const bytesAtOnce = 2 ** 20;

/** Runs of the numbers of a tensor: each takes memory, of which unpacked numbers would take twenty times their own. */
const mostRuns = 2 ** 18;

/** A run of packed elements, or one unpacked element, inside the message. */
interface Run {
  readonly from: number;
  readonly to: number;
}

/** The number of varints in runs: those bytes that end one. */
function* varintsIn(bytes: Uint8Array, runs: readonly Run[]): Generator<void, number> {
  let count = 0;
  let looked = 0;
  for (const { from, to } of runs) {
    // A short run takes longer than its bytes.
    looked += bytesAtOnce / runsAtOnce;
    for (let begin = from; begin < to; begin += bytesAtOnce) {
      const end = Math.min(to, begin + bytesAtOnce);
      for (let at = begin; at < end; at++) if ((bytes[at] ?? 0) < 0x80) count += 1;
      looked += end - begin;
      if (looked < bytesAtOnce) continue;
      looked = 0;
      yield;
    }
  }
  return count;
}

const ranges: Readonly<Partial<Record<Datatype, readonly [least: number, most: number]>>> = {
  INT8: [-0x80, 0x7f],
  INT16: [-0x8000, 0x7fff],
  INT32: [-0x8000_0000, 0x7fff_ffff],
  UINT8: [0, 0xff],
  UINT16: [0, 0xffff],
  UINT32: [0, 0xffff_ffff],
};

/** Elements that are read before other work gets its turn: about two milliseconds. */
const elementsAtOnce = 32_768;

function* putVarints(
  source: Uint8Array,
  runs: readonly Run[],
  datatype: Datatype,
  into: Uint8Array,
  name: string,
): Generator<void, void> {
  const view = new DataView(into.buffer);
  const width = elementBytes(datatype);
  const [least, most] = ranges[datatype] ?? [0, 0];
  let offset = 0;
  for (const { from, to } of runs) {
    const cursor = new Cursor(source, from, to);
    while (cursor.at < to) {
      cursor.varint();
      if (datatype === "BOOL") {
        view.setUint8(offset, cursor.low === 0 && cursor.high === 0 ? 0 : 1);
      } else if (width === 8) {
        view.setUint32(offset, cursor.low, true);
        view.setUint32(offset + 4, cursor.high, true);
      } else {
        const value = least < 0 ? cursor.signed : cursor.unsigned;
        if (value < least || value > most) throw invalid(name, `${value} is no ${datatype}`);
        // Two's complement: the low bytes are right for either sign.
        if (width === 1) view.setUint8(offset, value & 0xff);
        else if (width === 2) view.setUint16(offset, value & 0xffff, true);
        else view.setUint32(offset, value >>> 0, true);
      }
      offset += width;
      if (offset % (elementsAtOnce * width) === 0) yield;
    }
  }
}

function unpackedType(field: number): number {
  if (field < firstFixed) return wireTypes.varint;
  if (field === bytesField) return wireTypes.length;
  return field === firstFixed ? wireTypes.fourBytes : wireTypes.eightBytes;
}

/** The elements of one field of `InferTensorContents`, wherever they lie. */
function* runsOf(
  source: Uint8Array,
  contents: readonly Run[],
  wanted: number,
  datatype: Datatype,
  count: number,
  name: string,
): Generator<void, readonly Run[]> {
  const runs: Run[] = [];
  let seen = 0;
  for (const { from, to } of contents) {
    const cursor = new Cursor(source, from, to);
    while (cursor.field()) {
      if (++seen % runsAtOnce === 0) yield;
      if (cursor.number > bytesField) {
        cursor.skip();
        continue;
      }
      const start = cursor.at;
      cursor.skip();
      const packed = cursor.wireType === wireTypes.length;
      const at = packed ? startOf(source, start, cursor.at) : start;
      // An encoder may write an empty list.
      if (at === cursor.at && cursor.number !== bytesField) continue;
      if (cursor.number !== wanted) throw invalid(name, `its contents are not those of ${datatype}`);
      if (!packed && cursor.wireType !== unpackedType(wanted)) {
        throw invalid(name, "its contents have the wrong wire type");
      }
      // Each holds an element at least.
      if (runs.length === count) throw wrongCount(name, count, "more");
      // Texts, which never are packed, have a limit of their own.
      if (runs.length === mostRuns && wanted !== bytesField) {
        throw invalid(name, `its contents come in more than ${mostRuns} pieces: send them packed or raw`);
      }
      runs.push({ from: at, to: cursor.at });
    }
  }
  return runs;
}

/** Where the bytes of a length-delimited field begin: after its length. */
function startOf(source: Uint8Array, start: number, end: number): number {
  const cursor = new Cursor(source, start, end);
  cursor.varint();
  return cursor.at;
}

function* joined(source: Uint8Array, runs: readonly Run[], prefixed: boolean): Generator<void, Uint8Array> {
  const [only, ...more] = runs;
  if (!prefixed && only && more.length === 0) return source.subarray(only.from, only.to);
  const prefix = prefixed ? 4 : 0;
  const into = new Uint8Array(runs.reduce((total, { from, to }) => total + prefix + to - from, 0));
  const view = new DataView(into.buffer);
  let offset = 0;
  for (const [index, { from, to }] of runs.entries()) {
    if (index > 0 && index % runsAtOnce === 0) yield;
    if (prefixed) view.setUint32(offset, to - from, true);
    into.set(source.subarray(from, to), offset + prefix);
    offset += prefix + to - from;
  }
  return into;
}

/**
 * The bytes of a tensor whose data came as `InferTensorContents`, in its own field or in none. The elements are counted
 * before memory is taken for them. Yields after each two milliseconds or so. Throws `invalid-input` for contents of another
 * datatype or out of its range, and `body-mismatch` when their number is not that of the shape.
 */
export function* bytesFromContents(
  source: Uint8Array,
  contents: readonly Run[],
  datatype: Datatype,
  count: number,
  name: string,
): Generator<void, Uint8Array> {
  const wanted = fieldOf[datatype];
  if (wanted === undefined) throw invalid(name, `${datatype} travels in raw_input_contents only`);
  const runs = yield* runsOf(source, contents, wanted, datatype, count, name);
  const width = elementBytes(datatype);
  let came = runs.length;
  if (wanted < firstFixed) came = yield* varintsIn(source, runs);
  else if (wanted !== bytesField) came = runs.reduce((sum, { from, to }) => sum + to - from, 0) / width;
  if (came !== count) throw wrongCount(name, count, String(Math.floor(came)));
  if (wanted >= firstFixed) return yield* joined(source, runs, wanted === bytesField);
  const into = new Uint8Array(count * width);
  yield* putVarints(source, runs, datatype, into, name);
  return into;
}
