import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import { pausedEndpoints } from "../endpoints/index.ts";
import { type Infeasible, isInfeasible, isRuled, type Plan } from "../../decide/plan/index.ts";
import type { HeldCrossing } from "../steps/index.ts";
import { awaited, mayJoin } from "./awaited.ts";
import { awaitingOffers, notNamedYet, notReachedYet, pausesOf, refused } from "./refused.ts";
import type { Job, Plannable } from "./job.ts";
import type { Loop } from "./loop.ts";

/**
 * A plan at one of up to four endpoints that are paused for failures, the one that answered last first, for a request without other
 * endpoints. The kind of failure does not matter: a pause is a guess, and without another endpoint only a request can show that it is too
 * long.
 */
export function lastResort(
  loop: Loop,
  job: Plannable,
  held: HeldCrossing,
  exclude: ReadonlySet<EndpointId>,
  nowMs: number,
): Plan | undefined {
  const { endpoints } = loop;
  const asked = pausedEndpoints(endpoints.all, exclude).filter((id) => {
    return job.known.offersBy.has(id) && endpoints.all.get(id)?.health.mayBeAsked(nowMs) === true;
  });
  const failingMs =
    asked.length > 0 ? endpoints.runs.failingMs(job.known, job.call.tenant, nowMs) : undefined;
  for (const proving of asked.filter((id) => failingMs?.(id) !== Infinity).slice(0, 4)) {
    for (const from of new Set([held, job.held])) {
      // It failed after its last answer, so its predicted lateness is no reason against a try.
      const plan = loop.plan(job, from, exclude, nowMs, { proving, evenLate: true });
      if (!isInfeasible(plan)) return plan;
    }
  }
  return undefined;
}

/**
 * A plan at endpoints that failed recently, for a request that is refused only because all are predicted to be late; undefined if there is
 * none. Following it is paid from the budget of retries.
 */
export function lateAtDoubtful(
  loop: Loop,
  job: Job,
  held: HeldCrossing,
  exclude: ReadonlySet<EndpointId>,
  { filter }: Infeasible,
  nowMs: number,
): Plan | undefined {
  if (filter !== "deadline" || job.beside) return undefined;
  const { all } = loop.endpoints;
  const doubtful = (id: EndpointId): boolean => all.get(id)?.reading.doubtful(nowMs) === true;
  if (![...job.known.offersBy.keys()].some(doubtful)) return undefined;
  const well = [...all.keys()].filter((id) => !doubtful(id));
  // The speed of this device is known: if it is too late, it stays out.
  const here = loop.local ? [loop.local.info.id] : [];
  const without = new Set([...exclude, ...well, ...here]);
  for (const from of new Set([held, job.held])) {
    const plan = loop.plan(job, from, without, nowMs, { evenLate: true });
    if (!isInfeasible(plan)) return plan;
  }
  return undefined;
}

/** The most paused endpoints considered for one refusal, since each takes a plan. */
const mostTried = 4;

/**
 * The error for a request without endpoints. If one of the paused endpoints would take it, the error is retryable and tells when the first
 * pause ends, whatever keeps the others out: of two servers one may be paused and the other in a forbidden zone.
 */
export function refusedNow(
  loop: Loop,
  job: Plannable,
  held: HeldCrossing,
  exclude: ReadonlySet<EndpointId>,
  plan: Infeasible,
  nowMs: number,
): LongshoreError {
  const pauses = pausesOf(loop.endpoints, job, nowMs).filter(({ id }) => !exclude.has(id));
  const takes = ({ id }: { readonly id: EndpointId }): boolean =>
    !isInfeasible(loop.plan(job, held, exclude, nowMs, { proving: id }));
  // A deadline that is too short now is too short later, as far as is known.
  const first =
    plan.filter === "unavailable"
      ? pauses[0]
      : plan.filter === "deadline"
        ? undefined
        : pauses.slice(0, mostTried).find(takes);
  const may = first || plan.filter === "deadline" ? [] : awaited(loop, job, exclude, false);
  if (may.length > 0) return awaitingOffers(plan, may);
  const lacking = first || !isRuled(plan) ? [] : awaited(loop, job, exclude, true);
  if (lacking.length > 0) return notReachedYet(plan, lacking);
  return !first && mayJoin(loop, job, plan) ? notNamedYet(plan) : refused(plan, first?.leftMs);
}
