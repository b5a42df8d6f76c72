import { type Call, leastTrust, type Rules } from "../../words/base/index.ts";
import type { EndpointInfo, MissingEndpoint } from "../../wire/endpoint/index.ts";
import type { KnownModel } from "../models/index.ts";
import { forwardedOffers } from "./compose-offers.ts";
import type { EndpointState } from "./endpoint-state.ts";
import type { EndpointStates } from "./endpoint-states.ts";
import { permits } from "./permits.ts";

/**
 * The endpoints that this endpoint cannot offer a model at now, but may soon: they have not described it yet, or are paused, or lie behind
 * another endpoint that misses them. Without this list a caller cannot tell "no permitted server exists" from "the permitted server is not
 * known yet", and denies requests for good that a moment would cure. A directory that is settling may name servers anywhere, so
 * the list then has one entry with the zone of this endpoint alone.
 */
export function missingEndpoints(
  self: EndpointInfo,
  { all, membership, runs }: Pick<EndpointStates, "all" | "membership" | "runs">,
  known: KnownModel,
  defaults: Pick<Partial<Rules>, "zones" | "leastTrust"> | undefined,
  { path, tenant }: Pick<Call, "path" | "tenant">,
  nowMs: number,
): readonly MissingEndpoint[] {
  const { name, digest } = known.description;
  const found = new Map<string, MissingEndpoint>();
  const add = (zones: MissingEndpoint["zones"], trust: MissingEndpoint["trust"]): void => {
    const own = { zones: [...new Set([self.zone, ...zones])], trust: leastTrust(self.trust, trust) };
    found.set(JSON.stringify(own), own);
  };
  const failing = runs.failingMs(known, tenant, nowMs);
  if (membership.settling) add([], self.trust);
  for (const [id, state] of all) {
    const { info } = state.endpoint;
    if (path.includes(id) || state.health.distrusted !== undefined || !mayServe(info, name)) continue;
    for (const { zones, trust } of lackingAt(id, state)) {
      const way = { zones, trust: leastTrust(info.trust, trust) };
      if (permits(defaults, info, way)) add([info.zone, ...zones], way.trust);
    }
  }
  return [...found.values()];

  function lackingAt(id: string, state: EndpointState): readonly MissingEndpoint[] {
    const heard = known.poll?.reports.get(id);
    const { zone, trust } = state.endpoint.info;
    if (!heard) return [{ zones: [zone], trust }];
    const offers = (known.offersBy.get(id) ?? []).filter(
      ({ segment, path: way }) =>
        segment.digest === digest && !way.some((one) => one === self.id || path.includes(one)),
    );
    const passedOn = forwardedOffers(self, state, offers, known, path, nowMs, failing(id));
    return [...(passedOn.length > 0 ? [] : offers), ...(heard.missing ?? [])];
  }
}

/** Whether an endpoint may have a model: the operator's list of its models, if there is one, names it. */
export function mayServe({ serves }: EndpointInfo, model: string): boolean {
  return !serves || serves.some(({ segment }) => segment.model === model);
}
