import { LongshoreError } from "../base/index.ts";
import type { Datatype } from "./datatype.ts";
import { fromHalf } from "./half.ts";
import { type Tensor, tensorOf } from "./tensor.ts";
import { bytesElements } from "./texts.ts";

/** A typed array of any datatype with numbers. */
export type NumericView =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

type ViewConstructor<V extends NumericView> = new (buffer: ArrayBuffer, offset: number, length: number) => V;

/** A typed view on the bytes; copies only when the offset is not aligned for the element. */
function view<V extends NumericView>(bytes: Uint8Array, make: ViewConstructor<V>, width: number): V {
  // not slice(): the bytes may be a Node.js Buffer, whose slice shares the memory
  const aligned = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  // Tensors are never backed by shared memory (runtimes refuse it), so the buffer is an ArrayBuffer.
  return new make(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / width);
}

/** Its datatype. An app in plain JavaScript may give the output of a misspelt name, which is none. */
function datatypeOf(tensor: Tensor | undefined): Datatype {
  if (tensor) return tensor.spec.datatype;
  throw new LongshoreError(
    "invalid-input",
    "execute",
    "there is no tensor here: is the output's name right?",
  );
}

function wrongDatatype(tensor: Tensor, wanted: string): LongshoreError {
  return new LongshoreError(
    "invalid-input",
    "execute",
    `${tensor.spec.name} is ${tensor.spec.datatype}; ${wanted} is needed here`,
  );
}

/**
 * FP32 elements, shared with the tensor where alignment permits.
 *
 * @example
 * ```ts
 * import { float32Tensor, float32View } from "longshore";
 *
 * const tensor = float32Tensor("x", [1, 2], new Float32Array([3, 4]));
 * console.log(float32View(tensor)[1]); // 4
 * ```
 */
export function float32View(tensor: Tensor): Float32Array {
  if (datatypeOf(tensor) !== "FP32") throw wrongDatatype(tensor, "FP32");
  return view(tensor.bytes, Float32Array, 4);
}

/** INT32 elements, shared with the tensor where alignment permits. */
export function int32View(tensor: Tensor): Int32Array {
  if (datatypeOf(tensor) !== "INT32") throw wrongDatatype(tensor, "INT32");
  return view(tensor.bytes, Int32Array, 4);
}

/** INT64 elements, shared with the tensor where alignment permits. */
export function int64View(tensor: Tensor): BigInt64Array {
  if (datatypeOf(tensor) !== "INT64") throw wrongDatatype(tensor, "INT64");
  return view(tensor.bytes, BigInt64Array, 8);
}

/** The elements of any numeric tensor as a typed array; FP16 and BF16 come as their raw 16-bit patterns. */
export function numericView(tensor: Tensor): NumericView {
  switch (datatypeOf(tensor)) {
    case "BOOL":
    case "UINT8":
      return tensor.bytes;
    case "INT8":
      return view(tensor.bytes, Int8Array, 1);
    case "UINT16":
    case "FP16":
    case "BF16":
      return view(tensor.bytes, Uint16Array, 2);
    case "INT16":
      return view(tensor.bytes, Int16Array, 2);
    case "UINT32":
      return view(tensor.bytes, Uint32Array, 4);
    case "INT32":
      return view(tensor.bytes, Int32Array, 4);
    case "UINT64":
      return view(tensor.bytes, BigUint64Array, 8);
    case "INT64":
      return view(tensor.bytes, BigInt64Array, 8);
    case "FP32":
      return view(tensor.bytes, Float32Array, 4);
    case "FP64":
      return view(tensor.bytes, Float64Array, 8);
    case "BYTES":
      throw wrongDatatype(tensor, "a numeric type");
  }
}

/** The view of each datatype. FP16 and BF16 are raw 16-bit patterns; BYTES are the bytes of each element. */
export interface TypedViews {
  readonly BOOL: Uint8Array;
  readonly UINT8: Uint8Array;
  readonly INT8: Int8Array;
  readonly UINT16: Uint16Array;
  readonly INT16: Int16Array;
  readonly UINT32: Uint32Array;
  readonly INT32: Int32Array;
  readonly UINT64: BigUint64Array;
  readonly INT64: BigInt64Array;
  readonly FP16: Uint16Array;
  readonly BF16: Uint16Array;
  readonly FP32: Float32Array;
  readonly FP64: Float64Array;
  readonly BYTES: readonly Uint8Array[];
}

/**
 * The elements of a tensor that must have this datatype, shared with the tensor where alignment permits. Throws `invalid-input` if the
 * tensor has another datatype.
 *
 * @example
 * ```ts
 * import { tensorOf, typedView } from "longshore";
 *
 * const tensor = tensorOf("x", "INT8", [2], new Uint8Array([1, 255]));
 * console.log(typedView(tensor, "INT8").join(", ")); // 1, -1
 * ```
 */
export function typedView<D extends Datatype>(tensor: Tensor, datatype: D): TypedViews[D] {
  if (datatypeOf(tensor) !== datatype) throw wrongDatatype(tensor, datatype);
  // Which view belongs to which datatype is stated by `TypedViews` and, in the same way, by `numericView`.
  return (datatype === "BYTES" ? bytesElements(tensor) : numericView(tensor)) as TypedViews[D];
}

/** The elements of any numeric tensor as the numbers that they stand for: as `numericView`, with FP16 and BF16 widened. */
export function numbersOf(tensor: Tensor): ArrayLike<number | bigint> & Iterable<number | bigint> {
  const elements = numericView(tensor);
  if (tensor.spec.datatype === "FP16") return Float64Array.from(elements as Uint16Array, fromHalf);
  if (tensor.spec.datatype !== "BF16") return elements;
  // The upper half of a single.
  const wide = Uint32Array.from(elements as Uint16Array, (bits) => bits << 16);
  return new Float32Array(wide.buffer);
}

/** The raw bytes of a typed array, without a copy. */
export function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
}

/** A caller in plain JavaScript has no compiler to say that arguments were swapped. */
function checkArguments(of: string, name: string, shape: readonly number[], values: ArrayBufferView): void {
  const wrong =
    typeof name !== "string"
      ? "name must be a text"
      : !Array.isArray(shape)
        ? "shape must be an array of sizes, such as [1, 2]"
        : !ArrayBuffer.isView(values)
          ? "values must be a typed array"
          : undefined;
  if (wrong) throw new LongshoreError("invalid-input", "encode", `${of}: ${wrong}`);
}

/**
 * An FP32 tensor on the given values (not copied).
 *
 * @example
 * ```ts
 * import { float32Tensor } from "longshore";
 *
 * const tensor = float32Tensor("x", [1, 2], new Float32Array([3, 4]));
 * console.log(tensor.spec.datatype, tensor.spec.shape.join("x")); // FP32 1x2
 * ```
 */
export function float32Tensor(name: string, shape: readonly number[], values: Float32Array): Tensor {
  checkArguments("float32Tensor", name, shape, values);
  return tensorOf(name, "FP32", shape, bytesOf(values));
}

/** A tensor of any fixed-width type on the given values (not copied). */
export function numericTensor(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  values: ArrayBufferView,
): Tensor {
  checkArguments("numericTensor", name, shape, values);
  return tensorOf(name, datatype, shape, bytesOf(values));
}
