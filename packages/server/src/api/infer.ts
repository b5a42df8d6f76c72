import {
  agreementHeader,
  type Call,
  callFromHeaders,
  checkCall,
  customParameters,
  digestHeader,
  endCut,
  type InferenceRequest,
  type InferRequestMessage,
  LongshoreError,
  type ModelKnowledge,
  readSchedule,
  readSequence,
  type Route,
  type Segment,
  type SequencePosition,
  splitState,
  startCut,
  type Tensors,
  unpackTensors,
  type WireResponse,
} from "@longshore/core";
import { holdsCredential } from "../identify/index.ts";
import { checkInputs } from "./check-inputs.ts";
import { type InferenceEvents, inferenceEvents } from "./exchange-events.ts";
import { findModel, findVariant } from "./find-model.ts";
import { Holding } from "./holding.ts";
import { inferAnswers } from "./infer-stream.ts";
import type { Api, Asked } from "./parts.ts";
import { receive } from "./receive.ts";
import { checkRequested, inferReply } from "./respond.ts";
import { readShared } from "./shared-memory.ts";

type InferRoute = Route & { kind: "infer" };

/** The call as its headers state it. Refuses one that has been here before. */
function arrivedCall(api: Api, asked: Asked): Call {
  const call = callFromHeaders(asked.request.headers, asked.call, api.clock.nowMs(), api.unstatedRules);
  const own = api.endpoint.info.id;
  if (call.path.includes(own)) {
    throw new LongshoreError(
      "rejected",
      "admission",
      "the request has been here before; it must not go in circles",
    );
  }
  return call;
}

function segmentOf(asked: Asked, route: InferRoute, knowledge: ModelKnowledge): Segment {
  const { name, version, digest } = knowledge.description;
  const planned = asked.request.headers[digestHeader];
  if (planned !== undefined && planned !== digest) {
    throw new LongshoreError(
      "unknown-version",
      "admission",
      `version ${version} of model '${name}' has another digest here than the sender planned with`,
    );
  }
  const variant = findVariant(knowledge, route.variant).name;
  const [from, to] = [route.from ?? startCut, route.to ?? endCut];
  // Where an alias leads this request is decided once all of it is known.
  const open = knowledge.alias === true && route.version === undefined && planned === undefined;
  return { model: name, version: open ? "" : version, digest: open ? "" : digest, variant, from, to };
}

/** How far another variant may stand in for the one of the segment; a variant that was asked for by name is kept to. */
function leastAgreementOf(asked: Asked, route: InferRoute): number | undefined {
  const value = asked.request.headers[agreementHeader];
  if (value === undefined || route.variant !== undefined) return undefined;
  if (/^(0|1|0?\.[0-9]{1,9}|1\.0{1,9})$/.test(value)) return Number(value);
  throw new LongshoreError("invalid-input", "admission", `header ${agreementHeader} must be from 0 to 1`);
}

