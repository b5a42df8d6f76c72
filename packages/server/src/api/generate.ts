import {
  bytesElements,
  LongshoreError,
  type ModelDescription,
  type PortSpec,
  readBody,
  type WireResponse,
} from "@longshore/core";
import {
  encodedInSteps,
  exactJson,
  type InferReplyMessage,
  jsonType,
  type ModelAddress,
  parseFields,
  plainTensor,
  read,
  readInferRequestInSteps,
  turnWhileWanted,
  writeWireError,
} from "@longshore/core/internal";
import { findModel } from "./find-model.ts";
import { arrivedCall, infer } from "./infer/index.ts";
import type { Api, IncomingRequest } from "./parts.ts";

/** The most bytes of a body. It is parsed at once, since its inputs are mixed with other fields. */
const maxGenerateBytes = 2 ** 20;
/** A longer request is parsed in steps, so that it does not hold the event loop. */
const atOnceBytes = 65_536;
/** The most parameters of one request. */
const mostParameters = 256;
/** Bytes of text that are written at a time. */
const bytesInPiece = 16_384;

const encoder = new TextEncoder();

/** The model's one text output. Throws `invalid-input` for models that are not made for this extension. */
function textOutput({ name, outputs }: ModelDescription): PortSpec {
  const [output, ...more] = outputs;
  if (output?.datatype === "BYTES" && more.length === 0) return output;
  throw new LongshoreError(
    "invalid-input",
    "admission",
    `generate is for models with one text output; use infer for model '${name}'`,
  );
}

/**
 * A value or list as the data of an input, nested no deeper than a message may be: a batch of one, with at most one size that follows from
 * the values.
 */
function inputJson(input: PortSpec, value: unknown, batched: boolean): object {
  const data = Array.isArray(value) ? (value as readonly unknown[]).flat(Infinity) : [value];
  const known = input.shape.map((size, axis) => (batched && axis === 0 && size === -1 ? 1 : size));
  const unknown = known.lastIndexOf(-1);
  const shape = known.map((size) => (size === -1 ? 1 : size));
  if (unknown >= 0) shape[unknown] = data.length / shape.reduce((product, size) => product * size, 1);
  return { name: input.name, datatype: input.datatype, shape, data };
}

/**
 * Converts a body of this extension into a request of the protocol. Its keys are inputs and all others are parameters; those inside
 * `parameters` count as if they were given there. Of parameters with one name the last one counts.
 */
function toInfer(object: object, { inputs, batching }: ModelDescription): object {
  const batched = batching.maxBatchSize > 0;
  const ports = new Map(inputs.map((input) => [input.name, input]));
  const given: object[] = [];
  const seen = new Set<string>();
  // Replaced parameters of the same name count as well, as in JSON with duplicate keys.
  const parameters: [string, unknown][] = [];
  const take = (key: string, value: unknown): void => {
    const port = ports.get(key);
    if (port === undefined) {
      parameters.push([key, value]);
      return;
    }
    if (seen.has(key)) read.refuseField(key, "given once, beside 'parameters' or inside them");
    seen.add(key);
    given.push(inputJson(port, value, batched));
  };
  for (const [key, value] of Object.entries(object)) {
    if (key === "parameters") {
      for (const entry of Object.entries(read.objectAt(value, key))) take(...entry);
    } else if (key !== "id" || ports.has(key)) {
      take(key, value);
    }
  }
  // The limit of all messages, checked before the message is written and parsed again.
  if (parameters.length > mostParameters) {
    read.refuseField("parameters", `an object of at most ${mostParameters} parameters`);
  }
  const id = read.own(object, "id");
  return {
    ...(id === undefined ? {} : { id }),
    parameters: Object.fromEntries(parameters),
    inputs: given,
  };
}

