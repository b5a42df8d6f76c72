import { LongshoreError } from "../base/index.ts";
import { type Datatype, elementBytes } from "./datatype.ts";

/**
 * Type and shape of a tensor. `-1` stands for a size that varies. A **ragged** tensor is a list of `shape[0]` elements
 * of different shapes (the crops of one image): its other sizes that differ between elements are -1, and the tensor
 * itself carries each element's own shape in `rows`.
 */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly ragged?: boolean;
}

/**
 * A tensor: row-major, little-endian bytes. Read-only. A call borrows its tensors for as long as it runs; `give(tensor)` hands
 * the memory over. BYTES elements are each a little-endian u32 length and that many bytes.
 */
export interface Tensor {
  readonly spec: TensorSpec;
  readonly bytes: Uint8Array;
  /** Ragged only: the shape of each element, `[shape[0] * (rank - 1)]`, elements laid end to end in `bytes`. */
  readonly rows?: Int32Array;
  /** Set by `give`: the receiver owns the bytes. */
  readonly given?: true;
  /** Set by `give`, see there. */
  readonly back?: (memory: ArrayBuffer) => void;
}

/** Tensors by name. */
export type Tensors = ReadonlyMap<string, Tensor>;

/** The most elements a tensor may have: sizes stay exact integers, and a product that is larger is refused. */
export const maxElements: number = 2 ** 40;

/** Number of elements of a shape. Throws `invalid-input` on negative, fractional or absurd sizes. */
export function elementCount(shape: readonly number[], name = "tensor"): number {
  if (shape.length > 32) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${name} has rank ${shape.length}; at most 32 is accepted`,
    );
  }
  let count = 1;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new LongshoreError(
        "invalid-input",
        "decode",
        `${name} has shape [${shape.join(", ")}]: sizes must be whole numbers of 0 or more`,
      );
    }
    count *= size;
    if (count > maxElements) {
      throw new LongshoreError(
        "invalid-input",
        "decode",
        `${name} has shape [${shape.join(", ")}]: more than ${maxElements} elements`,
      );
    }
  }
  return count;
}

/** Tells whether a concrete shape fits a declared one, in which -1 fits any size. */
export function shapeFits(shape: readonly number[], declared: readonly number[]): boolean {
  return (
    shape.length === declared.length && declared.every((size, axis) => size === -1 || size === shape[axis])
  );
}

/** Tells whether a given input fits: `shapeFits`, and one element in any number of axes, such as [1], where a scalar is declared. */
export function inputFits(shape: readonly number[], declared: readonly number[]): boolean {
  return shapeFits(shape, declared) || (declared.length === 0 && shape.every((size) => size === 1));
}

/**
 * Makes a tensor and checks that bytes and shape agree. The bytes are not copied.
 *
 * @example
 * ```ts
 * import { tensorOf } from "longshore";
 *
 * const pixels = tensorOf("image", "UINT8", [1, 1, 3], new Uint8Array([255, 0, 0]));
 * console.log(pixels.bytes.byteLength); // 3
 * ```
 */
export function tensorOf(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  bytes: Uint8Array,
): Tensor {
  const count = elementCount(shape, name);
  const width = elementBytes(datatype);
  if (width > 0 && bytes.byteLength !== count * width) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `${name} is ${datatype} [${shape.join(", ")}], which takes ${count * width} bytes, but ${bytes.byteLength} came`,
    );
  }
  return { spec: { name, datatype, shape }, bytes };
}

/** The same tensor under another name; shares the bytes. */
export function renamed(tensor: Tensor, name: string): Tensor {
  if (tensor.spec.name === name) return tensor;
  return { ...tensor, spec: { ...tensor.spec, name } };
}

/** Makes a name-to-tensor map. */
export function tensorsOf(...tensors: readonly Tensor[]): Tensors {
  return new Map(tensors.map((tensor) => [tensor.spec.name, tensor]));
}

/** The same tensors in memory of their own, which is lent like any other: a tensor that was handed over stays so. */
export function copied(tensors: Tensors): Tensors {
  const all = new Map<string, Tensor>();
  for (const [name, { spec, bytes, rows }] of tensors) {
    const own = new Uint8Array(bytes);
    all.set(name, rows ? { spec, bytes: own, rows } : { spec, bytes: own });
  }
  return all;
}

/** Total bytes of some tensors. */
export function totalBytes(tensors: Tensors): number {
  let bytes = 0;
  for (const tensor of tensors.values()) bytes += tensor.bytes.byteLength;
  return bytes;
}
