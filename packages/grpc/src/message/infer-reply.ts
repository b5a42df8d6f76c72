import type { Parameters, WireLimits } from "@longshore/core";
import type { InferReplyMessage } from "@longshore/core/internal";
import { Cursor, wireTypes } from "./cursor.ts";
import { type ParameterList, parametersOf, readParameter, writeParameters } from "./parameters.ts";
import { checkRoom, invalid, type MessageTensor, readTensor, tensorsOfContents } from "./read-tensors.ts";
import { type Parts, withRaw, writeSpecs } from "./write-tensors.ts";
import { Writer } from "./writer.ts";

/**
 * Writes a `ModelInferResponse`, outputs always as `raw_output_contents`: `tritonclient` reads nothing else. It counts them
 * beside the outputs, so one in shared memory has an empty entry.
 *
 * @param more Parameters beside the reply's own.
 * @param given The outputs belong to the reply alone, as those of a server do: their memory is freed once they were sent.
 */
export function encodeInferReply(reply: InferReplyMessage, more: Parameters = {}, given = false): Parts {
  const writer = new Writer();
  writer.text(1, reply.modelName);
  writer.text(2, reply.modelVersion ?? "");
  writer.text(3, reply.id ?? "");
  writeParameters(writer, 4, reply.parameters);
  writeParameters(writer, 4, more);
  writeSpecs(writer, 5, reply.outputs);
  const { parts, byteLength } = withRaw(writer, 6, reply.outputs);
  return { parts, byteLength, given };
}

/** Writes a `ModelStreamInferResponse` around a `ModelInferResponse`; an `error` says why it has no outputs. */
export function encodeStreamReply(reply: Parts, error = ""): Parts {
  const writer = new Writer(64);
  writer.text(1, error);
  writer.tag(2, wireTypes.length);
  writer.varint(reply.byteLength);
  return {
    parts: [writer.slice(0, writer.at), ...reply.parts],
    byteLength: writer.at + reply.byteLength,
    given: reply.given === true,
  };
}

/** Text parameters of a reply may be long, as over HTTP. */
const maxParameter = 262_144;

function* readReply(cursor: Cursor, limits: WireLimits): Generator<void, InferReplyMessage> {
  let modelName = "";
  let modelVersion = "";
  let id = "";
  const parameters: ParameterList = [];
  const outputs: MessageTensor[] = [];
  const raws: Uint8Array[] = [];
  while (cursor.field()) {
    switch (cursor.number) {
      case 1:
        modelName = cursor.text(limits.maxNameLength, "model_name");
        break;
      case 2:
        modelVersion = cursor.text(limits.maxNameLength, "model_version");
        break;
      case 3:
        id = cursor.text(limits.maxNameLength, "id");
        break;
      case 4:
        readParameter(cursor.inner(), "parameters", { ...limits, maxNameLength: maxParameter }, parameters);
        break;
      case 5:
        checkRoom(outputs, "outputs", limits);
        outputs.push(readTensor(cursor.inner(), `outputs[${outputs.length}]`, limits));
        break;
      case 6:
        checkRoom(raws, "raw_output_contents", limits);
        raws.push(cursor.view());
        break;
      default:
        cursor.skip();
    }
  }
  const shared = outputs.find((output) => output.shared);
  if (shared) throw invalid(`${shared.name} lies in shared memory, which was not requested`);
  const fields = { tensors: "outputs", raw: "raw_output_contents" };
  return {
    modelName,
    ...(modelVersion === "" ? {} : { modelVersion }),
    ...(id === "" ? {} : { id }),
    parameters: parametersOf(parameters),
    outputs: yield* tensorsOfContents(outputs, raws, cursor.bytes, limits, fields),
  };
}

/** The content of a `ModelStreamInferResponse`: an error, the answer, or neither if it only ends a request. */
export interface StreamReply {
  /** Empty where nothing went wrong. */
  readonly error: string;
  readonly reply?: InferReplyMessage;
}

/** The longest error that is kept whole. */
const maxError = 65_536;

/**
 * The work of reading a `ModelStreamInferResponse`, which yields after each two milliseconds or so. Raw contents become views
 * on `source`. Throws `invalid-input`, `body-mismatch` or `body-too-large`, and no other error, for any bytes.
 */
export function* streamReplyWork(source: Uint8Array, limits: WireLimits): Generator<void, StreamReply> {
  const cursor = new Cursor(source);
  let error = "";
  let reply: InferReplyMessage | undefined;
  while (cursor.field()) {
    if (cursor.number === 1) error = cursor.text(maxError, "error_message");
    else if (cursor.number === 2) {
      if (reply) throw invalid("infer_response comes twice");
      const inner = cursor.inner();
      if (error === "") reply = yield* readReply(inner, limits);
    } else cursor.skip();
  }
  return reply && error === "" ? { error, reply } : { error };
}
