import type { EndpointId } from "../../words/base/index.ts";
import { isOnly } from "../../decide/goal/index.ts";
import { type Infeasible, isRuled } from "../../decide/plan/index.ts";
import { permits } from "../endpoints/index.ts";
import type { Job } from "./job.ts";
import type { Loop } from "./loop.ts";

/**
 * Endpoints that may yet take a request that no other endpoint may or can take: the rules let it go there, and they have not said whether
 * they have the model, because they are away, just started or are new. Time cures that, so the request is not refused for good.
 */
export function awaited(
  { parts: { policy }, endpoints }: Loop,
  { known, call, limits, frame }: Pick<Job, "known" | "call" | "limits" | "frame">,
  exclude: ReadonlySet<EndpointId>,
): readonly EndpointId[] {
  const { heard } = known.asked ?? {};
  // The next frame comes soon.
  if (!heard || frame) return [];
  const { rules, tenant, path } = call;
  const { name, dataClass } = known.description;
  const found: EndpointId[] = [];
  for (const [id, { endpoint, health }] of endpoints.all) {
    if (heard.has(id) || exclude.has(id) || path.includes(id) || health.distrusted !== undefined) continue;
    const { info } = endpoint;
    const { zone, trust, serves } = info;
    if (serves && !serves.some(({ segment }) => segment.model === name)) continue;
    if (limits.only !== undefined && !isOnly(limits.only, info)) continue;
    const goesTo = (of: string): boolean =>
      policy.decide({ dataClass: of, reveals: "input", endpoint: id, zone, trust, tenant }).allow;
    if (permits(rules, info) && goesTo(rules.dataClass) && goesTo(dataClass ?? rules.dataClass))
      found.push(id);
  }
  return found;
}

/**
 * Whether a server that the directory does not name yet may take a request that the rules keep from all known endpoints: the directory is
 * still settling, and the policy lets the data go somewhere.
 */
export function mayJoin(
  { parts: { policy }, endpoints }: Loop,
  { known, call, limits, frame }: Pick<Job, "known" | "call" | "limits" | "frame">,
  plan: Pick<Infeasible, "filter">,
): boolean {
  if (!endpoints.settling || !isRuled(plan) || frame || limits.only !== undefined) return false;
  const { rules, tenant } = call;
  const classes = [rules.dataClass, known.description.dataClass ?? rules.dataClass];
  const mayLeave = classes.every((one) => policy.mayLeave?.(one, tenant) !== false);
  return mayLeave && (!rules.zones || rules.zones.some((zone) => zone !== "device"));
}
