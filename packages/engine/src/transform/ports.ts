import {
  bytesElements,
  type Datatype,
  float32View,
  LongshoreError,
  type Tensor,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import { elementCount } from "@longshore/core/internal";

/** An error about what a transform was given. */
export function inputError(transform: string, message: string): LongshoreError {
  return new LongshoreError("invalid-input", "execute", `${transform}: ${message}`);
}

/** The tensor at a port. Throws `invalid-input` when it is missing. */
export function portOf(inputs: Tensors, port: string, transform: string): Tensor {
  const tensor = inputs.get(port);
  if (!tensor) throw inputError(transform, `nothing came at its port ${port}`);
  return tensor;
}

/** The spec at a port, or one of unknown shape when it is not known beforehand. */
export function specAt(
  inputs: ReadonlyMap<string, TensorSpec>,
  port: string,
  datatype: Datatype,
  rank: number,
): TensorSpec {
  return inputs.get(port) ?? { name: port, datatype, shape: Array.from({ length: rank }, () => -1) };
}

function shapeText(spec: TensorSpec): string {
  return `${spec.datatype} [${spec.shape.join(", ")}]`;
}

/** FP32 values of a tensor without ragged axes, with its shape. */
export function floatsAt(
  inputs: Tensors,
  port: string,
  transform: string,
): { readonly values: Float32Array; readonly shape: readonly number[] } {
  const tensor = portOf(inputs, port, transform);
  if (tensor.spec.datatype !== "FP32") {
    throw inputError(transform, `${port} is ${shapeText(tensor.spec)}; FP32 is needed`);
  }
  const shape = denseShape(tensor, transform);
  const values = float32View(tensor);
  if (values.length !== elementCount(shape, port)) {
    throw inputError(
      transform,
      `${port} is ${shapeText(tensor.spec)} but holds ${tensor.bytes.byteLength} bytes`,
    );
  }
  return { values, shape };
}

/** The shape of a tensor whose elements all have the same shape; a ragged tensor that happens to be regular counts. */
export function denseShape(tensor: Tensor, transform: string): readonly number[] {
  const { shape } = tensor.spec;
  if (!shape.includes(-1)) return shape;
  if (shape[0] === 0) return shape.map((size) => (size === -1 ? 0 : size));
  throw inputError(
    transform,
    `${tensor.spec.name} is ragged ${shapeText(tensor.spec)}; elements of one shape are needed`,
  );
}

/** All elements of a BYTES tensor, ragged ones in their order. */
export function elementsAt(inputs: Tensors, port: string, transform: string): readonly Uint8Array[] {
  const tensor = portOf(inputs, port, transform);
  const { spec, rows } = tensor;
  if (spec.datatype !== "BYTES") {
    throw inputError(transform, `${port} is ${shapeText(spec)}; BYTES is needed`);
  }
  const shape = rows && spec.shape.includes(-1) ? [raggedCount(spec, rows)] : denseShape(tensor, transform);
  return bytesElements({ ...tensor, spec: { ...spec, shape } });
}

/** How many scalars the elements of a ragged tensor hold in all. */
function raggedCount(spec: TensorSpec, rows: Int32Array): number {
  const rank = spec.shape.length - 1;
  let total = 0;
  for (let index = 0; index < (spec.shape[0] ?? 0); index++) {
    total += elementCount([...rows.subarray(index * rank, (index + 1) * rank)], spec.name);
  }
  return total;
}

const decoder = new TextDecoder("utf-8");

/** All elements of a BYTES tensor as text; bytes that are not UTF-8 become the replacement character. */
export function textsAt(inputs: Tensors, port: string, transform: string): readonly string[] {
  return elementsAt(inputs, port, transform).map((element) => decoder.decode(element));
}

/** One blob: a BYTES tensor of one element, or the bytes of a UINT8 vector. */
export function blobAt(inputs: Tensors, port: string, transform: string): Uint8Array {
  const tensor = portOf(inputs, port, transform);
  if (tensor.spec.datatype === "UINT8" && tensor.spec.shape.length === 1) return tensor.bytes;
  const elements = elementsAt(inputs, port, transform);
  if (elements.length !== 1 || !elements[0]) {
    throw inputError(transform, `${port} holds ${elements.length} elements; exactly one is needed`);
  }
  return elements[0];
}
