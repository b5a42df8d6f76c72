import {
  checkTensorBytes,
  type InferRequestMessage,
  isDatatype,
  elementCount,
  LongshoreError,
  type Parameters,
  type RequestedOutput,
  type SharedPart,
  sharedPartOf,
  type WireLimits,
  type WireTensor,
  wholeParameter,
  withoutParameters,
} from "@longshore/core";
import { Cursor, wireTypes } from "./cursor.ts";
import { type ParameterList, parametersOf, readParameter } from "./parameters.ts";
import { bytesFromContents } from "./typed-contents.ts";

/** An inference request as gRPC carries it: the model is in the message, not in a path. */
export interface AddressedRequest {
  readonly model: string;
  /** Empty for the server's choice. */
  readonly version: string;
  readonly message: InferRequestMessage;
}

/** An input as it is collected: what says what it is, and where its data lies. */
interface Input {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly parameters: Parameters;
  readonly shared?: SharedPart;
  /** Places of `InferTensorContents` in the message; several are one, as protobuf merges them. */
  readonly contents: readonly { readonly from: number; readonly to: number }[];
}

/** What says where a tensor lies in shared memory; not the business of codecs. */
const sharedParameters = ["shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"];

/** The highest rank of a tensor. */
const maxRank = 32;

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", message);
}

function readShape(cursor: Cursor, shape: number[], where: string): void {
  const put = (from: Cursor): void => {
    from.varint();
    if (shape.length >= maxRank) throw invalid(`${where} has a rank above ${maxRank}`);
    shape.push(from.signed);
  };
  if (cursor.wireType === wireTypes.varint) {
    put(cursor);
    return;
  }
  const packed = cursor.inner();
  while (packed.at < packed.end) put(packed);
}

function readInput(cursor: Cursor, where: string, limits: WireLimits): Input {
  let name = "";
  let datatype = "";
  const shape: number[] = [];
  const parameters: ParameterList = [];
  const contents: { from: number; to: number }[] = [];
  while (cursor.field()) {
    switch (cursor.number) {
      case 1:
        name = cursor.text(limits.maxNameLength, `${where}.name`);
        break;
      case 2:
        datatype = cursor.text(limits.maxNameLength, `${where}.datatype`);
        break;
      case 3:
        readShape(cursor, shape, where);
        break;
      case 4:
        readParameter(cursor.inner(), where, limits, parameters);
        break;
      case 5: {
        const inner = cursor.inner();
        if (contents.length >= limits.maxTensors) throw invalid(`${where} has too many contents`);
        if (inner.end > inner.at) contents.push({ from: inner.at, to: inner.end });
        break;
      }
      default:
        cursor.skip();
    }
  }
  if (name === "") throw invalid(`${where}.name must be text of 1 to ${limits.maxNameLength} characters`);
  const all = parametersOf(parameters);
  const shared = sharedPartOf(all, name);
  return {
    name,
    datatype,
    shape,
    parameters: shared ? withoutParameters(all, ...sharedParameters) : all,
    contents,
    ...(shared ? { shared } : {}),
  };
}

function readOutput(cursor: Cursor, where: string, limits: WireLimits): RequestedOutput {
  let name = "";
  const list: ParameterList = [];
  while (cursor.field()) {
    if (cursor.number === 1) name = cursor.text(limits.maxNameLength, `${where}.name`);
    else if (cursor.number === 2) readParameter(cursor.inner(), where, limits, list);
    else cursor.skip();
  }
  if (name === "") throw invalid(`${where}.name must be text of 1 to ${limits.maxNameLength} characters`);
  const parameters = parametersOf(list);
  const classification = wholeParameter(parameters, "classification", where);
  const shared = sharedPartOf(parameters, where);
  return {
    name,
    binary: true,
    ...(classification === undefined ? {} : { classification }),
    ...(shared === undefined ? {} : { shared }),
  };
}

