import { leastTrust, narrowerRules, type Rules } from "../../words/base/index.ts";
import type { EndpointInfo, Offer } from "../../wire/endpoint/index.ts";
import { brokenRule } from "../../decide/plan/index.ts";

const unruled: Rules = { dataClass: "unknown", leastTrust: "none" };

/** Whether the rules of an endpoint allow requests of others to run at the offering one, on the path of the offer. */
export function permits(
  rules: Pick<Partial<Rules>, "zones" | "leastTrust"> | undefined,
  { id, zone, trust }: EndpointInfo,
  way: Pick<Offer, "zones" | "trust"> = { zones: [], trust },
): boolean {
  const held = narrowerRules(unruled, rules ?? {});
  return !brokenRule(held, { id, zones: [zone, ...way.zones], trust: leastTrust(trust, way.trust) });
}
