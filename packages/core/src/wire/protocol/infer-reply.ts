import { inSteps } from "../../words/base/index.ts";
import { exactJson } from "../../words/json/index.ts";
import type { KnownHeads } from "./known-heads.ts";
import type { WireLimits } from "./limits.ts";
import { layOut, layOutInSteps, type Message, type MessageContent, takeApart, takeHead } from "./message.ts";
import { readParameters } from "./parameters.ts";
import { own, readText } from "./read-json.ts";
import { readTensors, tensorsInSteps, type WireTensor } from "./wire-tensor.ts";
import type { InferReplyMessage } from "./infer-messages.ts";

/** Text parameters of a reply may be long: an account travels in one. */
const maxReplyParameter = 262_144;

function contentOf(message: InferReplyMessage, binary: (output: WireTensor) => boolean): MessageContent {
  const fields = [`"model_name":${JSON.stringify(message.modelName)}`];
  if (message.modelVersion !== undefined) {
    fields.push(`"model_version":${JSON.stringify(message.modelVersion)}`);
  }
  if (message.id !== undefined) fields.push(`"id":${JSON.stringify(message.id)}`);
  if (Object.keys(message.parameters).length > 0) {
    fields.push(`"parameters":${exactJson(message.parameters)}`);
  }
  return { fields, list: "outputs", tensors: message.outputs, binary };
}

/** Writes a reply. `binary` tells which outputs come as binary data. */
export function writeInferReply(
  message: InferReplyMessage,
  binary: (output: WireTensor) => boolean,
): Message {
  return layOut(contentOf(message, binary));
}

/** The same, with a `pause` after each two milliseconds or so of writing JSON tensors. */
export function writeInferReplyInSteps(
  message: InferReplyMessage,
  binary: (output: WireTensor) => boolean,
  pause: () => Promise<void>,
): Message | Promise<Message> {
  return layOutInSteps(contentOf(message, binary), pause);
}

/**
 * Reads a reply, with a `pause` after each two milliseconds or so of reading JSON tensors; at once where there is nothing to pause
 * for. Outputs are views on `body`. Throws like `readInferRequest`; the caller makes that a bad reply. `heads` remembers what was
 * read.
 */
export function readInferReplyInSteps(
  body: Uint8Array,
  headerLength: number | undefined,
  limits: WireLimits,
  pause: () => Promise<void>,
  heads?: KnownHeads<InferReplyMessage>,
): InferReplyMessage | Promise<InferReplyMessage> {
  const known = headerLength === undefined ? undefined : heads?.find(body, headerLength);
  if (known) return known;
  const reply = inSteps(wholeReplyWork(body, headerLength, limits), pause);
  if (!(reply instanceof Promise) && headerLength !== undefined) heads?.learn(body, headerLength, reply);
  return reply;
}

/** The same for a reply of which only the JSON is here and `binaryBytes` are on their way. */
export function readInferReplyHead(
  head: Uint8Array,
  binaryBytes: number,
  limits: WireLimits,
  pause: () => Promise<void>,
): InferReplyMessage | Promise<InferReplyMessage> {
  return inSteps(replyHeadWork(head, binaryBytes, limits), pause);
}

function* replyHeadWork(
  head: Uint8Array,
  binaryBytes: number,
  limits: WireLimits,
): Generator<void, InferReplyMessage> {
  return yield* replyWork(yield* takeHead(head, limits), { byteLength: binaryBytes }, limits);
}

function* wholeReplyWork(
  body: Uint8Array,
  headerLength: number | undefined,
  limits: WireLimits,
): Generator<void, InferReplyMessage> {
  const { json, binary } = yield* takeApart(body, headerLength, limits);
  return yield* replyWork(json, binary, limits);
}

function* replyWork(
  json: object,
  binary: Uint8Array | { readonly byteLength: number },
  limits: WireLimits,
): Generator<void, InferReplyMessage> {
  const name = readText(limits.maxNameLength);
  const version = own(json, "model_version");
  const id = own(json, "id");
  return {
    modelName: name(own(json, "model_name"), "model_name"),
    // Some servers send null for what they do not know.
    ...(version === undefined || version === null ? {} : { modelVersion: name(version, "model_version") }),
    ...(id === undefined || id === null ? {} : { id: name(id, "id") }),
    parameters: readParameters(own(json, "parameters"), "parameters", limits, maxReplyParameter),
    outputs: yield* tensorsInSteps(readTensors(own(json, "outputs"), "outputs", binary, limits)),
  };
}
