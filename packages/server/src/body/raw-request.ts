import { LongshoreError, type ModelDescription, type PortSpec } from "@longshore/core";
import { elementBytes, type InferRequestMessage } from "@longshore/core/internal";

/** Bytes of the length prefix that a raw BYTES input gets. */
const prefixBytes = 4;

/** The one input that a raw request is for. Throws `invalid-input` when the model is not made for raw requests. */
export function rawInput({ name, inputs }: ModelDescription): PortSpec {
  const [input, ...more] = inputs;
  if (!input || more.length > 0) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `a raw request carries one input, but model '${name}' takes ${inputs.length}`,
    );
  }
  return input;
}

/** Free bytes that must precede the body of a raw request. */
export function rawLead(input: PortSpec): number {
  return input.datatype === "BYTES" ? prefixBytes : 0;
}

/** The shape that a raw body has: a batch of one, and at most one size that follows from the length. */
function rawShape(input: PortSpec, description: ModelDescription, length: number): readonly number[] {
  const batched = description.batching.maxBatchSize > 0;
  const shape = input.shape.map((size, axis) => (batched && axis === 0 && size === -1 ? 1 : size));
  const unknown = shape.filter((size) => size === -1).length;
  if (input.datatype === "BYTES") return shape.map((size) => (size === -1 ? 1 : size));
  if (unknown === 0) return shape;
  const known = shape.reduce((product, size) => (size === -1 ? product : product * size), 1);
  const missing = length / (known * elementBytes(input.datatype));
  if (unknown > 1 || !Number.isInteger(missing)) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `a raw body of ${length} bytes does not tell the shape of ${input.name}, ${input.datatype} [${input.shape.join(", ")}]`,
    );
  }
  return shape.map((size) => (size === -1 ? missing : size));
}

/**
 * The request that a raw body stands for. All outputs come back as binary data.
 *
 * @param buffer The body, after `rawLead` free bytes.
 */
export function rawRequest(
  buffer: Uint8Array,
  input: PortSpec,
  description: ModelDescription,
): InferRequestMessage {
  const { name, datatype } = input;
  const lead = rawLead(input);
  const length = buffer.byteLength - lead;
  const shape = rawShape(input, description, length);
  const count = shape.reduce((product, size) => product * size, 1);
  if (datatype === "BYTES") new DataView(buffer.buffer, buffer.byteOffset).setUint32(0, length, true);
  const expected = datatype === "BYTES" ? (count === 1 ? length : -1) : count * elementBytes(datatype);
  if (expected !== length) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `${name} is ${datatype} [${shape.join(", ")}], which a raw body of ${length} bytes does not make`,
    );
  }
  return {
    parameters: {},
    inputs: [{ name, datatype, shape, parameters: {}, bytes: buffer }],
    binaryOutputs: true,
  };
}
