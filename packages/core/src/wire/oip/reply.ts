import { type Call, LongshoreError, turnWhileWanted, type Writable } from "../../words/base/index.ts";
import { endCut, type PortSpec, type Segment } from "../../words/model/index.ts";
import {
  accountParameter,
  defaultWireLimits,
  headerLengthOf,
  type InferReplyMessage,
  type KnownHeads,
  parseJson,
  read,
  readInferReplyHead,
  readInferReplyInSteps,
  unpackTensors,
} from "../protocol/index.ts";
import { shapeFits, type Tensor, type Tensors } from "../../words/tensor/index.ts";
import {
  type Account,
  type EndpointInfo,
  type InferenceRequest,
  type InferenceResponse,
  type LoadReport,
  type ModelKnowledge,
  moveMicros,
  runMicros,
  type StageTime,
} from "../endpoint/index.ts";
import { parseAccount } from "./account-json.ts";
import type { Exchange } from "./exchange.ts";
import { readServerTiming, wireReply } from "./wire.ts";
import type { OipEndpointParts } from "./parts.ts";
import { sealParameter, splitState } from "./sequence-parameters.ts";

/** The tensors that a segment must give, as far as this endpoint knows the model. */
export function expectedOutputs(
  segment: Segment,
  knowledge: ModelKnowledge | undefined,
): readonly PortSpec[] | undefined {
  if (!knowledge) return undefined;
  const { outputs } = knowledge.description;
  // Servers that run any code in Python need not say what it gives.
  if (segment.to === endCut) return outputs.length === 0 ? undefined : outputs;
  for (const variant of knowledge.profile?.variants ?? []) {
    if (variant.variant !== segment.variant) continue;
    for (const bucket of variant.buckets) {
      const found = bucket.cuts.find(({ cut }) => cut.id === segment.to);
      // Sizes inside a crossing differ between buckets, so only names and datatypes bind.
      if (found)
        return found.cut.crossing.map((spec) => ({
          ...spec,
          shape: spec.shape.map(() => -1),
          openRank: spec.shape.length === 0,
        }));
    }
  }
  return undefined;
}

const noTensors: Tensors = new Map<string, Tensor>();

function wrong(message: string): LongshoreError {
  return new LongshoreError("bad-reply", "decode", message);
}

/** The wanted outputs among those that came, checked against what is known of the model. */
export function checkOutputs(
  came: Tensors,
  wanted: readonly string[] | undefined,
  expected: readonly PortSpec[] | undefined,
  classes?: InferenceRequest["classes"],
): Tensors {
  const outputs = new Map<string, Tensor>();
  let leftOut = false;
  const names = wanted ?? expected?.map((spec) => spec.name) ?? [...came.keys()];
  for (const name of names) {
    const tensor = came.get(name);
    const declared = expected?.find((one) => one.name === name);
    if (!tensor && declared?.optional) {
      leftOut = true;
      continue;
    }
    if (!tensor) throw wrong(`the reply lacks the output ${name}`);
    // Its best classes, with their labels.
    const spec = classes?.get(name) && tensor.spec.datatype === "BYTES" ? undefined : declared;
    if (spec && spec.datatype !== tensor.spec.datatype) {
      throw wrong(`the output ${name} came as ${tensor.spec.datatype}; the model gives ${spec.datatype}`);
    }
    // Of a ragged tensor the declared -1 and the -1 that came mean the same.
    if (spec && !spec.ragged && !spec.openRank && !shapeFits(tensor.spec.shape, spec.shape)) {
      throw wrong(
        `the output ${name} came as [${tensor.spec.shape.join(", ")}]; the model gives [${spec.shape.join(", ")}]`,
      );
    }
    outputs.set(name, tensor);
  }
  if (outputs.size === 0 && !leftOut) throw wrong("the reply holds no outputs");
  return outputs;
}

/** The account as this endpoint saw it: the server's own account, the network's share, and the bytes counted here. */
function accountOf(
  parts: OipEndpointParts,
  request: InferenceRequest,
  told: Account | undefined,
  exchanged: Exchange,
  codingStages: readonly StageTime[],
): Account {
  const { info } = parts;
  const { tookMs, serverMs, sentBytes, receivedBytes, headers } = exchanged;
  const away: StageTime =
    serverMs === undefined
      ? { stage: "wait", name: info.id, tookMs }
      : { stage: "network", name: info.id, tookMs: Math.max(0, tookMs - serverMs) };
  const thereStages = told?.stages ?? readServerTiming(headers);
  const runMs = chargedRunMs(thereStages, exchanged);
  return {
    endpoint: info.id,
    zone: info.zone,
    segment: request.segment,
    stages: [...codingStages, ...thereStages, away],
    sentBytes,
    receivedBytes,
    energy: energyOf(info, told, runMs),
    costMicros: costOf(info, told, exchanged, runMs),
    forwarded: told?.forwarded ?? [],
  };
}

/** The run time that is charged. A server that tells no times is charged for as long as it took to answer. */
function chargedRunMs(stages: readonly StageTime[], { tookMs, serverMs }: Exchange): number {
  let runMs = 0;
  for (const { stage, tookMs: lasted } of stages)
    if (stage === "run" || stage === "transform") runMs += lasted;
  if (runMs === 0) {
    runMs = serverMs ?? tookMs;
    for (const { stage, tookMs: lasted } of stages)
      if (stage === "queue") runMs = Math.max(0, runMs - lasted);
  }
  return runMs;
}

