import {
  type Call,
  type InferenceRequest,
  type IncomingTensor,
  LongshoreError,
  type ModelKnowledge,
  type Segment,
  type SequencePosition,
  type Tensor,
  type Tensors,
  type WireForm,
} from "@longshore/core";
import {
  accountHeader,
  binaryOutputsParameter,
  checkCall,
  customParameters,
  type InferRequestMessage,
  isForeignDigest,
  plainTensor,
  readSequence,
  scheduledCall,
  splitState,
  unpackTensors,
  untilEnded,
  type Writable,
} from "@longshore/core/internal";
import { holdsCredential } from "../../identify/index.ts";
import type { Exchanging, IncomingRequest, Served } from "../parts.ts";
import { readShared } from "../shared-memory.ts";
import { checkWireInputs } from "./check-inputs.ts";
import { checkJsonForms, checkRequested } from "./check-outputs.ts";
import type { Inference } from "./inference.ts";
import { admitInference, planMessage } from "./plan.ts";
import { type Received, receive } from "./receive.ts";

/** An inference, read as far as running or forwarding it requires. */
export interface ParsedInference {
  readonly message: InferRequestMessage;
  readonly request: Writable<InferenceRequest>;
  /** Includes the schedule that the message requests. */
  readonly call: Call;
  /** The received part of the body, with its memory. */
  readonly received: Received;
  /** The unpacked inputs; empty while they are still arriving. */
  readonly tensors: Tensors;
  /** When that part of the body had been read. */
  readonly bodyMs: number;
}

function sequenceOf(message: InferRequestMessage, state: Tensors | undefined): SequencePosition | undefined {
  const told = readSequence(message.parameters);
  if (!told) {
    if (state) throw new LongshoreError("invalid-input", "decode", "state came without a sequence_id");
    return undefined;
  }
  return { ...told, ...(state ? { state } : {}) };
}

/** The number of best classes requested from a model of a foreign server: its labels are not here. */
function classesOf(
  outputs: NonNullable<InferRequestMessage["outputs"]>,
  { description: { digest } }: ModelKnowledge,
): InferenceRequest["classes"] {
  if (!outputs.some(({ classification }) => classification) || !isForeignDigest(digest)) return undefined;
  return new Map(outputs.map(({ name, classification = 0 }) => [name, classification]));
}

/** Optional fields are assigned one by one: spreading them is expensive for small requests. */
function toRequest(
  message: InferRequestMessage,
  segment: Segment,
  knowledge: ModelKnowledge,
  plain: InferenceRequest["inputs"],
  state: Tensors | undefined,
): Writable<InferenceRequest> {
  checkWireInputs(segment, knowledge, plain);
  checkRequested(message, segment, knowledge.description);
  const request: Writable<InferenceRequest> = { segment, inputs: plain, codecs: {} };
  const sequence = sequenceOf(message, state);
  if (sequence) request.sequence = sequence;
  if (message.outputs) {
    request.outputs = message.outputs.map((output) => output.name);
    const classes = classesOf(message.outputs, knowledge);
    if (classes) request.classes = classes;
  }
  return request;
}

/** The request's fields for the steps of the model: parameters without a meaning here, and forwarded headers. */
function parametersOf(
  { access: { forwardHeaders } }: Exchanging,
  { request }: IncomingRequest,
  message: InferRequestMessage,
): InferenceRequest["parameters"] {
  if (!forwardHeaders && !saysMore(message)) return undefined;
  const forwarded = forwardHeaders
    ? Object.entries(request.headers).filter(([name]) => forwardHeaders.test(name) && !holdsCredential(name))
    : [];
  const parameters = { ...Object.fromEntries(forwarded), ...customParameters(message.parameters) };
  return isEmpty(parameters) ? undefined : parameters;
}

function isEmpty(object: object): boolean {
  return Object.keys(object).length === 0;
}

/** Whether parameters say more than the form of the outputs. */
function saysMore({ parameters }: InferRequestMessage): boolean {
  for (const name in parameters) if (name !== binaryOutputsParameter) return true;
  return false;
}

/** Inputs that are still arriving. The first read of one reads them all. */
export function arrivingInputs(
  { inputs }: InferRequestMessage,
  tensors: () => Promise<Tensors>,
): InferenceRequest["inputs"] {
  const arriving = new Map<string, IncomingTensor>();
  for (const { name, datatype, shape, bytes, awaitedBytes } of inputs) {
    arriving.set(name, {
      spec: { name, datatype, shape },
      byteLength: awaitedBytes ?? bytes.byteLength,
      // Every input of the message became a tensor under its own name.
      read: async () => (await tensors()).get(name) as Awaited<ReturnType<IncomingTensor["read"]>>,
    });
  }
  return arriving;
}

const noTensors: Tensors = new Map();

function wholeMessage(received: Received): InferRequestMessage | Promise<InferRequestMessage> {
  return received.rest?.() ?? received.message;
}

