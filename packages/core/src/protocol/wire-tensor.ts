import { LongshoreError } from "../base/index.ts";
import {
  bytesElements,
  type Datatype,
  elementBytes,
  elementCount,
  isDatatype,
  type Tensor,
} from "../tensor/index.ts";
import type { WireLimits } from "./limits.ts";
import { own, refuse, objectAt, arrayAt } from "./read-json.ts";
import { type Parameters, readParameters, wholeParameter, withoutParameters } from "./parameters.ts";
import { bytesFromData, dataText } from "./tensor-data.ts";

/**
 * A tensor as a message carries it: datatype and shape as the receiver shall see them, bytes as they travel. With the
 * parameter `codec` the bytes are that codec's; otherwise they are the tensor.
 */
export interface WireTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly parameters: Parameters;
  readonly bytes: Uint8Array;
}

function mismatch(message: string): LongshoreError {
  return new LongshoreError("body-mismatch", "decode", message);
}

/** The codec that a tensor travels in; undefined for raw. */
export function codecOf(parameters: Parameters, name: string): string | undefined {
  const codec = own(parameters, "codec");
  if (codec === undefined || codec === "raw") return undefined;
  if (typeof codec !== "string" || codec === "") refuse(`${name}: codec`, "the name of a codec");
  return codec;
}

function checkSize(tensor: WireTensor, coded: boolean, limits: WireLimits): void {
  const { name, datatype, shape, bytes } = tensor;
  const count = elementCount(shape, name);
  const width = elementBytes(datatype);
  // An element of BYTES takes its length prefix at least.
  const least = count * (width || 4);
  if (least > limits.maxTensorBytes) {
    throw new LongshoreError(
      "body-too-large",
      "decode",
      `${name} is ${datatype} [${shape.join(", ")}]: at least ${least} bytes, but ${limits.maxTensorBytes} are allowed`,
    );
  }
  if (coded) return;
  if (width === 0) bytesElements({ spec: { name, datatype, shape }, bytes });
  else if (bytes.byteLength !== least) {
    throw mismatch(
      `${name} is ${datatype} [${shape.join(", ")}], which takes ${least} bytes, but ${bytes.byteLength} came`,
    );
  }
}

function nameOf(entry: object, where: string, limits: WireLimits): string {
  const name = own(entry, "name");
  if (typeof name !== "string" || name === "" || name.length > limits.maxNameLength) {
    refuse(`${where}.name`, `text of 1 to ${limits.maxNameLength} characters`);
  }
  return name;
}

/** Reads the entry of one tensor; `take` hands out the next bytes of the binary part. */
function readTensor(
  value: unknown,
  where: string,
  limits: WireLimits,
  take: (bytes: number, name: string) => Uint8Array,
): WireTensor {
  const entry = objectAt(value, where);
  const name = nameOf(entry, where, limits);
  const datatype = own(entry, "datatype");
  if (!isDatatype(datatype)) refuse(`${name}: datatype`, "one of the protocol's datatypes");
  const shape = arrayAt(own(entry, "shape"), `${name}: shape`, 32) as readonly number[];
  const count = elementCount(shape, name);
  const parameters = readParameters(own(entry, "parameters"), `${name}: parameters`, limits);
  if (own(parameters, "shared_memory_region") !== undefined) {
    throw new LongshoreError("unsupported", "decode", `${name}: shared memory is not supported`);
  }
  const data = own(entry, "data");
  const size = wholeParameter(parameters, "binary_data_size", name);
  if ((data === undefined) === (size === undefined)) {
    throw mismatch(`${name}: exactly one of data and binary_data_size is needed`);
  }
  const coded = codecOf(parameters, name) !== undefined;
  if (size === undefined) {
    if (coded) throw mismatch(`${name}: a coded tensor travels as binary data`);
    const bytes = bytesFromData(data, datatype, shape.length, count, name);
    const tensor = { name, datatype, shape, parameters, bytes };
    checkSize(tensor, false, limits);
    return tensor;
  }
  const rest = withoutParameters(parameters, "binary_data_size");
  const tensor = { name, datatype, shape, parameters: rest, bytes: take(size, name) };
  checkSize(tensor, coded, limits);
  return tensor;
}

/**
 * Reads the tensors of a message. Binary tensors lie end to end in `binary`, in the listed order, and must fill it
 * exactly; their bytes are views on it. Throws `invalid-input` for entries that are wrong in themselves and
 * `body-mismatch` for sizes that do not agree.
 */
export function readTensors(
  value: unknown,
  where: string,
  binary: Uint8Array,
  limits: WireLimits,
): readonly WireTensor[] {
  const entries = arrayAt(value, where, limits.maxTensors);
  const names = new Set<string>();
  let offset = 0;
  const take = (size: number, name: string): Uint8Array => {
    if (size > binary.byteLength - offset) {
      throw mismatch(
        `${name}: binary_data_size is ${size}, but ${binary.byteLength - offset} bytes are left of the body`,
      );
    }
    offset += size;
    return binary.subarray(offset - size, offset);
  };
  const tensors = entries.map((entry, index) => {
    const tensor = readTensor(entry, `${where}[${index}]`, limits, take);
    if (names.has(tensor.name)) refuse(`${where}[${index}].name`, "a name that came only once");
    names.add(tensor.name);
    return tensor;
  });
  if (offset !== binary.byteLength) {
    throw mismatch(`${binary.byteLength - offset} bytes are left over after the last binary tensor`);
  }
  return tensors;
}

/** The JSON entry of a tensor, as text; with `binary` its bytes go into the binary part instead. */
export function tensorEntry(tensor: WireTensor, binary: boolean): string {
  const { name, datatype, shape, bytes } = tensor;
  const parameters = binary
    ? { ...tensor.parameters, binary_data_size: bytes.byteLength }
    : tensor.parameters;
  const head = JSON.stringify({ name, datatype, shape });
  const described = Object.keys(parameters).length === 0 ? "" : `,"parameters":${JSON.stringify(parameters)}`;
  const data = binary ? "" : `,"data":${dataText(plainTensor(tensor))}`;
  return `${head.slice(0, -1)}${described}${data}}`;
}

/** A wire tensor without codec as a tensor; shares the bytes. */
export function plainTensor(tensor: WireTensor): Tensor {
  const { name, datatype, shape, bytes } = tensor;
  return { spec: { name, datatype, shape }, bytes };
}
