import {
  type Call,
  endCut,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type ModelKnowledge,
  type Segment,
  type SequencePosition,
  startCut,
  type Tensors,
  type WireResponse,
} from "@longshore/core";
import {
  accountHeader,
  agreementHeader,
  callFromHeaders,
  canBegin,
  checkCall,
  customParameters,
  digestHeader,
  type InferRequestMessage,
  isForeignDigest,
  ownCall,
  readSchedule,
  readSequence,
  type Route,
  splitState,
  unpackTensors,
  untilEnded,
  watched,
  type Writable,
} from "@longshore/core/internal";
import { Holding } from "../body/index.ts";
import { holdsCredential } from "../identify/index.ts";
import { checkInputs } from "./check-inputs.ts";
import { type InferenceEvents, inferenceEvents } from "../telemetry/index.ts";
import { findModel, findVariant } from "./find-model.ts";
import { type Anew, inferAnswers, takesSeveral } from "./infer-stream.ts";
import type { Api, Asked } from "./parts.ts";
import { type Received, receive } from "./receive.ts";
import { checkJsonForms, checkRequested, inferReply } from "./respond.ts";
import { arrivingInputs, formToSendOn, isAnsweredAnew, mayBeSentOn, replyAsItCame } from "./sending-on.ts";
import { readShared } from "./shared-memory.ts";

type InferRoute = Route & { kind: "infer" };

/** The call as its headers state it. Refuses one that has been here before. */
export function arrivedCall(api: Api, asked: Asked): Call {
  const call = callFromHeaders(asked.request.headers, asked.call, api.clock.nowMs(), api.unstatedRules);
  const own = api.endpoint.info.id;
  if (call.path.includes(own)) {
    throw new LongshoreError(
      "rejected",
      "admission",
      `the request has been at ${own} before; it must not go in circles (of two servers of that name, one needs another: --id)`,
    );
  }
  return call;
}

/** The digest that the sender planned with, if any. Throws `unknown-version` when there is another content here. */
export function checkPlannedDigest(
  { request }: Asked,
  { description: { name, version, digest } }: ModelKnowledge,
): string | undefined {
  const planned = request.headers[digestHeader];
  if (planned === undefined || planned === digest) return planned;
  throw new LongshoreError(
    "unknown-version",
    "admission",
    `version ${version} of model '${name}' has another digest here than the sender planned with`,
  );
}