/** The input with its data: the next raw contents, or its own typed ones. */
function toTensor(
  input: Input,
  source: Uint8Array,
  raw: Uint8Array | undefined,
  limits: WireLimits,
): WireTensor {
  const { name, datatype, shape, parameters, contents, shared } = input;
  if (!isDatatype(datatype)) throw invalid(`${name}: datatype must be one of the protocol's datatypes`);
  const count = elementCount(shape, name);
  if (shared) {
    if (contents.length > 0) throw invalid(`${name} has contents and lies in shared memory`);
    return { name, datatype, shape, parameters, bytes: new Uint8Array(0), shared };
  }
  const bytes = raw ?? bytesFromContents(source, contents, datatype, count, name);
  const tensor: WireTensor = { name, datatype, shape, parameters, bytes };
  checkTensorBytes(tensor, limits);
  return tensor;
}

function toTensors(
  inputs: readonly Input[],
  raws: readonly Uint8Array[],
  source: Uint8Array,
  limits: WireLimits,
): readonly WireTensor[] {
  const names = new Set(inputs.map((input) => input.name));
  if (names.size !== inputs.length) throw invalid("inputs must be a list without a name twice");
  const here = inputs.filter(({ shared }) => !shared);
  if (raws.length > 0) {
    const mixed = inputs.find((input) => input.contents.length > 0);
    if (mixed) {
      throw invalid(`${mixed.name} has contents of its own although raw_input_contents is given`);
    }
    if (raws.length !== here.length) {
      throw new LongshoreError(
        "body-mismatch",
        "decode",
        `raw_input_contents has ${raws.length} entries for ${here.length} inputs`,
      );
    }
  }
  let next = 0;
  return inputs.map((input) => {
    const raw = raws.length > 0 && !input.shared ? raws[next++] : undefined;
    return toTensor(input, source, raw, limits);
  });
}

/**
 * Reads a `ModelInferRequest`. Raw contents, and typed ones of FP32 and FP64, become views on `source`. Inputs come all
 * raw or all typed. Throws `invalid-input`, `body-mismatch` or `body-too-large`, and nothing else, whatever the bytes are.
 */
export function decodeInferRequest(source: Uint8Array, limits: WireLimits): AddressedRequest {
  const cursor = new Cursor(source);
  let model = "";
  let version = "";
  let id: string | undefined;
  const parameters: ParameterList = [];
  const inputs: Input[] = [];
  const outputs: RequestedOutput[] = [];
  const raws: Uint8Array[] = [];
  const bounded = (list: readonly unknown[], what: string): void => {
    if (list.length >= limits.maxTensors) {
      throw invalid(`${what} must be a list of at most ${limits.maxTensors} entries`);
    }
  };
  while (cursor.field()) {
    switch (cursor.number) {
      case 1:
        model = cursor.text(limits.maxNameLength, "model_name");
        break;
      case 2:
        version = cursor.text(limits.maxNameLength, "model_version");
        break;
      case 3:
        id = cursor.text(limits.maxNameLength, "id");
        break;
      case 4:
        readParameter(cursor.inner(), "parameters", limits, parameters);
        break;
      case 5:
        bounded(inputs, "inputs");
        inputs.push(readInput(cursor.inner(), `inputs[${inputs.length}]`, limits));
        break;
      case 6:
        bounded(outputs, "outputs");
        outputs.push(readOutput(cursor.inner(), `outputs[${outputs.length}]`, limits));
        break;
      case 7:
        bounded(raws, "raw_input_contents");
        raws.push(cursor.view());
        break;
      default:
        cursor.skip();
    }
  }
  if (new Set(outputs.map((output) => output.name)).size !== outputs.length) {
    throw invalid("outputs must be a list without a name twice");
  }
  return {
    model,
    version,
    message: {
      ...(id === undefined ? {} : { id }),
      parameters: parametersOf(parameters),
      inputs: toTensors(inputs, raws, source, limits),
      ...(outputs.length === 0 ? {} : { outputs }),
      binaryOutputs: true,
    },
  };
}