/** Awaits arriving inputs until the deadline. After that, their memory is released as soon as no more bytes arrive. */
async function inTime(receiving: Promise<Received>, call: Call, { clock }: Served): Promise<Received> {
  if (call.deadlineMs === Infinity) return receiving;
  try {
    return await untilEnded(receiving, call, clock, "admission");
  } catch (thrown) {
    void receiving.then(
      (late) => late[Symbol.dispose](),
      () => undefined,
    );
    throw thrown;
  }
}

/** The tensors of a message without coded ones. */
function plainTensors({ inputs }: InferRequestMessage): Tensors {
  const tensors = new Map<string, Tensor>();
  for (const input of inputs) tensors.set(input.name, plainTensor(input));
  return tensors;
}

/** Unpacks the tensors of a message. */
function unpack(
  { tensors: { codecs }, bodies: { limits } }: Exchanging,
  { inputs }: InferRequestMessage,
  call: Call,
): Tensors | Promise<Tensors> {
  return unpackTensors(inputs, codecs, limits, call);
}

/**
 * The rest of the first two steps: reads the body, or only its JSON if the request can be forwarded, decides which of the two it is, and
 * builds the endpoint's request. Synchronous for a request that is here and goes on as it came.
 */
export function readQuestion(inference: Inference): ParsedInference | Promise<ParsedInference> {
  const { api, incoming, head, plan } = inference;
  const receiving = receive(api, incoming, head.knowledge.description, plan.sentOn);
  if (!(receiving instanceof Promise)) return receivedQuestion(inference, receiving);
  return inTime(receiving, head.call, api).then((received) => receivedQuestion(inference, received));
}

function receivedQuestion(
  inference: Inference,
  received: Received,
): ParsedInference | Promise<ParsedInference> {
  const { incoming, head, plan, held } = inference;
  held.keep(received);
  const wire = plan.sentOn ? planMessage(incoming, received, head.call) : undefined;
  return wire ? forwardedQuestion(inference, received, wire) : ownQuestion(inference, received);
}

/** A request that goes on as it came. Its tensors are neither coded nor shared. */
function forwardedQuestion(inference: Inference, received: Received, wire: WireForm): ParsedInference {
  const { api, head, plan } = inference;
  const { message } = received;
  const bodyMs = bodyRead(inference);
  const tensors = received.rest ? noTensors : plainTensors(message);
  const inputs = received.rest ? arrivingOf(api, received, head.call) : tensors;
  const question = questionOf(inference, { message, received, tensors, bodyMs }, inputs, undefined);
  question.request.wire = wire;
  if (plan.pass) question.request.pass = plan.pass;
  return question;
}

function arrivingOf(api: Exchanging, received: Received, call: Call): InferenceRequest["inputs"] {
  return arrivingInputs(received.message, async () => unpack(api, await wholeMessage(received), call));
}

/** A request that this server runs or writes anew: all of it is read. */
async function ownQuestion(inference: Inference, received: Received): Promise<ParsedInference> {
  const { api, incoming, head, plan, held } = inference;
  const { call, knowledge, segment } = head;
  const pass = plan.sentOn ? admitInference(api, head, plan.leastAgreementRatio, held) : plan.pass;
  const reading = wholeMessage(received);
  const whole =
    reading instanceof Promise ? await untilEnded(reading, call, api.clock, "admission") : reading;
  const sharing = readShared(api, incoming, whole);
  const { message, held: shared } = sharing instanceof Promise ? await sharing : sharing;
  held.keep(shared);
  const bodyMs = bodyRead(inference);
  const unpacked = unpack(api, message, call);
  const tensors = unpacked instanceof Promise ? await unpacked : unpacked;
  const { plain, state } = splitState(tensors);
  const question = questionOf(inference, { message, received, tensors, bodyMs }, plain, state);
  checkJsonForms(message, segment, knowledge.description);
  if (pass) question.request.pass = pass;
  return question;
}

/** The body, or as much of it as is needed, was read. Returns the time. */
function bodyRead({ api, head, events, askedMs }: Inference): number {
  const bodyMs = api.clock.nowMs();
  events.stage("wait", "body", askedMs);
  checkCall(head.call, api.clock, "admission");
  return bodyMs;
}

/** The endpoint's request, without what only one way of answering adds. */
function questionOf(
  { api, incoming, head, plan, events }: Inference,
  read: Omit<ParsedInference, "request" | "call">,
  plain: InferenceRequest["inputs"],
  state: Tensors | undefined,
): ParsedInference {
  const { call, knowledge, segment } = head;
  const { message, received, tensors, bodyMs } = read;
  events.inputs(plain, state);
  events.stage("decode", "inputs", bodyMs);
  const request = toRequest(message, segment, knowledge, plain, state);
  const parameters = parametersOf(api, incoming, message);
  if (parameters) request.parameters = parameters;
  if (incoming.request.headers[accountHeader] === "because") request.explained = true;
  if (plan.leastAgreementRatio !== undefined) request.leastAgreementRatio = plan.leastAgreementRatio;
  const scheduled = saysMore(message) ? scheduledCall(call, message.parameters) : call;
  return { message, request, call: scheduled, received, tensors, bodyMs };
}
