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
import type { Api, Asked } from "../parts.ts";

export type InferRoute = Route & { kind: "infer" };

/** What path and headers of an inference tell. */
export interface Head {
  /** The call as its sender states it. */
  readonly arrived: Call;
  /** The same call, which has been here. */
  readonly call: Call;
  readonly knowledge: ModelKnowledge;
  readonly segment: Segment;
}

/** The call as its headers state it. Refuses one that has been here before. */
export function arrivedCall(api: Api, asked: Asked): Call {
  const call = callFromHeaders(
    asked.request.headers,
    asked.call,
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

/**
 * Refuses data that may not come to this server: by the class that the request states, and by that of the model, which its inputs have
 * too.
 * Throws `policy-denied`.
 */
function checkAccepted(
  { access: { accepts } }: Api,
  { rules, tenant }: Call,
  { description }: ModelKnowledge,
  from: string,
): void {
  if (!accepts) return;
  // A step may have declassified what is past it; its sender, who has the right to run parts of models, states the class.
  const ofModel = from === startCut ? description.dataClass : undefined;
  // A request without a class has that of its model.
  const stated = rules.dataClass === "unknown" ? (ofModel ?? rules.dataClass) : rules.dataClass;
  const refused = accepts(stated, tenant) ?? (ofModel === undefined ? undefined : accepts(ofModel, tenant));
  if (refused !== undefined) throw new LongshoreError("policy-denied", "admission", refused);
}

/** The part of the model that is asked for. */
export function segmentOfRoute(asked: Asked, route: InferRoute, knowledge: ModelKnowledge): Segment {
  const { name, version, digest } = knowledge.description;
  const planned = checkPlannedDigest(asked, knowledge);
  const variant = findVariant(knowledge, route.variant).name;
  const [from, to] = [route.from ?? startCut, route.to ?? endCut];
  // Where an alias leads this request is decided once all of it is known.
  const open = knowledge.alias === true && route.version === undefined && planned === undefined;
  return { model: name, version: open ? "" : version, digest: open ? "" : digest, variant, from, to };
}

/**
 * The first step: everything that path and headers tell, at once where nothing is waited for. Refuses a call that has been here before, and a model,
 * version, variant or digest that is not here.
 *
 * @param stated The call, where its headers were read already: its deadline counts from then.
 */
export function parseHead(api: Api, route: InferRoute, asked: Asked, stated?: Call): Head | Promise<Head> {
  // Whatever is asked about a model here has not been here yet: an offloader gives no answer to a question that comes back.
  const arrived = stated ?? arrivedCall(api, asked);
  const headOf = (knowledge: ModelKnowledge): Head => {
    checkAccepted(api, arrived, knowledge, route.from ?? startCut);
    const call = ownCall(arrived);
    call.path = [...arrived.path, api.endpoint.info.id];
    return { arrived, call, knowledge, segment: segmentOfRoute(asked, route, knowledge) };
  };
  const found = findModel(api, route.model, route.version, arrived);
  return found instanceof Promise ? found.then(headOf) : headOf(found);
}