/** The JSON of an answer, in pieces: one text, or a list of them. */
function* replyPieces(
  { modelName, modelVersion, id, outputs }: InferReplyMessage,
  output: PortSpec,
): Generator<string> {
  const fields = new Map([
    ["id", id],
    ["model_name", modelName],
    ["model_version", modelVersion],
  ]);
  // An output may have any name.
  fields.delete(output.name);
  yield `${JSON.stringify(Object.fromEntries(fields)).slice(0, -1)},${JSON.stringify(output.name)}:`;
  const tensor = outputs.find(({ name }) => name === output.name);
  const words = tensor ? bytesElements(plainTensor(tensor)) : [];
  if (words.length !== 1) yield "[";
  for (const [index, word] of words.entries()) {
    yield index === 0 ? '"' : ',"';
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    for (let from = 0; from < word.byteLength; from += bytesInPiece) {
      const stream = from + bytesInPiece < word.byteLength;
      yield JSON.stringify(decoder.decode(word.subarray(from, from + bytesInPiece), { stream })).slice(1, -1);
    }
    yield '"';
  }
  yield words.length === 1 ? "}" : "]}";
}

function* eventPieces(answer: InferReplyMessage, output: PortSpec): Generator<string> {
  yield "data: ";
  yield* replyPieces(answer, output);
  yield "\n\n";
}

/** Server-sent events, one for each answer. A failure after the first answer is an event, too: the status has gone out. */
async function* events(
  incoming: IncomingRequest,
  answers: AsyncIterable<InferReplyMessage>,
  output: PortSpec,
  pause: () => Promise<void>,
): AsyncIterable<Uint8Array> {
  try {
    for await (const answer of answers) {
      yield* await encodedInSteps(eventPieces(answer, output), pause);
    }
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "execute", "generating");
    const { bytes } = writeWireError(error, incoming.call.id);
    yield encoder.encode(`data: ${new TextDecoder().decode(bytes)}\n\n`);
  }
}

async function* once(answer: InferReplyMessage): AsyncIterable<InferReplyMessage> {
  yield answer;
}

/**
 * Triton's generate extension: `POST v2/models/{m}[/versions/{v}]/generate` and `/generate_stream`. Fields of the body named like an input
 * are inputs, all others are parameters. The rest is an ordinary inference.
 */
export async function generate(
  api: Api,
  route: ModelAddress & { readonly kind: "generate" | "generate-stream" },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const arrived = arrivedCall(api, incoming);
  const { description } = await findModel(api, route.model, route.version, arrived);
  const output = textOutput(description);
  const stream = route.kind === "generate-stream";
  const {
    clock,
    bodies: { limits },
  } = api;
  const maxBytes = Math.min(maxGenerateBytes, limits.maxJsonBytes);
  const pause = (): Promise<void> => turnWhileWanted(clock, incoming.call.abort, "decode");
  const message = {
    byteLength: maxBytes,
    stream,
    async read() {
      const bytes = await readBody(incoming.request.body, { maxBytes });
      const object = read.objectAt(parseFields(bytes), "the request");
      const long = bytes.byteLength > atOnceBytes;
      if (long) await pause();
      const json = encoder.encode(exactJson(toInfer(object, description)));
      if (long) await pause();
      return readInferRequestInSteps(json, undefined, limits, pause);
    },
  };
  const request = { ...incoming.request, message };
  const response = await infer(api, { ...route, kind: "infer" }, { ...incoming, request }, arrived);
  const answers = response.messages ?? (response.message && once(response.message));
  if (!answers) return response;
  if (stream) {
    return {
      status: 200,
      headers: { ...response.headers, "content-type": "text/event-stream", "cache-control": "no-store" },
      body: { kind: "stream", byteLength: undefined, read: () => events(incoming, answers, output, pause) },
    };
  }
  for await (const answer of answers) {
    const parts = await encodedInSteps(replyPieces(answer, output), pause);
    const headers = { "content-type": jsonType, ...response.headers };
    return { status: 200, headers, body: { kind: "parts", parts } };
  }
  return response;
}
