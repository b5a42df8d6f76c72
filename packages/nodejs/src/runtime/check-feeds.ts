import { LongshoreError, type Tensor, type Tensors, type TensorSpec } from "@longshore/core";
import { elementBytes, elementCount, shapeFits } from "@longshore/core/internal";

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "execute", message);
}

const listed = (specs: readonly TensorSpec[]): string =>
  specs.map(({ name }) => `'${name}'`).join(", ") || "none";
const shown = (shape: readonly number[]): string =>
  `[${shape.map((size) => (size === -1 ? "any" : size)).join(", ")}]`;

/**
 * Whether a shape fits a declared one. ONNX Runtime reports no sizes both for a scalar and for a value of unknown rank, so every shape fits
 * an empty declaration.
 */
function fits(shape: readonly number[], declared: readonly number[]): boolean {
  return declared.length === 0 || shapeFits(shape, declared);
}

function checkFeed(tensor: Tensor, declared: TensorSpec): void {
  const { name } = declared;
  const { datatype, shape } = tensor.spec;
  if (datatype !== declared.datatype) {
    throw invalid(`input '${name}' is ${datatype}; the model takes ${declared.datatype}`);
  }
  if (tensor.rows) throw invalid(`input '${name}' is ragged; a network takes elements of one shape`);
  const count = elementCount(shape, `input '${name}'`);
  if (!fits(shape, declared.shape)) {
    throw invalid(`input '${name}' has shape ${shown(shape)}; the model takes ${shown(declared.shape)}`);
  }
  const width = elementBytes(datatype);
  if (width > 0 && tensor.bytes.byteLength !== count * width) {
    throw new LongshoreError(
      "body-mismatch",
      "execute",
      `input '${name}' of shape ${shown(shape)} takes ${count * width} bytes of ${datatype}, but has ${tensor.bytes.byteLength}`,
    );
  }
}

/**
 * Checks inputs and requested outputs against the declaration, so that each error names the cause: ONNX Runtime's own errors are plain text
 * without a code. Throws `invalid-input` (missing, unknown, datatype, rank, size, ragged) or `body-mismatch` (the number of bytes does not
 * match the shape).
 */
export function checkFeeds(
  feeds: Tensors,
  fetches: readonly string[],
  inputs: readonly TensorSpec[],
  outputs: readonly TensorSpec[],
): void {
  for (const declared of inputs) {
    const tensor = feeds.get(declared.name);
    if (!tensor) throw invalid(`input '${declared.name}' is missing; the model takes ${listed(inputs)}`);
    checkFeed(tensor, declared);
  }
  if (feeds.size > inputs.length) {
    for (const name of feeds.keys()) {
      if (!inputs.some((declared) => declared.name === name)) {
        throw invalid(`there is no input '${name}'; the model takes ${listed(inputs)}`);
      }
    }
  }
  for (const name of fetches) {
    if (!outputs.some((declared) => declared.name === name)) {
      throw invalid(`there is no output '${name}'; the model gives ${listed(outputs)}`);
    }
  }
}
