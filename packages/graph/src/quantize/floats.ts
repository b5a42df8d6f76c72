import { tensorDims, tensorElements, type TensorProto, tensorProto } from "../onnx/index.ts";
import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";

/** Values of a stored FP32 tensor as a copy; undefined for other types and for tensors that lie outside the file. */
export function floatsOf(tensor: TensorProto): Float32Array | undefined {
  const count = tensorElements(tensor);
  if (tensor.dataType !== Element.FLOAT || count === undefined) return undefined;
  if (tensor.rawData.byteLength === count * 4) {
    // A copy, because raw data may lie at any offset.
    return new Float32Array(tensor.rawData.slice().buffer);
  }
  return tensor.floatData.length === count ? Float32Array.from(tensor.floatData) : undefined;
}

/** A stored FP32 tensor. */
export function floatTensor(name: string, shape: readonly number[], values: Float32Array): TensorProto {
  return tensorProto(name, "FP32", shape, values);
}

/** Sizes of a stored tensor, without those of 1 in front: `[1, C, 1, 1]` and `[C, 1, 1]` spread alike. */
export function trimmedDims(tensor: TensorProto): readonly number[] {
  const dims = tensorDims(tensor);
  const first = dims.findIndex((size) => size !== 1);
  return first < 0 ? [] : dims.slice(first);
}
