import { LongshoreError } from "../base/index.ts";
import type { Features } from "./features.ts";
import type { PortSpec } from "./model.ts";
import {
  bytesTensor,
  elementBytes,
  elementCount,
  float32Tensor,
  renamed,
  inputFits,
  type Tensor,
  type Tensors,
} from "../tensor/index.ts";
import { tensorOf } from "../tensor/index.ts";

/** One input: a tensor, or what an app holds (image bytes, samples, text, numbers). */
export type Input = Tensor | Uint8Array | Float32Array | string | readonly string[];

/** Inputs of a call by name. They are borrowed until the call ends. */
export type NamedInputs = Readonly<Record<string, Input>>;

/**
 * Inputs of a call by name, or, for a model that needs a single one, that input itself. They are borrowed until the call ends.
 */
export type Inputs = NamedInputs | Input;

/** Whether inputs are one input, given without its name. */
export function isSingleInput(inputs: Inputs): inputs is Input {
  if (typeof inputs === "string" || Array.isArray(inputs) || ArrayBuffer.isView(inputs)) return true;
  const { bytes, spec } = (inputs ?? {}) as {
    readonly bytes?: unknown;
    readonly spec?: Partial<Tensor["spec"]>;
  };
  return bytes instanceof Uint8Array && Array.isArray(spec?.shape);
}

/**
 * The input that a model takes without a name: its only one, or the only one that is not optional. Undefined where there are several.
 */
export function singlePort(ports: readonly PortSpec[]): PortSpec | undefined {
  const needed = ports.length === 1 ? ports : ports.filter(({ optional }) => optional !== true);
  return needed.length === 1 ? needed[0] : undefined;
}

/** The inputs of a call: tensors by port name, their bytes, and the features that set the cost. */
export interface TakenInputs {
  readonly tensors: Tensors;
  readonly bytes: number;
  readonly features: Features;
}

/**
 * Turns what an app holds into the tensors that the model declares: bytes and text become BYTES, numbers FP32 (raw bytes
 * any fixed-width type) with the one free size of the declared shape worked out. Throws `invalid-input`, naming the
 * inputs and shapes that the model takes.
 */
export function takeInputs(model: string, ports: readonly PortSpec[], given: Inputs): TakenInputs {
  const inputs = namedInputs(model, ports, given);
  const tensors = new Map<string, Tensor>();
  let bytes = 0;
  let size: number | undefined;
  for (const port of ports) {
    const input = inputs[port.name];
    if (input === undefined && port.optional) continue;
    if (input === undefined) throw wrongNames(model, ports, inputs);
    const tensor = tensorFor(model, port, input);
    tensors.set(port.name, tensor);
    bytes += tensor.bytes.byteLength;
    size ??= sizeOf(port, tensor);
  }
  if (Object.keys(inputs).length !== tensors.size) throw wrongNames(model, ports, inputs);
  return { tensors, bytes, features: size === undefined ? { bytes } : { bytes, size } };
}

/** Tensors as they are, for a model whose inputs are unknown. Throws `invalid-input` for any other value. */
export function takeTensors(model: string, given: Inputs): TakenInputs {
  const inputs = isSingleInput(given) && isTensor(given) ? { [given.spec.name]: given } : given;
  checkNamed(model, inputs);
  const tensors = new Map<string, Tensor>();
  let bytes = 0;
  for (const [name, input] of Object.entries(inputs)) {
    if (!isTensor(input)) {
      throw invalid(
        `no server states the inputs of ${model}: give ${name} as a tensor, with datatype and shape`,
      );
    }
    tensors.set(name, renamed(input, name));
    bytes += input.bytes.byteLength;
  }
  return { tensors, bytes, features: { bytes } };
}

function isTensor(input: Input): input is Tensor {
  return typeof input === "object" && input !== null && "spec" in input;
}

/** Inputs by name, whichever way they were given. */
function namedInputs(model: string, ports: readonly PortSpec[], inputs: Inputs): NamedInputs {
  if (!isSingleInput(inputs)) {
    checkNamed(model, inputs);
    return inputs;
  }
  const port = singlePort(ports);
  if (port) return { [port.name]: inputs };
  throw invalid(
    `${model} takes ${ports.map(describePort).join("; ")}: give the inputs by their names, as an object`,
  );
}

/** Callers without types give what they like. */
function checkNamed(model: string, inputs: unknown): asserts inputs is NamedInputs {
  if (typeof inputs === "object" && inputs !== null && !Array.isArray(inputs) && !ArrayBuffer.isView(inputs))
    return;
  throw invalid(`the inputs of ${model} are given by their names, as an object; given: ${nameOf(inputs)}`);
}

