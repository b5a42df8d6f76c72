import type { Datatype } from "@longshore/core";

/*
 * Names of element types in ONNX Runtime's JavaScript interface. Files that run inside a worker import only types from core, so that a
 * worker starts without loading it.
 */

const pairs: readonly (readonly [string, Datatype])[] = [
  ["bool", "BOOL"],
  ["uint8", "UINT8"],
  ["uint16", "UINT16"],
  ["uint32", "UINT32"],
  ["uint64", "UINT64"],
  ["int8", "INT8"],
  ["int16", "INT16"],
  ["int32", "INT32"],
  ["int64", "INT64"],
  ["float16", "FP16"],
  ["float32", "FP32"],
  ["float64", "FP64"],
  ["string", "BYTES"],
];

const toDatatype: ReadonlyMap<string, Datatype> = new Map(pairs);
const toOrt: ReadonlyMap<Datatype, string> = new Map(pairs.map(([ort, datatype]) => [datatype, ort]));

/** The protocol's name of an element type; undefined for types that no JavaScript runtime can carry (4-bit, bfloat16). */
export function datatypeOfOrt(ortType: string): Datatype | undefined {
  return toDatatype.get(ortType);
}

/** The runtime's name of a datatype; undefined for BF16. */
export function ortTypeOf(datatype: Datatype): string | undefined {
  return toOrt.get(datatype);
}

type ViewConstructor = new (buffer: ArrayBuffer, offset: number, length: number) => ArrayBufferView;

/** Newer engines have a Float16Array, and the runtime then requires it. Older ones take 16-bit patterns. */
const float16 = (globalThis as { Float16Array?: ViewConstructor }).Float16Array ?? Uint16Array;

const views: Readonly<Record<Exclude<Datatype, "BYTES" | "BF16">, readonly [ViewConstructor, number]>> = {
  BOOL: [Uint8Array, 1],
  UINT8: [Uint8Array, 1],
  UINT16: [Uint16Array, 2],
  UINT32: [Uint32Array, 4],
  UINT64: [BigUint64Array, 8],
  INT8: [Int8Array, 1],
  INT16: [Int16Array, 2],
  INT32: [Int32Array, 4],
  INT64: [BigInt64Array, 8],
  FP16: [float16, 2],
  FP32: [Float32Array, 4],
  FP64: [Float64Array, 8],
};

/** The typed array that the runtime requires for a datatype, on aligned memory. */
export function ortView(
  datatype: Exclude<Datatype, "BYTES" | "BF16">,
  buffer: ArrayBuffer,
  offset: number,
  byteLength: number,
): ArrayBufferView {
  const [View, width] = views[datatype];
  return new View(buffer, offset, byteLength / width);
}
