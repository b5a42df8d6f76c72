import { LongshoreError, type Parameters, type WireLimits } from "@longshore/core";
import {
  checkLeast,
  checkTensorBytes,
  elementCount,
  isDatatype,
  type SharedPart,
  sharedPartOf,
  type WireTensor,
  withoutParameters,
} from "@longshore/core/internal";
import { type Cursor, wireTypes } from "./cursor.ts";
import { type ParameterList, parametersOf, readParameter } from "./parameters.ts";
import { bytesFromContents } from "./typed-contents.ts";

/** A tensor while it is collected: its description, and the position of its data. */
export interface MessageTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly parameters: Parameters;
  readonly shared?: SharedPart;
  /** Byte ranges of `InferTensorContents` in the message; several are one, as protobuf merges them. */
  readonly contents: readonly { readonly from: number; readonly to: number }[];
}

/** Parameters for the position of a tensor in shared memory; codecs ignore them. */
const sharedParameters = ["shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"];

/** The highest rank of a tensor. */
const maxRank = 32;

export function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", message);
}

/** Throws where a list of a message, which has this name there, is full. */
export function checkRoom(list: readonly unknown[], name: string, { maxTensors }: WireLimits): void {
  if (list.length >= maxTensors) throw invalid(`${name} must be a list of at most ${maxTensors} entries`);
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

/** Reads an `InferInputTensor` or an `InferOutputTensor`: they have the same fields. */
export function readTensor(cursor: Cursor, where: string, limits: WireLimits): MessageTensor {
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

/** The tensor with its data: the next raw contents, or its own typed ones. */
function* toTensor(
  input: MessageTensor,
  source: Uint8Array,
  raw: Uint8Array | undefined,
  limits: WireLimits,
): Generator<void, WireTensor> {
  const { name, datatype, shape, parameters, contents, shared } = input;
  if (!isDatatype(datatype)) throw invalid(`${name}: datatype must be one of the protocol's datatypes`);
  const count = elementCount(shape, name);
  if (shared) {
    if (contents.length > 0) throw invalid(`${name} has contents and lies in shared memory`);
    return { name, datatype, shape, parameters, bytes: new Uint8Array(0), shared };
  }
  if (!raw) checkLeast({ name, datatype, shape, parameters }, limits);
  const bytes = raw ?? (yield* bytesFromContents(source, contents, datatype, count, name));
  const tensor: WireTensor = { name, datatype, shape, parameters, bytes };
  checkTensorBytes(tensor, limits);
  return tensor;
}

/** The field names of the two lists of tensors of a message. */
interface TensorFields {
  readonly tensors: string;
  readonly raw: string;
}

/** Gives the tensors of a message their data: all raw, or each its own. Yields after each two milliseconds or so. */
export function* tensorsOfContents(
  inputs: readonly MessageTensor[],
  raws: readonly Uint8Array[],
  source: Uint8Array,
  limits: WireLimits,
  fields: TensorFields,
): Generator<void, readonly WireTensor[]> {
  const names = new Set(inputs.map((input) => input.name));
  if (names.size !== inputs.length) throw invalid(`${fields.tensors} must be a list without a name twice`);
  const here = inputs.filter(({ shared }) => !shared);
  if (raws.length > 0) {
    const mixed = inputs.find((input) => input.contents.length > 0);
    if (mixed) {
      throw invalid(`${mixed.name} has contents of its own although ${fields.raw} is given`);
    }
    if (raws.length !== here.length) {
      throw new LongshoreError(
        "body-mismatch",
        "decode",
        `${fields.raw} has ${raws.length} entries for ${here.length} ${fields.tensors}`,
      );
    }
  }
  let next = 0;
  const tensors: WireTensor[] = [];
  for (const input of inputs) {
    const raw = raws.length > 0 && !input.shared ? raws[next++] : undefined;
    tensors.push(yield* toTensor(input, source, raw, limits));
  }
  return tensors;
}
