import {
  type Call,
  endCut,
  LongshoreError,
  type ModelKnowledge,
  type Segment,
  startCut,
} from "@longshore/core";
import { callFromHeaders, digestHeader, ownCall, type Route } from "@longshore/core/internal";
import { findModel, findVariant } from "../find-model.ts";
import { isAwaited } from "../request-hold.ts";
import type { Exchanging, IncomingRequest, InferenceApi, Served } from "../parts.ts";

export type InferRoute = Route & { kind: "infer" };

/** Contents of the path and headers of an inference. */
export interface Head {
  /** The call as sent. */
  readonly arrived: Call;
  /** The same call, with this server added to its path. */
  readonly call: Call;
  readonly knowledge: ModelKnowledge;
  readonly segment: Segment;
}

/** Parses the call from its headers. Refuses a call that has passed this server before. */
export function arrivedCall(api: InferenceApi, incoming: IncomingRequest): Call {
  const call = callFromHeaders(
    incoming.request.headers,
    incoming.call,
    api.clock.nowMs(),
    api.access.unstatedRules,
  );
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

/** The digest that the sender planned with, if any. Throws `unknown-version` if other content is here. */
export function checkPlannedDigest(
  { request }: IncomingRequest,
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

/**
 * Refuses data that this server may not receive, by the class that the request states and by the class of the model, which also applies to
 * its inputs. Throws `policy-denied`.
 */
function checkAccepted(
  { access: { accepts } }: Exchanging,
  { rules, tenant }: Call,
  { description }: ModelKnowledge,
  from: string,
): void {
  if (!accepts) return;
  // An earlier step may have declassified the data. Senders with the right to run parts of models state its class.
  const ofModel = from === startCut ? description.dataClass : undefined;
  // A request without a class has the class of its model.
  const stated = rules.dataClass === "unknown" ? (ofModel ?? rules.dataClass) : rules.dataClass;
  const refused = accepts(stated, tenant) ?? (ofModel === undefined ? undefined : accepts(ofModel, tenant));
  if (refused !== undefined) throw new LongshoreError("policy-denied", "admission", refused);
}

/** The requested part of the model. */
export function segmentOfRoute(
  incoming: IncomingRequest,
  route: InferRoute,
  knowledge: ModelKnowledge,
): Segment {
  const { name, version, digest } = knowledge.description;
  const planned = checkPlannedDigest(incoming, knowledge);
  const variant = findVariant(knowledge, route.variant).name;
  const [from, to] = [route.from ?? startCut, route.to ?? endCut];
  // The target of an alias is chosen once the whole request is known.
  const open = knowledge.alias === true && route.version === undefined && planned === undefined;
  return { model: name, version: open ? "" : version, digest: open ? "" : digest, variant, from, to };
}

/**
 * The first step: everything in path and headers, synchronous if nothing has to be awaited. Refuses a call that has passed this server
 * before, and a model, version, variant or digest that is not here.
 *
 * @param stated The call, if its headers were parsed already: its deadline counts from then.
 */
export function parseHead(
  api: InferenceApi,
  route: InferRoute,
  incoming: IncomingRequest,
  stated?: Call,
): Head | Promise<Head> {
  // Checked before any question about a model: an offloader does not answer a question that returns to it.
  const arrived = stated ?? arrivedCall(api, incoming);
  const found = servedModel(api, route, arrived);
  if (found instanceof Promise) return awaitedHead(api, route, incoming, arrived, found);
  countArrival(api, route, arrived);
  return headOf(api, route, incoming, arrived, found);
}

async function awaitedHead(
  api: InferenceApi,
  route: InferRoute,
  incoming: IncomingRequest,
  arrived: Call,
  found: Promise<ModelKnowledge>,
): Promise<Head> {
  return headOf(api, route, incoming, arrived, await awaitedModel(api, route, arrived, found));
}

function headOf(
  api: InferenceApi,
  route: InferRoute,
  incoming: IncomingRequest,
  arrived: Call,
  knowledge: ModelKnowledge,
): Head {
  checkAccepted(api, arrived, knowledge, route.from ?? startCut);
  const call = ownCall(arrived);
  call.path = [...arrived.path, api.endpoint.info.id];
  return { arrived, call, knowledge, segment: segmentOfRoute(incoming, route, knowledge) };
}

/** The model, as `findModel`. Where requests may wait for a server, a model that is known from servers that have left is awaited, too. */
export function servedModel(
  api: InferenceApi,
  { model, version }: InferRoute,
  call: Call,
): ReturnType<typeof findModel> {
  if (!api.hold || api.endpoint.capabilities.vacant?.() !== true) {
    return findModel(api, model, version, call);
  }
  const why = `no server is listed at this moment, so none has ${model}`;
  return Promise.reject(new LongshoreError("no-endpoint", "resolve", why, { retryAfterMs: 1000 }));
}

/** Models that are not here are not counted: their names are the senders' own. */
function countArrival({ clock, observer }: Served, { model }: InferRoute, { id: callId }: Call): void {
  observer.record({ kind: "inference-asked", atMs: clock.nowMs(), callId, model });
}

/**
 * The model, once a server has it, if the request may wait for that.
 *
 * @param counted The arrival of the request was counted.
 */
export async function awaitedModel(
  api: InferenceApi,
  route: InferRoute,
  call: Call,
  first: Promise<ModelKnowledge>,
  counted = false,
): Promise<ModelKnowledge> {
  const sinceMs = api.clock.nowMs();
  for (let found = first; ; found = Promise.resolve(servedModel(api, route, call))) {
    try {
      const knowledge = await found;
      if (!counted) countArrival(api, route, call);
      return knowledge;
    } catch (thrown) {
      if (!isAwaited(thrown, counted)) throw thrown;
      if (!counted) countArrival(api, route, call);
      counted = true;
      if (!api.hold) throw thrown;
      await api.hold.again(call, sinceMs, thrown);
    }
  }
}
