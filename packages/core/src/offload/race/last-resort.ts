import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import { leftAlone } from "../endpoints/index.ts";
import { type Infeasible, isInfeasible, type Plan } from "../../decide/plan/index.ts";
import type { Held } from "../steps/index.ts";
import { pausesOf, refused } from "./refused.ts";
import type { Job } from "./job.ts";
import type { Loop } from "./loop.ts";

/**
 * A plan at one of up to four endpoints that are paused for failures, the one that answered last first, for a request that nothing
 * else can answer. It does not matter how they failed: a pause is a guess about when to ask again, and without another endpoint
 * only a request finds out that it is too long.
 */
export function lastResort(
  loop: Loop,
  job: Job,
  held: Held,
  exclude: ReadonlySet<EndpointId>,
  nowMs: number,
): Plan | undefined {
  const { endpoints } = loop;
  const asked = leftAlone(endpoints.all, exclude).filter((id) => {
    return job.known.offersBy.has(id) && endpoints.all.get(id)?.health.mayBeAsked(nowMs) === true;
  });
  const failingMs = asked.length > 0 ? endpoints.failingMs(job.known, job.call.tenant, nowMs) : undefined;
  for (const proving of asked.filter((id) => failingMs?.(id) !== Infinity).slice(0, 4)) {
    for (const from of new Set([held, job.held])) {
      // It failed since its last answer: that it is expected to be late is no reason not to ask it.
      const plan = loop.plan({ ...job, proving, evenLate: true }, from, exclude, nowMs);
      if (!isInfeasible(plan)) return plan;
    }
  }
  return undefined;
}

/**
 * A plan at endpoints that failed lately, for a request that is refused only because all are predicted to be late; undefined where there
 * is none. Whoever follows it pays for it out of the budget of retries.
 */
export function lateAtDoubtful(
  loop: Loop,
  job: Job,
  held: Held,
  exclude: ReadonlySet<EndpointId>,
  { filter }: Infeasible,
  nowMs: number,
): Plan | undefined {
  if (filter !== "deadline" || job.beside) return undefined;
  const { all } = loop.endpoints;
  const doubtful = (id: EndpointId): boolean => all.get(id)?.doubtful(nowMs) === true;
  if (![...job.known.offersBy.keys()].some(doubtful)) return undefined;
  const well = [...all.keys()].filter((id) => !doubtful(id));
  // What this device takes is known: where it is too late, it is.
  const here = loop.local ? [loop.local.info.id] : [];
  const without = new Set([...exclude, ...well, ...here]);
  for (const from of new Set([held, job.held])) {
    const plan = loop.plan({ ...job, evenLate: true }, from, without, nowMs);
    if (!isInfeasible(plan)) return plan;
  }
  return undefined;
}

/** Pauses that are looked at for one refusal, where a plan is made for each. */
const mostTried = 4;

/**
 * The error for a request that no endpoint is left for. Where one of those that are paused would take it, the error is retryable and says
 * when the first pause is over, whatever kept the others out: of two servers one may be busy and the other in a forbidden zone.
 */
export function refusedNow(
  loop: Loop,
  job: Job,
  held: Held,
  exclude: ReadonlySet<EndpointId>,
  plan: Infeasible,
  nowMs: number,
): LongshoreError {
  const pauses = pausesOf(loop.endpoints, job, nowMs).filter(({ id }) => !exclude.has(id));
  const takes = ({ id }: { readonly id: EndpointId }): boolean =>
    !isInfeasible(loop.plan({ ...job, proving: id }, held, exclude, nowMs));
  // A deadline that is too short now is too short later, as far as is known.
  const first =
    plan.filter === "unavailable"
      ? pauses[0]
      : plan.filter === "deadline"
        ? undefined
        : pauses.slice(0, mostTried).find(takes);
  return refused(plan, first?.leftMs);
}
