import { LongshoreError, type WireLimits } from "@longshore/core";
import {
  binaryOutputsParameter,
  checkAwaited,
  elementBytes,
  elementCount,
  isDatatype,
  headerLengthOf,
  type WireTensor,
  writeInferRequest,
} from "@longshore/core/internal";
import { Cursor, wireTypes } from "./cursor.ts";
import { RequestFields } from "./infer-request.ts";
import { maxParameters } from "./parameters.ts";
import { rawField } from "./peek.ts";
import type { MessageTensor } from "./read-tensors.ts";

/**
 * A request whose raw contents are still on their way, as HTTP's binary form begins with it. All encoders write fields in the
 * order of their numbers, and no field after the raw contents. So the fields before them tell the length of each: numbers by
 * their shape, texts once the length of their entry has come. If that agrees with the length of the message, the lengths of the
 * binary form are known, and any further problem is a fault of the rest.
 */
export interface BinaryHead {
  readonly model: string;
  readonly version: string;
  /** The JSON before the binary data, padded as it is sent. */
  readonly json: Uint8Array;
  /** The expected raw contents, in their order; `bytes` are empty. */
  readonly inputs: readonly AwaitedTensor[];
  /** Where the field of the first raw contents begins in the message. */
  readonly rawFrom: number;
}

/** A tensor that is on its way. */
export type AwaitedTensor = WireTensor & { readonly awaitedBytes: number };

/** The tag before the length of each entry of the raw contents. */
export const rawTag: number = rawField * 8 + wireTypes.length;
/** The most bytes of a length that fits into a message. */
export const mostLengthBytes = 5;

const nothing = new Uint8Array(0);

function lengthBytes(length: number): number {
  let bytes = 1;
  for (let rest = length; rest >= 128; rest /= 128) bytes += 1;
  return bytes;
}

/** The inputs with the lengths that their raw contents must have; undefined where the beginning of the message does not tell. */
function awaited(
  inputs: readonly MessageTensor[],
  contents: Cursor,
  messageBytes: number,
  limits: WireLimits,
): readonly AwaitedTensor[] | undefined {
  const tensors: AwaitedTensor[] = [];
  let at = contents.at;
  for (const { name, datatype, shape, parameters } of inputs) {
    if (!isDatatype(datatype)) return undefined;
    const told = toldLength(contents, at);
    const awaitedBytes =
      elementBytes(datatype) === 0 ? told : elementBytes(datatype) * elementCount(shape, name);
    if (awaitedBytes === undefined || (told !== undefined && told !== awaitedBytes)) return undefined;
    const tensor = { name, datatype, shape, parameters, bytes: nothing, awaitedBytes };
    checkAwaited(tensor, awaitedBytes, limits);
    tensors.push(tensor);
    at += 1 + lengthBytes(awaitedBytes) + awaitedBytes;
  }
  return at === messageBytes ? tensors : undefined;
}

/** The length of the raw contents whose field begins there: undefined where it has not come, NaN where another field has. */
function toldLength({ bytes, end }: Cursor, at: number): number | undefined {
  if (at >= end) return undefined;
  if (bytes[at] !== rawTag) return NaN;
  const entry = new Cursor(bytes, at + 1, Math.min(end, at + 1 + mostLengthBytes));
  for (let last = entry.at; last < entry.end; last++) {
    if ((bytes[last] ?? 0) >= 128) continue;
    entry.varint();
    return entry.unsigned;
  }
  return undefined;
}

/**
 * Reads the beginning of a `ModelInferRequest` of this many bytes. Undefined if it needs more bytes, if HTTP's form is not raw
 * contents one after the other, and if it is malformed: the reader of the whole message says why.
 */
export function binaryHead(
  head: Uint8Array,
  messageBytes: number,
  limits: WireLimits,
): BinaryHead | undefined {
  try {
    const cursor = new Cursor(head);
    const fields = new RequestFields(limits);
    let rawFrom = 0;
    while (cursor.field() && cursor.number !== rawField) {
      fields.take(cursor);
      rawFrom = cursor.at;
    }
    if (cursor.number !== rawField) return undefined;
    const { inputs, outputs } = fields;
    if (outputs.some(({ shared, classification }) => shared ?? classification)) return undefined;
    if (inputs.some(({ shared, contents }) => shared !== undefined || contents.length > 0)) return undefined;
    if (inputs.some(({ parameters }) => Object.keys(parameters).length > 0)) return undefined;
    if (new Set(inputs.map(({ name }) => name)).size !== inputs.length) return undefined;
    const tensors = awaited(inputs, new Cursor(head, rawFrom), messageBytes, limits);
    if (!tensors) return undefined;
    const { model, version, message } = fields.request(tensors);
    // HTTP's form says with one more that outputs shall come in it.
    const parameters = { ...message.parameters, [binaryOutputsParameter]: true };
    if (Object.keys(parameters).length > maxParameters) return undefined;
    const { headers, parts } = writeInferRequest(message, "binary");
    const [json] = parts;
    if (!json || json.byteLength !== headerLengthOf(headers)) return undefined;
    return { model, version, json, inputs: tensors, rawFrom };
  } catch (thrown) {
    if (LongshoreError.is(thrown)) return undefined;
    throw thrown;
  }
}
