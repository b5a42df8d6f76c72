import { LongshoreError } from "../../words/base/index.ts";
import {
  ArrayText,
  type DataWork,
  dataPieces,
  dataWork,
  exactJson,
  named,
  newTurn,
  type Parameters,
} from "../../words/json/index.ts";
import {
  checkElements,
  type Datatype,
  elementBytes,
  elementCount,
  isDatatype,
  type Tensor,
} from "../../words/tensor/index.ts";
import type { WireLimits } from "./limits.ts";
import { own, refuseField, objectAt, arrayAt } from "./read-json.ts";
import { readParameters, wholeParameter, withoutParameters } from "./parameters.ts";

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
  /** Where the bytes lie instead, in memory that sender and receiver share; `bytes` are empty then. */
  readonly shared?: SharedPart;
  /** How many bytes are still on their way; `bytes` are empty then. */
  readonly awaitedBytes?: number;
}

/** A part of a region of shared memory that was registered before, in bytes. */
export interface SharedPart {
  readonly region: string;
  readonly offset: number;
  readonly byteSize: number;
}

const sharedParameters = ["shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"] as const;

/** The part that parameters of a tensor or a requested output name; undefined when they name none. */
export function sharedPartOf(parameters: Parameters, name: string): SharedPart | undefined {
  const region = own(parameters, "shared_memory_region");
  if (region === undefined) return undefined;
  if (typeof region !== "string" || region === "") refuseField(`${name}: shared_memory_region`, "a name");
  const byteSize = wholeParameter(parameters, "shared_memory_byte_size", name);
  if (byteSize === undefined) refuseField(`${name}: shared_memory_byte_size`, "a number of bytes");
  if (own(parameters, "classification")) refuseField(`${name}: classification`, "absent with shared memory");
  return { region, offset: wholeParameter(parameters, "shared_memory_offset", name) ?? 0, byteSize };
}

/** The parameters that say where a tensor lies in shared memory. */
export function sharedPartParameters({ region, offset, byteSize }: SharedPart): Parameters {
  return {
    shared_memory_region: region,
    ...(offset === 0 ? {} : { shared_memory_offset: offset }),
    shared_memory_byte_size: byteSize,
  };
}

function mismatch(message: string): LongshoreError {
  return new LongshoreError("body-mismatch", "decode", message);
}

/** The codec that a tensor travels in; undefined for raw. */
export function codecOf(parameters: Parameters, name: string): string | undefined {
  const codec = own(parameters, "codec");
  if (codec === undefined || codec === "raw") return undefined;
  if (typeof codec !== "string" || codec === "") refuseField(`${name}: codec`, "the name of a codec");
  return codec;
}

/**
 * The fewest bytes that a tensor of this shape can have. Throws `body-too-large` when they, or texts, are more than is
 * allowed.
 */
export function checkLeast(
  tensor: Omit<WireTensor, "bytes">,
  { maxTensorBytes, maxTexts }: WireLimits,
): number {
  const { name, datatype, shape } = tensor;
  if (datatype === "BYTES" && elementCount(shape, name) > maxTexts) {
    throw new LongshoreError(
      "body-too-large",
      "decode",
      `${name} has ${elementCount(shape, name)} texts; at most ${maxTexts} are allowed`,
    );
  }
  // An element of BYTES takes its length prefix at least.
  const least = elementCount(shape, name) * (elementBytes(datatype) || 4);
  if (least > maxTensorBytes) {
    throw new LongshoreError(
      "body-too-large",
      "decode",
      `${name} is ${datatype} [${shape.join(", ")}]: at least ${least} bytes, but ${maxTensorBytes} are allowed`,
    );
  }
  return least;
}

/**
 * Throws `body-mismatch` or `body-too-large` unless the bytes of a tensor are as many as its shape takes. A coded tensor's
 * are counted when it is decoded.
 */
export function checkTensorBytes(tensor: WireTensor, limits: WireLimits): void {
  const { name, datatype, shape, bytes, parameters } = tensor;
  const coded = codecOf(parameters, name) !== undefined;
  const least = checkLeast(tensor, limits);
  if (coded) return;
  if (elementBytes(datatype) === 0) checkElements({ spec: { name, datatype, shape }, bytes });
  else if (bytes.byteLength !== least) {
    throw mismatch(
      `${name} is ${datatype} [${shape.join(", ")}], which takes ${least} bytes, but ${bytes.byteLength} came`,
    );
  }
}

function nameOf(entry: object, where: string, limits: WireLimits): string {
  const name = own(entry, "name");
  if (typeof name !== "string" || name === "" || name.length > limits.maxNameLength) {
    refuseField(`${where}.name`, `text of 1 to ${limits.maxNameLength} characters`);
  }
  return name;
}

/** A tensor whose bytes are here, or still have to be read from JSON (`work`). */
interface Entry {
  readonly tensor: WireTensor;
  readonly work?: DataWork;
}

const nothing = new Uint8Array(0);

/** Checks the announced length of a tensor whose bytes are still on their way. The reader of texts counts the texts later. */
export function checkAwaited(
  tensor: Omit<WireTensor, "bytes">,
  awaitedBytes: number,
  limits: WireLimits,
): void {
  const { name, datatype, shape, parameters } = tensor;
  const least = checkLeast(tensor, limits);
  if (codecOf(parameters, name) !== undefined) return;
  if (elementBytes(datatype) === 0 ? awaitedBytes >= least : awaitedBytes === least) return;
  throw mismatch(
    `${name} is ${datatype} [${shape.join(", ")}], which takes ${least} bytes, but ${awaitedBytes} are announced`,
  );
}

