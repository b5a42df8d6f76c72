import {
  bytesTensor,
  type Datatype,
  type Json,
  LongshoreError,
  type Tensor,
  tensorOf,
  type TensorSpec,
} from "@longshore/core";
import { elementBytes, elementCount, fromHalf, shapeFits, toHalf } from "@longshore/core/internal";

type Leaf = string | number | boolean | null;

/** More axes than any tensor has. */
const maxDepth = 64;

/** Shape and flat leaves of nested arrays; throws `invalid-input` when rows differ in length or nest without end. */
function flatten(
  name: string,
  value: Json,
  depth = 0,
): { readonly shape: number[]; readonly leaves: Leaf[] } {
  if (depth > maxDepth) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${name}: its arrays nest deeper than ${maxDepth} levels`,
    );
  }
  if (!Array.isArray(value)) {
    if (typeof value === "object" && value !== null) {
      throw new LongshoreError(
        "invalid-input",
        "decode",
        `${name}: numbers, strings or nested arrays of them are expected, not an object`,
      );
    }
    return { shape: [], leaves: [value] };
  }
  const parts = value.map((item: Json) => flatten(name, item, depth + 1));
  const inner = parts[0]?.shape ?? [];
  if (parts.some((part) => part.shape.join() !== inner.join())) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${name}: the rows of its nested arrays differ in length`,
    );
  }
  return { shape: [value.length, ...inner], leaves: parts.flatMap((part) => part.leaves) };
}

function numberOf(name: string, leaf: Leaf, datatype: Datatype): number {
  const number = typeof leaf === "boolean" ? Number(leaf) : leaf;
  if (typeof number !== "number") {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${name} is ${datatype}; ${JSON.stringify(leaf)} is not a number`,
    );
  }
  return number;
}

/** Why a number is none of a datatype, as the wire has it; undefined when it is one. */
function misfit(datatype: Datatype, number: number): string | undefined {
  if (datatype === "BOOL") return number === 0 || number === 1 ? undefined : "is neither 0 nor 1";
  const bits = 8 * elementBytes(datatype);
  if (!/^U?INT/.test(datatype)) {
    const kept = datatype === "FP16" ? fromHalf(toHalf(number)) : bits === 32 ? Math.fround(number) : number;
    return Number.isFinite(kept) ? undefined : "is beyond its range";
  }
  if (!Number.isInteger(number)) return "is not a whole number";
  const [least, most] = datatype.startsWith("U")
    ? [0, 2 ** bits - 1]
    : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  if (number < least || number > most) return `is beyond its ${least} to ${most}`;
  return Number.isSafeInteger(number) ? undefined : "may have lost digits: give .npy or raw bytes";
}

const writers: Partial<Record<Datatype, (view: DataView, at: number, value: number) => void>> = {
  BOOL: (view, at, value) => view.setUint8(at, value === 0 ? 0 : 1),
  UINT8: (view, at, value) => view.setUint8(at, value),
  INT8: (view, at, value) => view.setInt8(at, value),
  UINT16: (view, at, value) => view.setUint16(at, value, true),
  INT16: (view, at, value) => view.setInt16(at, value, true),
  UINT32: (view, at, value) => view.setUint32(at, value, true),
  INT32: (view, at, value) => view.setInt32(at, value, true),
  UINT64: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
  INT64: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
  FP16: (view, at, value) => view.setUint16(at, toHalf(value), true),
  FP32: (view, at, value) => view.setFloat32(at, value, true),
  FP64: (view, at, value) => view.setFloat64(at, value, true),
};

/**
 * A tensor from JSON: nested arrays in the declared shape, flat numbers for a shape with at most one free size, or
 * `{ "shape": [...], "data": [...] }`. The datatype is the declared one. Throws `invalid-input`.
 */
export function tensorFromJson(spec: TensorSpec, value: Json): Tensor {
  const { name, datatype } = spec;
  const stated =
    typeof value === "object" && value !== null && !Array.isArray(value) && "data" in value
      ? (value as { readonly shape?: readonly number[]; readonly data: Json })
      : undefined;
  const { shape: found, leaves } = flatten(name, stated ? stated.data : value);
  const shape = stated?.shape ? [...stated.shape] : resolveShape(spec, found, leaves.length);
  if (elementCount(shape, name) !== leaves.length) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${name}: ${leaves.length} values do not fill shape [${shape.join(", ")}]`,
    );
  }
  if (!shapeFits(shape, spec.shape)) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${name} has shape [${spec.shape.join(", ")}]; [${shape.join(", ")}] came`,
    );
  }
  if (datatype === "BYTES") return bytesTensor(name, leaves.map(String), shape);
  const write = writers[datatype];
  if (!write)
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${name}: ${datatype} has no JSON form; use .npy or raw bytes`,
    );
  const width = elementBytes(datatype);
  const bytes = new Uint8Array(leaves.length * width);
  const view = new DataView(bytes.buffer);
  for (const [index, leaf] of leaves.entries()) {
    const number = numberOf(name, leaf, datatype);
    const unfit = misfit(datatype, number);
    if (unfit !== undefined) {
      throw new LongshoreError("invalid-input", "decode", `${name} is ${datatype}; ${number} ${unfit}`);
    }
    write(view, index * width, number);
  }
  return tensorOf(name, datatype, shape, bytes);
}

/**
 * The concrete shape for `count` elements: the one found when its rank fits, else the declared one with its free size filled.
 */
export function resolveShape(spec: TensorSpec, found: readonly number[], count: number): readonly number[] {
  if (found.length === spec.shape.length) return found;
  if (found.length === spec.shape.length - 1 && (spec.shape[0] === -1 || spec.shape[0] === 1))
    return [1, ...found];
  const free = spec.shape.filter((size) => size < 0).length;
  const fixed = spec.shape.reduce((product, size) => product * Math.max(1, size), 1);
  if (free === 0 && fixed === count) return spec.shape;
  if (free >= 1 && count % fixed === 0) {
    // Batch first: when several sizes are free, all but the last are taken as 1.
    let left = count / fixed;
    const reversed = [...spec.shape].reverse().map((size) => {
      if (size >= 0) return size;
      const chosen = left;
      left = 1;
      return chosen;
    });
    return reversed.reverse();
  }
  throw new LongshoreError(
    "invalid-input",
    "decode",
    `${spec.name} has shape [${spec.shape.join(", ")}]; ${count} values in shape [${found.join(", ")}] do not fit it`,
  );
}
