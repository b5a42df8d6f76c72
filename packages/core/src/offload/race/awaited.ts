import type { EndpointId } from "../../words/base/index.ts";
import type { EndpointInfo, MissingEndpoint } from "../../wire/endpoint/index.ts";
import { isOnly } from "../../decide/goal/index.ts";
import { type Infeasible, isRuled } from "../../decide/plan/index.ts";
import { mayServe, permits } from "../endpoints/index.ts";
import type { Job } from "./job.ts";
import type { Loop, LoopBeliefs, LoopSetting } from "./loop.ts";

/**
 * Endpoints that may yet take a request that no other endpoint may or can take: the rules let it go there, and they have not said whether
 * they have the model, because they are away, just started or are new. Time cures that, so the request is not refused for good. With `behind` also those
 * that miss such endpoints behind them.
 */
export function awaited(
  loop: Loop,
  job: Pick<Job, "known" | "call" | "limits" | "frame">,
  exclude: ReadonlySet<EndpointId>,
  behind: boolean,
): readonly EndpointId[] {
  const { known, call, frame } = job;
  const { reports: heard } = known.poll ?? {};
  // The next frame comes soon.
  if (!heard || frame) return [];
  const { name } = known.description;
  const found: EndpointId[] = [];
  for (const [id, { endpoint, health }] of loop.endpoints.all) {
    if (exclude.has(id) || call.path.includes(id) || health.distrusted !== undefined) continue;
    const { info } = endpoint;
    if (!mayServe(info, name)) continue;
    // Another endpoint may have come in place of the one that answered.
    const isOther = known.saidBy.has(id) && known.saidBy.get(id) !== endpoint;
    const asked = isOther ? undefined : heard.get(id);
    const ways = asked ? (behind ? (asked.missing ?? []) : []) : [{ zones: [info.zone], trust: info.trust }];
    if (ways.some((way) => mayTake(loop, job, info, way))) found.push(id);
  }
  return found;
}

/** The parts of a request that rules look at. */
export interface Ruled extends Pick<Job, "known" | "call"> {
  readonly limits: Pick<Job["limits"], "only">;
}

/** Whether the rules of a request let it go to an endpoint, or along a path that begins there. */
export function mayTake(
  { parts: { policy } }: LoopSetting,
  { known, call: { rules, tenant }, limits }: Ruled,
  info: EndpointInfo,
  way: MissingEndpoint = { zones: [info.zone], trust: info.trust },
): boolean {
  if (limits.only !== undefined && !isOnly(limits.only, info)) return false;
  const { zones, trust } = way;
  const { dataClass = rules.dataClass } = known.description;
  const goesTo = (of: string, zone: string): boolean =>
    policy.decide({ dataClass: of, reveals: "input", endpoint: info.id, zone, trust, tenant }).allow;
  return (
    permits(rules, info, way) &&
    [rules.dataClass, dataClass].every((of) => zones.every((zone) => goesTo(of, zone)))
  );
}

/**
 * Whether a server that the directory does not name yet may take a request that the rules keep from all known endpoints: the directory is
 * still settling, and the policy lets the data go somewhere.
 */
export function mayJoin(
  { parts: { policy }, endpoints }: LoopSetting & LoopBeliefs,
  { known, call, limits, frame }: Pick<Job, "known" | "call" | "limits" | "frame">,
  plan: Pick<Infeasible, "filter">,
): boolean {
  if (!endpoints.membership.settling || !isRuled(plan) || frame || limits.only !== undefined) return false;
  const { rules, tenant } = call;
  const classes = [rules.dataClass, known.description.dataClass ?? rules.dataClass];
  const mayLeave = classes.every((one) => policy.mayLeave?.(one, tenant) !== false);
  return mayLeave && (!rules.zones || rules.zones.some((zone) => zone !== "device"));
}
