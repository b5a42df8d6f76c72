import {
  emptyBody,
  type InferenceResponse,
  type ModelDescription,
  type Call,
  type WireForm,
  type WireResponse,
} from "@longshore/core";
import {
  accountHeader,
  accountParameter,
  binaryType,
  becauseParameter,
  type InferReplyMessage,
  type InferRequestMessage,
  headerLengthHeader,
  packTensors,
  sealParameter,
  stateTensors,
  tookHeader,
  writeInferReplyInSteps,
  turnWhileWanted,
  watched,
} from "@longshore/core/internal";
import { binaryChoice, wantedOutputs } from "../../body/index.ts";
import { serverTiming, serverTimingHeader } from "../../telemetry/index.ts";
import type { IncomingRequest, InferenceApi } from "../parts.ts";
import { stateChecksum, toldLoad } from "../replies.ts";
import { writeShared } from "../shared-memory.ts";
import type { Inference } from "./inference.ts";
import { rewritesAnswer } from "./plan.ts";
import type { ParsedInference } from "./request.ts";
import type { InferenceAnswer } from "./run.ts";

const noCodecs: Parameters<typeof packTensors>[1] = {};

/** The reply to an inference. `sinceMs`: its start, shifted by the time spent on reading the body. */
export async function inferReply(
  api: InferenceApi,
  incoming: IncomingRequest,
  message: InferRequestMessage,
  description: ModelDescription,
  response: InferenceResponse,
  call: Call,
  sinceMs: number,
): Promise<WireResponse> {
  const pause = (): Promise<void> => turnWhileWanted(api.clock, call.abort, "encode");
  const wanted = wantedOutputs(response, message, description, pause);
  const outputs = wanted instanceof Promise ? await wanted : wanted;
  const state = stateTensors(response.state).map((tensor) => [tensor.spec.name, tensor] as const);
  const all = state.length === 0 ? outputs : new Map([...outputs, ...state]);
  const packing = packTensors(all, noCodecs, api.tensors.codecs, call);
  const packed = packing instanceof Promise ? await packing : packing;
  const asksAccount = incoming.request.headers[accountHeader] === "1";
  const { confidenceRatio, stateSeal } = response;
  // Fields are assigned one by one, here and below, since this runs for every small request.
  const parameters: Record<string, number | string> = {};
  if (confidenceRatio !== undefined) parameters["longshore_confidence"] = confidenceRatio;
  if (stateSeal !== undefined) parameters[sealParameter] = stateSeal;
  if (asksAccount) parameters[accountParameter] = JSON.stringify(response.account);
  if (response.because !== undefined) parameters[becauseParameter] = response.because;
  const written = writeShared(api, incoming, message, packed);
  const described = {
    modelName: description.name,
    modelVersion: description.version,
    parameters,
    outputs: written instanceof Promise ? await written : written,
  };
  const reply: InferReplyMessage = message.id === undefined ? described : { ...described, id: message.id };
  api.rate.replied();
  const told = response.load ? toldLoad(api, response.load, incoming.request) : {};
  told[tookHeader] = Math.max(0, api.clock.nowMs() - sinceMs).toFixed(3);
  const asksTimes = asksAccount || incoming.request.headers[accountHeader] === "timing";
  if (asksTimes) told[serverTimingHeader] = serverTiming(response.account.stages);
  if (incoming.request.message) {
    const perSecond = response.load ? api.rate.perSecond() : 0;
    return { status: 200, headers: told, body: emptyBody, message: reply, perSecond };
  }
  const binary = binaryChoice(message);
  const writing = api.bodies.written.layOut(reply, binary, () =>
    writeInferReplyInSteps(reply, binary, pause),
  );
  const { headers, parts } = writing instanceof Promise ? await writing : writing;
  const body = { kind: "parts", parts, given: true } as const;
  stateChecksum(api, incoming.request, told, body);
  return { status: 200, headers: Object.assign(told, headers), body };
}

/** The reply in the form in which the answer came. `tookMs` is the time since the last byte of the request arrived. */
function replyAsItCame(
  api: InferenceApi,
  incoming: IncomingRequest,
  { load }: InferenceResponse,
  { headerLength, body, crc32 }: WireForm,
  bodyMs: number,
): WireResponse {
  api.rate.replied();
  const headers = load ? toldLoad(api, load, incoming.request) : {};
  headers[tookHeader] = Math.max(0, api.clock.nowMs() - bodyMs).toFixed(3);
  headers["content-type"] = binaryType;
  headers[headerLengthHeader] = String(headerLength);
  stateChecksum(api, incoming.request, headers, body, crc32);
  return { status: 200, headers, body };
}

/** The same reply. `held` is released when all of it was sent, or when the reader has left. */
export function untilSent(reply: WireResponse, { abort }: Call, held: Disposable): WireResponse {
  const { body } = reply;
  if (body.kind !== "stream") return reply;
  const over = (): void => {
    abort.removeEventListener("abort", over);
    held[Symbol.dispose]();
  };
  abort.addEventListener("abort", over, { once: true });
  return { ...reply, body: watched(body, { over }) };
}

/** The fourth step: the reply, either in the form in which a forwarded answer came or written here. */
export function reply(
  { api, incoming, head, startedMs, askedMs }: Inference,
  { message, request, received, bodyMs }: ParsedInference,
  { response, description }: InferenceAnswer,
): WireResponse | Promise<WireResponse> {
  // Work before the body was requested, such as loading a model, is not time of the link either.
  const sinceMs = (received.completeMs ?? bodyMs) - (askedMs - startedMs);
  const came = request.wire && !rewritesAnswer(incoming) ? response.wire : undefined;
  if (came) return replyAsItCame(api, incoming, response, came, sinceMs);
  const { version } = response.account.segment;
  const answered =
    head.knowledge.alias === true && version !== "" ? { ...description, version } : description;
  return inferReply(api, incoming, message, answered, response, head.call, sinceMs);
}
