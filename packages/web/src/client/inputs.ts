import {
  bytesTensor,
  type Input,
  type Inputs,
  LongshoreError,
  type NamedInputs,
  type PortSpec,
  type Tensor,
  tensorOf,
  type Tensors,
} from "@longshore/core";
import { bytesOf, elementBytes, isSingleInput, renamed, singlePort } from "@longshore/core/internal";

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", message);
}

/** The declared shape with its one unknown size (if any) set so that it holds `count` elements. */
function fitted(spec: PortSpec, count: number): readonly number[] {
  const known = spec.shape.reduce((product, size) => (size === -1 ? product : product * size), 1);
  // Of several unknown sizes the leading ones are batches of one; the last takes what is left.
  const last = spec.shape.lastIndexOf(-1);
  return spec.shape.map((size, axis) => (size !== -1 ? size : axis === last ? count / known : 1));
}

/** Callers without types give what they like. */
function isTensor(value: Input): value is Tensor {
  const given = value as Partial<Tensor> | null | undefined;
  return given?.bytes instanceof Uint8Array && Array.isArray(given.spec?.shape);
}

function toTensor(value: Input, spec: PortSpec): Tensor {
  const { name, datatype } = spec;
  if (isTensor(value)) return renamed(value, name);
  if (datatype === "BYTES") {
    const elements = value instanceof Uint8Array || typeof value === "string" ? [value] : value;
    if (!Array.isArray(elements)) throw invalid(`${name} takes bytes or text`);
    return bytesTensor(name, elements, fitted(spec, elements.length));
  }
  const numbers = value instanceof Float32Array ? datatype === "FP32" : value instanceof Uint8Array;
  if (!numbers) throw invalid(`${name} takes ${datatype}; hand it over as a tensor`);
  const bytes = bytesOf(value as Float32Array | Uint8Array);
  return tensorOf(name, datatype, fitted(spec, bytes.byteLength / elementBytes(datatype)), bytes);
}

function byName(inputs: Inputs, ports: readonly PortSpec[]): NamedInputs {
  const single = isSingleInput(inputs);
  if (!single && typeof inputs === "object" && inputs !== null) return inputs;
  const port = single ? singlePort(ports) : undefined;
  if (single && port) return { [port.name]: inputs };
  throw invalid(`inputs are given by their names, as an object: ${ports.map(({ name }) => name).join(", ")}`);
}

/** An app's inputs as the tensors of a model. Throws `invalid-input` or `body-mismatch`, naming the input. */
export function toTensors(given: Inputs, ports: readonly PortSpec[]): Tensors {
  const inputs = byName(given, ports);
  const tensors = new Map<string, Tensor>();
  for (const [name, value] of Object.entries(inputs)) {
    const spec = ports.find((port) => port.name === name);
    if (!spec) {
      throw invalid(
        `the model takes no input ${name}; it takes ${ports.map((port) => port.name).join(", ")}`,
      );
    }
    tensors.set(name, toTensor(value, spec));
  }
  for (const { name, optional } of ports) {
    if (!optional && !tensors.has(name)) throw invalid(`the input ${name} is missing`);
  }
  return tensors;
}
