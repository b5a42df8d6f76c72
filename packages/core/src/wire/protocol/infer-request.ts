import { allSteps, inSteps, type Writable } from "../../words/base/index.ts";
import { exactJson, type Parameters } from "../../words/json/index.ts";
import type { KnownHeads } from "./known-heads.ts";
import { defaultWireLimits, type WireLimits } from "./limits.ts";
import { layOut, type Message, takeApart, takeHead } from "./message.ts";
import { binaryOutputsParameter } from "./names.ts";
import { flagParameter, readParameters, wholeParameter } from "./parameters.ts";
import { arrayAt, objectAt, own, refuseField } from "./read-json.ts";
import { readTensors, sharedPartOf, tensorsInSteps, type TensorsWork } from "./wire-tensor.ts";
import type { InferRequestMessage, RequestedOutput } from "./infer-messages.ts";

/** Writes a request with all inputs as binary data, or all as JSON (for servers without the binary extension). */
export function writeInferRequest(message: InferRequestMessage, form: "binary" | "json"): Message {
  const fields: string[] = [];
  if (message.id !== undefined) fields.push(`"id":${JSON.stringify(message.id)}`);
  const parameters: Record<string, Parameters[string]> = { ...message.parameters };
  if (message.binaryOutputs) parameters[binaryOutputsParameter] = true;
  if (Object.keys(parameters).length > 0) fields.push(`"parameters":${exactJson(parameters)}`);
  if (message.outputs) {
    const outputs = message.outputs.map(({ name, binary, classification }) => {
      const own: Record<string, number | boolean> = {};
      if (binary !== undefined) own["binary_data"] = binary;
      if (classification) own["classification"] = classification;
      return Object.keys(own).length > 0 ? { name, parameters: own } : { name };
    });
    fields.push(`"outputs":${JSON.stringify(outputs)}`);
  }
  return layOut({ fields, list: "inputs", tensors: message.inputs, binary: () => form === "binary" });
}

function readRequested(value: unknown, where: string, limits: WireLimits): RequestedOutput {
  const entry = objectAt(value, where);
  const name = own(entry, "name");
  if (typeof name !== "string" || name === "" || name.length > limits.maxNameLength) {
    refuseField(`${where}.name`, `text of 1 to ${limits.maxNameLength} characters`);
  }
  const parameters = readParameters(own(entry, "parameters"), `${where}.parameters`, limits);
  const binary = flagParameter(parameters, "binary_data", where);
  const classification = wholeParameter(parameters, "classification", where);
  const shared = sharedPartOf(parameters, where);
  // Assigned one by one, since this is done for every small request, and spreading costs more than all the rest.
  const output: Writable<RequestedOutput> = { name };
  if (shared !== undefined) output.shared = shared;
  if (binary !== undefined) output.binary = binary;
  if (classification !== undefined) output.classification = classification;
  return output;
}

/** An output that is named twice is given once, in its first form: so does Triton. */
export function eachOnce(outputs: readonly RequestedOutput[]): readonly RequestedOutput[] {
  const seen = new Set<string>();
  return outputs.length < 2 ? outputs : outputs.filter(({ name }) => seen.size < seen.add(name).size);
}

/** A request whose JSON tensors have still to be read. */
interface RequestWork {
  /** Without its inputs. */
  readonly message: Writable<InferRequestMessage>;
  readonly inputs: TensorsWork;
}

function* requestWork(
  body: Uint8Array,
  headerLength: number | undefined,
  limits: WireLimits,
): Generator<void, InferRequestMessage> {
  const { json, binary } = yield* takeApart(body, headerLength, limits);
  return yield* furtherInputs(workOf(json, binary, limits));
}

function workOf(
  json: object,
  binary: Uint8Array | { readonly byteLength: number },
  limits: WireLimits,
): RequestWork {
  const id = own(json, "id");
  if (id !== undefined && (typeof id !== "string" || id.length > limits.maxNameLength)) {
    refuseField("id", `text of at most ${limits.maxNameLength} characters`);
  }
  const parameters = readParameters(own(json, "parameters"), "parameters", limits);
  const asked = own(json, "outputs");
  const outputs =
    asked === undefined
      ? undefined
      : eachOnce(
          arrayAt(asked, "outputs", limits.maxTensors).map((entry, index) =>
            readRequested(entry, `outputs[${index}]`, limits),
          ),
        );
  const message: Writable<InferRequestMessage> = {
    parameters,
    inputs: [],
    binaryOutputs: flagParameter(parameters, binaryOutputsParameter, "parameters") ?? false,
  };
  if (id !== undefined) message.id = id;
  // An empty list means all outputs, as in Triton.
  if (outputs !== undefined && outputs.length > 0) message.outputs = outputs;
  return { message, inputs: readTensors(own(json, "inputs"), "inputs", binary, limits) };
}

/**
 * Reads a request in JSON or binary form. Inputs are views on `body`. Throws `invalid-input`, `body-mismatch` or
 * `body-too-large`, and no other error, for any bytes.
 *
 * @param headerLength `Inference-Header-Content-Length`; undefined when the whole body is JSON. A raw request (0) is
 *   made into a tensor by the code that knows the model.
 */
export function readInferRequest(
  body: Uint8Array,
  headerLength: number | undefined,
  limits: WireLimits = defaultWireLimits,
): InferRequestMessage {
  return allSteps(requestWork(body, headerLength, limits));
}

/**
 * The same as `readInferRequest`, with a `pause` after each two milliseconds or so of reading JSON. With nothing to
 * pause for the message is there at once.
 */
export function readInferRequestInSteps(
  body: Uint8Array,
  headerLength: number | undefined,
  limits: WireLimits,
  pause: () => Promise<void>,
  heads?: KnownHeads,
): InferRequestMessage | Promise<InferRequestMessage> {
  const known = headerLength === undefined ? undefined : heads?.find(body, headerLength);
  if (known) return known;
  const request = inSteps(requestWork(body, headerLength, limits), pause);
  if (!(request instanceof Promise) && headerLength !== undefined) heads?.learn(body, headerLength, request);
  return request;
}

/**
 * The same of a request in binary form of which only the JSON is here and `awaitedBytes` are on their way: inputs have
 * `awaitedBytes` for what is.
 */
export function readInferHeadInSteps(
  head: Uint8Array,
  awaitedBytes: number,
  limits: WireLimits,
  pause: () => Promise<void>,
  heads: KnownHeads,
): InferRequestMessage | Promise<InferRequestMessage> {
  const known = heads.find(head, head.byteLength, awaitedBytes);
  if (known) return known;
  const request = inSteps(headWork(head, awaitedBytes, limits), pause);
  if (!(request instanceof Promise)) heads.learn(head, head.byteLength, request, awaitedBytes);
  return request;
}

function* headWork(
  head: Uint8Array,
  awaitedBytes: number,
  limits: WireLimits,
): Generator<void, InferRequestMessage> {
  const json = yield* takeHead(head, limits);
  return yield* furtherInputs(workOf(json, { byteLength: awaitedBytes }, limits));
}

function* furtherInputs({ message, inputs }: RequestWork): Generator<void, InferRequestMessage> {
  message.inputs = yield* tensorsInSteps(inputs);
  return message;
}
