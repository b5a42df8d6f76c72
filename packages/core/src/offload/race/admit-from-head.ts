import { type EndpointId, LongshoreError } from "../../words/base/index.ts";
import { type Segment, startCut } from "../../words/model/index.ts";
import { type Infeasible, isInfeasible, isRuled, type Plan } from "../../decide/plan/index.ts";
import type { HeldCrossing } from "../steps/index.ts";
import { awaited, mayJoin } from "./awaited.ts";
import { type Job, noEndpoints } from "./job.ts";
import { lastResort, lateAtDoubtful, refusedNow } from "./last-resort.ts";
import type { Loop } from "./loop.ts";

/** Grants without keeping anything. */
const open: Disposable = { [Symbol.dispose]: () => undefined };

/** The error for a request that was let in unjudged: one that only the time is too short for may come again. */
export function refusal(...refused: Parameters<typeof refusedNow>): LongshoreError {
  const [loop, , , , plan, nowMs] = refused;
  if (plan.filter !== "deadline") return refusedNow(...refused);
  const retryAfterMs = Math.max(1, Math.ceil(loop.device.work.queueMs(nowMs)));
  return new LongshoreError("rejected", "admission", plan.because, { retryAfterMs });
}

/** The plan for a request by current knowledge. If no endpoint is healthy, it uses paused ones. */
export function outlook(
  loop: Loop,
  job: Job,
  nowMs: number,
  exclude: ReadonlySet<EndpointId> = noEndpoints,
  evenLate = false,
): Plan | Infeasible {
  const plan = loop.plan(job, job.held, exclude, nowMs, evenLate ? { evenLate } : undefined);
  if (!isInfeasible(plan)) return plan;
  return (
    lateAtDoubtful(loop, job, job.held, exclude, plan, nowMs) ??
    lastResort(loop, job, job.held, exclude, nowMs) ??
    plan
  );
}

/**
 * Judges a request by its headers. It is refused if no endpoint would be left for it even without its bytes: by rules, rights, health, or
 * time. If the plan runs it here, this endpoint decides on admission, and its grant is kept; if it refuses, another endpoint may still be
 * open. Nothing is known of a model before its first request, which is therefore admitted.
 *
 * Throws `rejected` with `retryAfterMs` if only time is short, otherwise the error of the plan or of this endpoint.
 */
export function admitFromHead(
  loop: Loop,
  job: Omit<Job, "held">,
  segment: Segment,
  leastAgreementRatio: number | undefined,
): Disposable {
  const { local, clock } = loop;
  const variant = segment.from === startCut || segment.variant === "" ? undefined : segment.variant;
  const held: HeldCrossing = {
    cut: segment.from,
    variant,
    features: { bytes: 0 },
    bytes: 0,
    tensors: new Map(),
  };
  const nowMs = clock.nowMs();
  const plan = outlook(loop, { ...job, held }, nowMs);
  // It waits for those until its deadline.
  const waits = (one: Infeasible): boolean =>
    one.filter !== "deadline" && awaited(loop, job, noEndpoints, isRuled(one)).length > 0;
  if (isInfeasible(plan) && waits(plan)) return open;
  if (isInfeasible(plan) && mayJoin(loop, job, plan)) return open;
  if (isInfeasible(plan)) throw refusal(loop, { ...job, held }, held, noEndpoints, plan, nowMs);
  const [leg] = plan.legs;
  // A variant that the plan chose is not part of the request, so admission here must not see it.
  const here =
    leg?.endpoint === local?.info.id && leg?.segment.to === job.to && leg.segment.variant === segment.variant;
  if (!local?.capabilities.admit || !here) return open;
  try {
    return local.capabilities.admit(segment, job.call, leastAgreementRatio);
  } catch (thrown) {
    const elsewhere = loop.plan({ ...job, held }, held, new Set([local.info.id]), nowMs);
    if (isInfeasible(elsewhere)) throw thrown;
    return open;
  }
}