function sequenceOf(message: InferRequestMessage, state: Tensors | undefined): SequencePosition | undefined {
  const told = readSequence(message.parameters);
  if (!told) {
    if (state) throw new LongshoreError("invalid-input", "decode", "state came without a sequence_id");
    return undefined;
  }
  return { ...told, ...(state ? { state } : {}) };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Parts that a request may have are assigned one by one: spreading them costs every small request more than they do. */
function toRequest(
  message: InferRequestMessage,
  segment: Segment,
  knowledge: ModelKnowledge,
  tensors: Tensors,
): Writable<InferenceRequest> {
  const { plain, state } = splitState(tensors);
  checkInputs(segment, knowledge, plain);
  checkRequested(message, segment, knowledge.description);
  const request: Writable<InferenceRequest> = { segment, inputs: plain, codecs: {} };
  const sequence = sequenceOf(message, state);
  if (sequence) request.sequence = sequence;
  if (message.outputs) request.outputs = message.outputs.map((output) => output.name);
  return request;
}

/** What of the request is for the steps of the model: parameters without a meaning here, and headers that are passed on. */
function parametersOf(
  { forwardHeaders }: Api,
  { request }: Asked,
  message: InferRequestMessage,
): InferenceRequest["parameters"] {
  if (!forwardHeaders && isEmpty(message.parameters)) return undefined;
  const forwarded = forwardHeaders
    ? Object.entries(request.headers).filter(([name]) => forwardHeaders.test(name) && !holdsCredential(name))
    : [];
  const parameters = { ...Object.fromEntries(forwarded), ...customParameters(message.parameters) };
  return isEmpty(parameters) ? undefined : parameters;
}

function isEmpty(object: object): boolean {
  return Object.keys(object).length === 0;
}

/**
 * `POST .../infer`. Everything that headers and path can tell is checked before the body is read: rights, drain,
 * deadline, rules, model, version, variant, digest, announced length.
 */
export async function infer(api: Api, route: InferRoute, asked: Asked): Promise<WireResponse> {
  const startedMs = api.clock.nowMs();
  const held = new Holding();
  let events: InferenceEvents | undefined;
  // Answers that go on after this tell of their own end.
  let streams = false;
  try {
    held.keep(api.life.enter());
    // What is asked about a model here has not been here yet: an offloader gives no answer to a question that comes back.
    const arrived = arrivedCall(api, asked);
    const knowledge = await findModel(api, route.model, route.version, arrived);
    const call = { ...arrived, path: [...arrived.path, api.endpoint.info.id] };
    const segment = segmentOf(asked, route, knowledge);
    const { description } = knowledge;
    events = inferenceEvents(api, asked.request, description, call, startedMs);
    const least = leastAgreementOf(asked, route);
    const pass = held.keep(api.endpoint.admit?.(segment, call, least));
    const askedMs = api.clock.nowMs();
    const received = held.keep(await receive(api, asked, description));
    const sharing = readShared(api, asked, received.message);
    const { message, held: shared } = sharing instanceof Promise ? await sharing : sharing;
    held.keep(shared);
    const bodyMs = api.clock.nowMs();
    events.stage("wait", "body", askedMs);
    checkCall(call, api.clock, "admission");
    const unpacked = unpackTensors(message.inputs, api.codecs, api.limits, call);
    const tensors = unpacked instanceof Promise ? await unpacked : unpacked;
    events.inputs(tensors);
    events.stage("decode", "inputs", bodyMs);
    const request = toRequest(message, segment, knowledge, tensors);
    const parameters = parametersOf(api, asked, message);
    if (parameters) request.parameters = parameters;
    if (pass) request.pass = pass;
    if (least !== undefined) request.leastAgreementRatio = least;
    const scheduled = isEmpty(message.parameters) ? call : { ...call, ...readSchedule(message.parameters) };
    if (asked.request.message?.stream === true && description.decoupled === true) {
      streams = true;
      const several = { message, description, request, call: scheduled, bodyMs, events };
      return await inferAnswers(api, asked, { ...several, held: held.handOver() });
    }
    const forgets = api.endpoint.forgetsInputs === true && !request.sequence;
    if (forgets) request.inputs = received.give(tensors);
    const response = await api.endpoint.infer(request, scheduled);
    const answeredMs = api.clock.nowMs();
    if (forgets) received.recycle();
    const { version } = response.account.segment;
    const answered = knowledge.alias === true && version !== "" ? { ...description, version } : description;
    // What was done before the body was asked for, reading a model not least, is no time of the link either.
    const ownMs = askedMs - startedMs;
    const reply = await inferReply(api, asked, message, answered, response, call, bodyMs - ownMs);
    events.stage("encode", "outputs", answeredMs);
    events.answer(response, reply);
    events.answered();
    return reply;
  } catch (thrown) {
    if (!streams) events?.failed(thrown);
    throw thrown;
  } finally {
    held[Symbol.dispose]();
  }
}