/** Reads the entry of one tensor; `take` hands out the next bytes of the binary part, or nothing when they are not here. */
function readEntry(
  value: unknown,
  where: string,
  limits: WireLimits,
  take: (bytes: number, name: string) => Uint8Array | undefined,
): Entry {
  const entry = objectAt(value, where);
  const name = nameOf(entry, where, limits);
  const datatype = own(entry, "datatype");
  if (!isDatatype(datatype)) refuseField(`${name}: datatype`, "one of the protocol's datatypes");
  const shape = arrayAt(own(entry, "shape"), `${name}: shape`, 32) as readonly number[];
  const count = elementCount(shape, name);
  const parameters = readParameters(own(entry, "parameters"), `${name}: parameters`, limits);
  const data = own(entry, "data");
  const size = wholeParameter(parameters, "binary_data_size", name);
  const shared = sharedPartOf(parameters, name);
  if (Number(data !== undefined) + Number(size !== undefined) + Number(shared !== undefined) !== 1) {
    throw mismatch(`${name}: exactly one of data, binary_data_size and shared_memory_region is needed`);
  }
  const rest = withoutParameters(parameters, "binary_data_size", ...sharedParameters);
  const described = { name, datatype, shape, parameters: rest };
  if (data === undefined) {
    if (size === undefined) {
      return { tensor: { ...described, bytes: nothing, ...(shared ? { shared } : {}) } };
    }
    const bytes = take(size, name);
    if (bytes) {
      const tensor: WireTensor = { name, datatype, shape, parameters: rest, bytes };
      checkTensorBytes(tensor, limits);
      return { tensor };
    }
    const tensor: WireTensor = { ...described, bytes: nothing, awaitedBytes: size };
    checkAwaited(tensor, size, limits);
    return { tensor };
  }
  if (codecOf(parameters, name) !== undefined)
    throw mismatch(`${name}: a coded tensor travels as binary data`);
  if (!(data instanceof ArrayText)) refuseField(`${name}: data`, "an array");
  checkLeast(described, limits);
  return { tensor: { ...described, bytes: nothing }, work: dataWork(data, datatype, shape, count, name) };
}

/** The tensors of a message, some of them still JSON. */
export type TensorsWork = readonly Entry[];

/**
 * Reads the tensors of a message. Binary tensors lie end to end in `binary`, in the listed order, and must fill it
 * exactly; their bytes are views on it. Of a binary part that is still on its way only the length is given. Throws `invalid-input` for entries that are wrong in themselves and
 * `body-mismatch` for sizes that do not agree.
 */
export function readTensors(
  value: unknown,
  where: string,
  binary: Uint8Array | { readonly byteLength: number },
  limits: WireLimits,
): TensorsWork {
  const list = arrayAt(value, where, limits.maxTensors);
  const names = new Set<string>();
  let offset = 0;
  const take = (size: number, name: string): Uint8Array | undefined => {
    if (size > binary.byteLength - offset) {
      throw mismatch(
        `${name}: binary_data_size is ${size}, but ${binary.byteLength - offset} bytes are left of the body`,
      );
    }
    offset += size;
    return binary instanceof Uint8Array ? binary.subarray(offset - size, offset) : undefined;
  };
  const entries = list.map((one, index) => {
    const entry = readEntry(one, `${where}[${index}]`, limits, take);
    const { name } = entry.tensor;
    if (names.has(name)) refuseField(`${where}[${index}].name`, "a name that came only once");
    names.add(name);
    return entry;
  });
  if (offset !== binary.byteLength) {
    throw mismatch(`${binary.byteLength - offset} bytes are left over after the last binary tensor`);
  }
  return entries;
}

/** Does the work, and yields after each two milliseconds or so of reading JSON, of however many tensors. */
export function* tensorsInSteps(entries: TensorsWork): Generator<void, readonly WireTensor[]> {
  const turn = newTurn();
  const tensors: WireTensor[] = [];
  for (const { tensor, work } of entries) {
    try {
      tensors.push(work ? { ...tensor, bytes: yield* work(turn) } : tensor);
    } catch (thrown) {
      throw named(thrown, tensor.name);
    }
  }
  return tensors;
}

/**
 * The JSON entry of a tensor, as text in pieces; with `binary` its bytes go into the binary part instead. A client that wants
 * an output in shared memory knows where it lies, so the region is stated for inputs only (`placed`). Triton's replies do the
 * same: its C++ clients take any parameters of an output for those of binary data.
 */
export function* tensorEntry(tensor: WireTensor, binary: boolean, placed: boolean): Generator<string> {
  const { name, datatype, shape, bytes, shared, awaitedBytes = bytes.byteLength } = tensor;
  const parameters = shared
    ? { ...tensor.parameters, ...(placed ? sharedPartParameters(shared) : {}) }
    : binary
      ? { ...tensor.parameters, binary_data_size: awaitedBytes }
      : tensor.parameters;
  const described = Object.keys(parameters).length === 0 ? "" : `,"parameters":${exactJson(parameters)}`;
  yield `${JSON.stringify({ name, datatype, shape }).slice(0, -1)}${described}`;
  if (!binary && !shared) {
    yield ',"data":';
    yield* dataPieces(plainTensor(tensor));
  }
  yield "}";
}

/** A wire tensor without codec as a tensor; shares the bytes. */
export function plainTensor(tensor: WireTensor): Tensor {
  const { name, datatype, shape, bytes } = tensor;
  return { spec: { name, datatype, shape }, bytes };
}