function segmentOf(asked: Asked, route: InferRoute, knowledge: ModelKnowledge): Segment {
  const { name, version, digest } = knowledge.description;
  const planned = checkPlannedDigest(asked, knowledge);
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

/** The best classes that are wanted of a model that a server has which is not ours: nobody here has its labels. */
function classesOf(
  outputs: NonNullable<InferRequestMessage["outputs"]>,
  { description: { digest } }: ModelKnowledge,
): InferenceRequest["classes"] {
  if (!outputs.some(({ classification }) => classification) || !isForeignDigest(digest)) return undefined;
  return new Map(outputs.map(({ name, classification = 0 }) => [name, classification]));
}

/** Parts that a request may have are assigned one by one: spreading them costs every small request more than they do. */
function toRequest(
  message: InferRequestMessage,
  segment: Segment,
  knowledge: ModelKnowledge,
  plain: InferenceRequest["inputs"],
  state: Tensors | undefined,
): Writable<InferenceRequest> {
  checkInputs(segment, knowledge, plain);
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

const noTensors: Tensors = new Map();

function wholeMessage(received: Received): InferRequestMessage | Promise<InferRequestMessage> {
  return received.rest?.() ?? received.message;
}

/** What is arriving, unless the deadline passes before it is here: then it is given back as soon as nothing more of it comes. */
async function inTime(receiving: Promise<Received>, call: Call, { clock }: Api): Promise<Received> {
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

/** The tensors of a message whose rest is read now. */
async function tensorsOf(api: Api, received: Received, call: Call): Promise<Tensors> {
  const { inputs } = await wholeMessage(received);
  return unpackTensors(inputs, api.codecs, api.limits, call);
}

/** The same reply; what is held is given back when all of it was sent, or nobody reads it any more. */
function untilSent(reply: WireResponse, { abort }: Call, held: Disposable): WireResponse {
  const { body } = reply;
  if (body.kind !== "stream") return reply;
  const over = (): void => {
    abort.removeEventListener("abort", over);
    held[Symbol.dispose]();
  };
  abort.addEventListener("abort", over, { once: true });
  return { ...reply, body: watched(body, { over }) };
}

/** A request that was asked, by whom, and what was known of its model. */
interface AskedBefore {
  readonly request: InferenceRequest;
  readonly before: ModelKnowledge;
  readonly call: Call;
  /** Its inputs were given away. */
  readonly given: boolean;
}

/**
 * The request for what has taken the place of the content that it was meant for and that is nowhere any more; undefined where nothing
 * has, it named that content, or its inputs cannot be had again.
 */
async function requestAnew(
  api: Api,
  route: InferRoute,
  asked: Asked,
  { request, before, call, given }: AskedBefore,
  thrown: unknown,
): Promise<Anew | undefined> {
  if (before.alias === true || asked.request.headers[digestHeader] !== undefined) return undefined;
  if (!LongshoreError.is(thrown)) return undefined;
  const { reason, stage } = thrown;
  if (reason !== "unknown-version" && reason !== "unknown-model") return undefined;
  // Before all is resolved nobody looks at inputs.
  if ((given && stage !== "resolve") || (request.wire && !canBegin(request.wire.body))) return undefined;
  const find = async (): Promise<ModelKnowledge> => findModel(api, route.model, route.version, call);
  // Where nothing is there now, the caller is told what the request failed for.
  const knowledge = await find().catch(() => undefined);
  if (!knowledge || knowledge.description.digest === before.description.digest) return undefined;
  const segment = segmentOf(asked, route, knowledge);
  checkInputs(segment, knowledge, request.inputs);
  const { pass: _granted, ...rest } = request;
  return { request: { ...rest, segment }, knowledge };
}

/**
 * `POST .../infer`. Everything that headers and path can tell is checked before the body is read: rights, drain,
 * deadline, rules, model, version, variant, digest, announced length.
 *
 * @param stated The call as its headers state it, where they were read already: its deadline counts from then.
 */
export async function infer(api: Api, route: InferRoute, asked: Asked, stated?: Call): Promise<WireResponse> {
  const startedMs = api.clock.nowMs();
  const held = new Holding();
  let events: InferenceEvents | undefined;
  // Answers that go on after this tell of their own end.
  let streams = false;
  try {
    held.keep(api.life.enter());
    // What is asked about a model here has not been here yet: an offloader gives no answer to a question that comes back.
    const arrived = stated ?? arrivedCall(api, asked);
    const finding = findModel(api, route.model, route.version, arrived);
    const knowledge = finding instanceof Promise ? await finding : finding;
    const call = ownCall(arrived);
    call.path = [...arrived.path, api.endpoint.info.id];
    const segment = segmentOf(asked, route, knowledge);
    const { description } = knowledge;
    events = inferenceEvents(api, asked.request, description, call, startedMs);
    const least = leastAgreementOf(asked, route);
    const severalTaken = takesSeveral(asked.request);
    const sentOn = knowledge.alias !== true && mayBeSentOn(api, asked, description);
    // What may be sent on is judged by who does it, when more of it is known.
    const admitted = sentOn ? undefined : held.keep(api.endpoint.capabilities?.admit?.(segment, call, least));
    const askedMs = api.clock.nowMs();
    const receiving = receive(api, asked, description, sentOn);
    const received = held.keep(receiving instanceof Promise ? await inTime(receiving, call, api) : receiving);
    const wire = sentOn ? formToSendOn(asked, received, call) : undefined;
    const pass =
      sentOn && !wire ? held.keep(api.endpoint.capabilities?.admit?.(segment, call, least)) : admitted;
    const reading = wire ? received.message : wholeMessage(received);
    const whole =
      reading instanceof Promise ? await untilEnded(reading, call, api.clock, "admission") : reading;
    const sharing = readShared(api, asked, whole);
    const { message, held: shared } = sharing instanceof Promise ? await sharing : sharing;
    held.keep(shared);
    const bodyMs = api.clock.nowMs();
    events.stage("wait", "body", askedMs);
    checkCall(call, api.clock, "admission");
    const arriving = wire && received.rest ? () => tensorsOf(api, received, call) : undefined;
    const unpacked = arriving ? noTensors : unpackTensors(message.inputs, api.codecs, api.limits, call);
    const tensors = unpacked instanceof Promise ? await unpacked : unpacked;
    const { plain, state } = arriving
      ? { plain: arrivingInputs(message, arriving), state: undefined }
      : splitState(tensors);
    events.inputs(plain, state);
    events.stage("decode", "inputs", bodyMs);
    const request = toRequest(message, segment, knowledge, plain, state);
    if (wire) request.wire = wire;
    else checkJsonForms(message, segment, description);
    const parameters = parametersOf(api, asked, message);
    if (parameters) request.parameters = parameters;
    if (asked.request.headers[accountHeader] === "because") request.explained = true;
    if (pass) request.pass = pass;
    if (least !== undefined) request.leastAgreementRatio = least;
    const scheduled = isEmpty(message.parameters) ? call : { ...call, ...readSchedule(message.parameters) };
    if (severalTaken && description.decoupled === true) {
      streams = true;
      const several = { message, description, request, call: scheduled, bodyMs, events };
      const again = { request, before: knowledge, call: arrived, given: false };
      const anew = (thrown: unknown): Promise<Anew | undefined> =>
        requestAnew(api, route, asked, again, thrown);
      return await inferAnswers(api, asked, { ...several, anew, held: held.handOver() });
    }
    const forgets = api.endpoint.capabilities?.forgetsInputs === true && !request.sequence;
    if (forgets) request.inputs = received.give(tensors);
    let response: InferenceResponse;
    let served = description;
    try {
      response = await api.endpoint.infer(request, scheduled);
    } catch (thrown) {
      const again = { request, before: knowledge, call: arrived, given: forgets };
      const anew = await requestAnew(api, route, asked, again, thrown);
      if (!anew) throw thrown;
      served = anew.knowledge.description;
      response = await api.endpoint.infer(anew.request, scheduled);
    }
    const answeredMs = api.clock.nowMs();
    if (forgets) received.recycle();
    const { version } = response.account.segment;
    const answered = knowledge.alias === true && version !== "" ? { ...served, version } : served;
    // What was done before the body was asked for, reading a model not least, is no time of the link either.
    const ownMs = askedMs - startedMs;
    const hereMs = (received.completeMs ?? bodyMs) - ownMs;
    const came = wire && !isAnsweredAnew(asked) ? response.wire : undefined;
    const reply = came
      ? replyAsItCame(api, asked, response, came, hereMs)
      : await inferReply(api, asked, message, answered, response, call, hereMs);
    events.stage("encode", "outputs", answeredMs);
    events.answer(response, reply);
    events.answered();
    if (reply.body.kind !== "stream") return reply;
    streams = true;
    return untilSent(reply, call, held.handOver());
  } catch (thrown) {
    if (!streams) events?.failed(thrown);
    throw thrown;
  } finally {
    held[Symbol.dispose]();
  }
}
