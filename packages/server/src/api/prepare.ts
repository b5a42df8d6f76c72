import { LongshoreError, type WireResponse } from "@longshore/core";
import type { Route } from "@longshore/core/internal";
import { findModel, findVariant } from "./find-model.ts";
import { checkPlannedDigest } from "./infer/index.ts";
import type { IncomingRequest, Served, ServerState } from "./parts.ts";
import { doneReply } from "./replies.ts";

/** `POST .../segments/{from}..{to}/prepare`: replies when the segment is loaded; `unsupported` if the endpoint cannot load on request. */
export async function prepare(
  api: Served & ServerState,
  route: Route & { kind: "prepare" },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  using _entered = api.health.life.enter();
  const { call } = incoming;
  const knowledge = await findModel(api, route.model, route.version, call);
  checkPlannedDigest(incoming, knowledge);
  const { name, version, digest } = knowledge.description;
  const variant = findVariant(knowledge, route.variant).name;
  const { from, to } = route;
  const load = api.endpoint.capabilities.prepare;
  if (!load) {
    const what = `this server cannot load ${name} in advance; the first request that needs it loads it`;
    throw new LongshoreError("unsupported", "resolve", what);
  }
  await load({ model: name, version, digest, variant, from, to }, call);
  return doneReply;
}