/** Energy of the server: what it claims, and at least what the operator's figure of its power gives. */
function energyOf({ rates }: EndpointInfo, told: Account | undefined, runMs: number): Account["energy"] {
  const least = told && told.forwarded.length > 0 ? 0 : rates.activeWatts * runMs;
  if (told && told.energy.millijoules >= least) return told.energy;
  return { millijoules: least, label: "estimated" };
}

/** The cost of the exchange by the operator's prices of the server. A claim of the server can only raise it. */
function costOf(
  { rates }: EndpointInfo,
  told: Account | undefined,
  { sentBytes, receivedBytes }: Exchange,
  runMs: number,
): number {
  const energy = Math.max(told?.energy.millijoules ?? 0, rates.activeWatts * runMs);
  return (
    Math.max(told?.costMicros ?? 0, runMicros(rates, runMs, energy)) +
    moveMicros(rates, sentBytes, receivedBytes)
  );
}

/** A reply with status 200, and what it answers. */
export interface Answered {
  readonly request: InferenceRequest;
  readonly exchanged: Exchange;
  readonly expected: readonly PortSpec[] | undefined;
  readonly codingStages: readonly StageTime[];
  /** The load that the server reports with it. */
  readonly load: LoadReport | undefined;
}

/**
 * Makes the response of a reply. Throws `bad-reply` (or what `unpackTensors` throws, which the caller turns into that) for anything that does
 * not fit the request.
 */
export function readResponse(
  parts: OipEndpointParts,
  answered: Answered,
  heads: KnownHeads<InferReplyMessage>,
  call: Call,
): InferenceResponse | Promise<InferenceResponse> {
  const message = replyMessage(parts, answered.exchanged, heads, call);
  return message instanceof Promise
    ? awaitedResponse(parts, answered, message, call)
    : responseOfReply(parts, answered, message, call);
}

async function awaitedResponse(
  parts: OipEndpointParts,
  answered: Answered,
  message: Promise<InferReplyMessage>,
  call: Call,
): Promise<InferenceResponse> {
  return responseOfReply(parts, answered, await message, call);
}

function replyMessage(
  { clock, limits = defaultWireLimits }: OipEndpointParts,
  { rest, bytes, headers, receivedBytes }: Exchange,
  heads: KnownHeads<InferReplyMessage>,
  call: Call,
): InferReplyMessage | Promise<InferReplyMessage> {
  const headerLength = headerLengthOf(headers);
  const pause = (): Promise<void> => turnWhileWanted(clock, call.abort, "decode");
  return rest
    ? readInferReplyHead(bytes.subarray(0, headerLength), receivedBytes - (headerLength ?? 0), limits, pause)
    : readInferReplyInSteps(bytes, headerLength, limits, pause, heads);
}

/** The same for a reply that was read already, in either encoding. At once, unless tensors are to be decoded. */
export function responseOfReply(
  parts: OipEndpointParts,
  answered: Answered,
  message: InferReplyMessage,
  call: Call,
): InferenceResponse | Promise<InferenceResponse> {
  const unpacked = unpackTensors(message.outputs, parts.codecs, parts.limits ?? defaultWireLimits, call);
  return unpacked instanceof Promise
    ? decodedResponse(parts, answered, message, unpacked)
    : unpackedResponse(parts, answered, message, unpacked);
}

async function decodedResponse(
  parts: OipEndpointParts,
  answered: Answered,
  message: InferReplyMessage,
  tensors: Promise<Tensors>,
): Promise<InferenceResponse> {
  return unpackedResponse(parts, answered, message, await tensors);
}

function unpackedResponse(
  parts: OipEndpointParts,
  { request, exchanged, expected, codingStages, load }: Answered,
  message: InferReplyMessage,
  tensors: Tensors,
): InferenceResponse {
  const headerLength = headerLengthOf(exchanged.headers);
  const { plain, state } = splitState(tensors);
  const confidence = read.own(message.parameters, "longshore_confidence");
  const seal = read.own(message.parameters, sealParameter);
  const accountText = read.own(message.parameters, accountParameter);
  const told =
    typeof accountText === "string"
      ? parseAccount(parseJson(new TextEncoder().encode(accountText), "the account"))
      : undefined;
  if (told && told.segment.digest !== request.segment.digest && request.segment.digest !== "") {
    throw wrong("another version or variant of the model answered than requested");
  }
  const outputs = checkOutputs(plain, request.outputs, expected, request.classes);
  // Assigned one by one, since this is done for every small request.
  const response: Writable<InferenceResponse> = {
    outputs: exchanged.rest ? noTensors : outputs,
    account: accountOf(parts, request, told, exchanged, codingStages),
  };
  if (request.wire && headerLength) response.wire = wireReply(exchanged, headerLength);
  if (load) response.load = load;
  if (exchanged.written) response.forgotInputs = true;
  if (typeof confidence === "number") response.confidenceRatio = Math.min(1, Math.max(0, confidence));
  if (state) response.state = state;
  if (typeof seal === "string") response.stateSeal = seal;
  return response;
}