/** Elements of a numeric input, characters of a text; an image's pixels are not known before it is decoded. */
function sizeOf(port: PortSpec, tensor: Tensor): number | undefined {
  if (tensor.spec.datatype !== "BYTES") {
    return tensor.bytes.byteLength / Math.max(1, elementBytes(tensor.spec.datatype));
  }
  return port.media === "text" ? tensor.bytes.byteLength - 4 : undefined;
}

function describePort({ name, datatype, shape, media, optional }: PortSpec): string {
  const said = [...(media === undefined ? [] : [media]), ...(optional ? ["optional"] : [])].join(", ");
  return `${name} ${datatype} [${shape.join(", ")}]${said && ` (${said})`}`;
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", message);
}

function wrongNames(model: string, ports: readonly PortSpec[], inputs: NamedInputs): LongshoreError {
  const given = Object.keys(inputs).join(", ") || "nothing";
  return invalid(`${model} takes ${ports.map(describePort).join("; ")}; given: ${given}`);
}

function tensorFor(model: string, port: PortSpec, input: Input): Tensor {
  if (typeof input === "string" || (Array.isArray(input) && input.every((one) => typeof one === "string"))) {
    const texts = typeof input === "string" ? [input] : (input as readonly string[]);
    return bytesFor(model, port, texts);
  }
  if (input instanceof Uint8Array) {
    if (port.datatype === "BYTES") return bytesFor(model, port, [input]);
    const width = elementBytes(port.datatype);
    if (input.byteLength % width !== 0) {
      throw invalid(
        `${model}: ${input.byteLength} bytes are no whole number of ${port.datatype} elements for ${describePort(port)}`,
      );
    }
    return tensorOf(port.name, port.datatype, resolvedShape(model, port, input.byteLength / width), input);
  }
  if (input instanceof Float32Array) {
    if (port.datatype !== "FP32") {
      throw invalid(`${model}: a Float32Array fits FP32 inputs only; this one is ${describePort(port)}`);
    }
    return float32Tensor(port.name, resolvedShape(model, port, input.length), input);
  }
  return checkedTensor(model, port, input as Tensor);
}

/** The kind of a value, for the error about a wrong one. */
function nameOf(value: unknown): string {
  if (value === null || typeof value !== "object") return String(value);
  return `an object of ${value.constructor?.name ?? "nothing"}`;
}

function checkedTensor(model: string, port: PortSpec, tensor: Tensor): Tensor {
  // Callers without types give what they like.
  const given = tensor as Partial<Tensor> | null | undefined;
  if (!(given?.bytes instanceof Uint8Array) || !Array.isArray(given.spec?.shape)) {
    throw invalid(
      `${model}: ${describePort(port)} takes a tensor, texts, bytes or a Float32Array; given: ${nameOf(tensor)}`,
    );
  }
  const { spec, bytes, rows } = tensor;
  if (spec.datatype !== port.datatype || !inputFits(spec.shape, port.shape)) {
    throw invalid(`${model} takes ${describePort(port)}; given: ${spec.datatype} [${spec.shape.join(", ")}]`);
  }
  const width = elementBytes(spec.datatype);
  if (width > 0 && rows === undefined && bytes.byteLength !== elementCount(spec.shape, port.name) * width) {
    throw invalid(
      `${model}: ${describePort(port)} was given as [${spec.shape.join(", ")}] with ${bytes.byteLength} bytes, which do not match`,
    );
  }
  return renamed(tensor, port.name);
}

function bytesFor(model: string, port: PortSpec, elements: readonly (Uint8Array | string)[]): Tensor {
  if (port.datatype !== "BYTES") {
    throw invalid(`${model} takes ${describePort(port)}; given: ${elements.length} text or byte elements`);
  }
  return bytesTensor(port.name, elements, resolvedShape(model, port, elements.length));
}

/** The declared shape with its one free size such that it holds `count` elements. */
function resolvedShape(model: string, port: PortSpec, count: number): readonly number[] {
  let known = 1;
  let free = 0;
  for (const size of port.shape) {
    if (size < 0) free++;
    else known *= size;
  }
  const rest = free === 0 ? 1 : known === 0 ? 0 : count / known;
  const fits = free === 0 ? known === count : Number.isInteger(rest) && rest >= 0;
  // Several free sizes: leading ones are batch axes and become 1, the last one takes the elements.
  if (!fits) {
    throw invalid(`${model}: ${count} elements do not fill ${describePort(port)}`);
  }
  let left = free;
  return port.shape.map((size) => {
    if (size >= 0) return size;
    left--;
    return left === 0 ? rest : 1;
  });
}
