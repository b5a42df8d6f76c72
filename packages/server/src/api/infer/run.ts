import {
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type ModelDescription,
  type ModelKnowledge,
} from "@longshore/core";
import { canBegin, digestHeader } from "@longshore/core/internal";
import { findModel } from "../find-model.ts";
import { checkWireInputs } from "./check-inputs.ts";
import type { Inference } from "./inference.ts";
import { awaitedModel, segmentOfRoute, servedModel } from "./parse.ts";
import type { ParsedInference } from "./request.ts";

/** The answer of an endpoint, and the content it ran. */
export interface InferenceAnswer {
  readonly response: InferenceResponse;
  readonly description: ModelDescription;
}

/** A request for replaced content, and what is known of the new content. */
interface Anew {
  readonly request: InferenceRequest;
  readonly knowledge: ModelKnowledge;
}

/**
 * The request for the content that replaced the requested one. Undefined if there is none, if the request named its content, or if its
 * inputs cannot be read again.
 *
 * @param given Its inputs were given away.
 */
export async function renewedRequest(
  { api, route, incoming, head: { arrived, knowledge: before } }: Inference,
  request: InferenceRequest,
  given: boolean,
  thrown: unknown,
): Promise<Anew | undefined> {
  if (before.alias === true || incoming.request.headers[digestHeader] !== undefined) return undefined;
  if (!LongshoreError.is(thrown)) return undefined;
  const { reason, stage } = thrown;
  if (reason !== "unknown-version" && reason !== "unknown-model") return undefined;
  // Inputs are untouched until the stage `resolve` is over.
  if ((given && stage !== "resolve") || (request.wire && !canBegin(request.wire.body))) return undefined;
  const find = async (): Promise<ModelKnowledge> => findModel(api, route.model, route.version, arrived);
  // If the model is gone, the caller gets the original error.
  const knowledge = await find().catch(() => undefined);
  if (!knowledge || knowledge.description.digest === before.description.digest) return undefined;
  const segment = segmentOfRoute(incoming, route, knowledge);
  checkWireInputs(segment, knowledge, request.inputs);
  const { pass: _granted, ...rest } = request;
  return { request: { ...rest, segment }, knowledge };
}

/** Failures of a request whose servers left while it was under way. */
const left: ReadonlySet<string> = new Set(["unreachable", "no-endpoint", "shutting-down"]);

/**
 * The request once more, where its servers left while it was under way: it waits for the next server that has its model, as requests do that
 * come while there is none. Undefined without a deadline, or if its inputs cannot be read again.
 */
async function heldRequest(
  { api, route, incoming, head: { arrived } }: Inference,
  request: InferenceRequest,
  given: boolean,
  thrown: unknown,
): Promise<Anew | undefined> {
  if (!api.hold || arrived.deadlineMs === Infinity) return undefined;
  if (!LongshoreError.is(thrown) || !left.has(thrown.reason)) return undefined;
  if (given || request.sequence || (request.wire && !canBegin(request.wire.body))) return undefined;
  // If no server comes, the caller gets the original error.
  const found = Promise.resolve(servedModel(api, route, arrived));
  const knowledge = await awaitedModel(api, route, arrived, found, true).catch(() => undefined);
  if (!knowledge) return undefined;
  const segment = segmentOfRoute(incoming, route, knowledge);
  checkWireInputs(segment, knowledge, request.inputs);
  const { pass: _granted, ...rest } = request;
  return { request: { ...rest, segment }, knowledge };
}

/** The third step: the endpoint runs or forwards the request. It retries once if the content was replaced meanwhile, or its servers by others. */
export async function run(inference: Inference, question: ParsedInference): Promise<InferenceAnswer> {
  const { api, head } = inference;
  const { request, call, received, tensors } = question;
  const { description } = head.knowledge;
  const forgets = api.endpoint.capabilities.forgetsInputs === true && !request.sequence;
  if (forgets) request.inputs = received.give(tensors);
  let answer: InferenceAnswer;
  try {
    answer = { response: await api.endpoint.infer(request, call), description };
  } catch (thrown) {
    const anew =
      (await renewedRequest(inference, request, forgets, thrown)) ??
      (await heldRequest(inference, request, forgets, thrown));
    if (!anew) throw thrown;
    const response = await api.endpoint.infer(anew.request, call);
    answer = { response, description: anew.knowledge.description };
  }
  if (forgets) received.recycle();
  return answer;
}
