import type { Clock } from "../../words/base/index.ts";
import type { ProbeDue } from "../../decide/estimate/index.ts";
import { isInfeasible, type Plan } from "../../decide/plan/index.ts";
import type { Tally } from "../account/index.ts";
import type { EndpointStates } from "../endpoints/index.ts";
import { linkProbes, linkUpkeep, loadProbes } from "../probe/index.ts";
import type { DeviceState } from "./device-state.ts";
import { type Asked, type Job, noEndpoints } from "./job.ts";
import type { OffloadParts } from "./parts.ts";
import type { Planner } from "./planner.ts";

/** Measures link speeds and endpoint loads besides requests. */
export interface Probing extends Disposable {
  /** Updates the beliefs from recent observations, soon and not while a request waits. */
  upkeep(): void;
  /** Writes the results of link probes so far into the tables that the next plan reads. */
  settle(nowMs: number): void;
  /** Probes links that were not used for a while and could pay, after a request that was answered or cannot be answered in time. */
  tryLinks(job: Asked, plan: Plan, tally: Tally): void;
  /** Whether links are tried after a request that is refused now, which takes a plan: see `LinkProbes`. */
  triesRefused(nowMs: number): boolean;
  /** Whether asking endpoints how busy they are is of use: others send there, too. */
  crowded(nowMs: number): boolean;
  /** Polls the load of the endpoints that were next best in a decision. */
  askLoads(plan: Plan): void;
  /** Before a decision: waits for load reports that are worth it, of endpoints that other clients use, too. */
  news(job: Job, plan: Planner): Promise<void> | undefined;
}

/** Starts without a probe. */
export function createProbing(
  parts: OffloadParts,
  clock: Clock,
  endpoints: Pick<EndpointStates, "all" | "links" | "tables">,
  { arrivals }: DeviceState,
): Probing {
  const upkeep = linkUpkeep(clock, endpoints);
  const links = linkProbes(parts, endpoints.tables, upkeep.news);
  const loads = loadProbes(parts, endpoints, parts.upkeep?.loadProbesPerRequest ?? 3);
  let stopped = false;
  return {
    settle(nowMs) {
      // A probe train for this request may still be on its way. Its results so far count.
      for (const endpoint of links.news(nowMs)) endpoint.link.refresh(nowMs);
    },
    crowded: (nowMs) => loads.useful(nowMs),
    upkeep: upkeep.news,
    tryLinks(job, plan, { lostLegs: lost }) {
      if (stopped || endpoints.all.size === 0 || plan.objective === "energy") return;
      const nowMs = clock.nowMs();
      const due = (atMs: number): ProbeDue => arrivals.probeDueMs(atMs);
      const dueAtMs = nowMs + arrivals.soonestMs(nowMs);
      links.consider({ known: job.known, features: job.held.features, plan, lost, dueAtMs, due }, nowMs);
    },
    triesRefused: (nowMs) => links.refused(nowMs),
    askLoads(plan) {
      if (!stopped && plan.objective !== "energy") loads.consider(plan, clock.nowMs());
    },
    news(job, makePlan) {
      const nowMs = clock.nowMs();
      if (stopped || job.frame || !loads.useful(nowMs) || job.limits.objective === "energy") return undefined;
      if (job.sequence?.resident !== undefined) return undefined;
      const plan = makePlan(job, job.held, noEndpoints, nowMs);
      return isInfeasible(plan) ? undefined : loads.before(plan, nowMs);
    },
    [Symbol.dispose]() {
      stopped = true;
      links[Symbol.dispose]();
      loads[Symbol.dispose]();
      upkeep[Symbol.dispose]();
    },
  };
}
