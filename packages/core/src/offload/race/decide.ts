import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import { type Segment, segmentKey, startCut } from "../../words/model/index.ts";
import { firstWaits, overloaded, type PartFilter } from "../endpoints/index.ts";
import {
  type FirstWaits,
  type Infeasible,
  isInfeasible,
  type Leg,
  type Plan,
} from "../../decide/plan/index.ts";
import { savedMs } from "../frames/index.ts";
import type { Tally } from "../account/index.ts";
import { type HeldCrossing, hasArrived } from "../steps/index.ts";
import { refusal } from "./admit-from-head.ts";
import type { Asked, Job, Plannable } from "./job.ts";
import { lastResort, lateAtDoubtful, refusedNow } from "./last-resort.ts";
import { isForwardedWhole } from "./leg-request.ts";
import type { Loop, LoopBeliefs, LoopSetting } from "./loop.ts";

/** The most plans of one request, unless the caller sets another limit. */
export const defaultPlans = 6;

/** Whether a plan needs no input here: all are here, or each of its legs sends on what is still arriving. */
export function awaitsNoInput(
  { local }: LoopSetting,
  held: HeldCrossing,
  { to }: Asked,
  { legs }: Plan,
): boolean {
  if (hasArrived(held)) return true;
  return legs.every((leg) => leg.endpoint !== local?.info.id && isForwardedWhole(held, to, leg));
}

/** A plan, made and written down; from the start again when nothing can go on from a later crossing. */
export function decide(
  loop: Loop,
  job: Job,
  held: HeldCrossing,
  exclude: ReadonlySet<EndpointId>,
  broke: LongshoreError | undefined,
  tally: Tally,
): Plan {
  const nowMs = loop.clock.nowMs();
  if (job.frame && tally.plans.length === 0) loop.frames.payback.passed(job.known.description.name);
  // A request that is planned again must not count as load for itself.
  if (tally.charged) job.traffic?.release(tally.charged, tally.accounts);
  let outcome = fromWhere(loop, job, held, exclude, nowMs);
  if (isInfeasible(outcome) && broke && !overloaded.has(broke.reason))
    outcome = fromWhere(loop, job, held, exclude, nowMs, true);
  if (isInfeasible(outcome) && !broke) outcome = doubted(loop, job, held, exclude, outcome, nowMs);
  if (isInfeasible(outcome) && job.beside?.onlyWell !== true)
    outcome = lastResort(loop, job, held, exclude, nowMs) ?? outcome;
  if (isInfeasible(outcome)) {
    if (outcome.filter === "deadline" && loop.probing.triesRefused(nowMs)) {
      // The belief about the links would keep out the following requests, too. They are tried as if this one had been admitted.
      const late = fromWhere(loop, job, held, exclude, nowMs, true);
      if (!isInfeasible(late)) loop.probing.tryLinks(job, late, tally);
    }
    // The last endpoint's error is more useful than the fact that no other endpoint is left.
    throw broke ?? (job.unjudged === true ? refusal : refusedNow)(loop, job, held, exclude, outcome, nowMs);
  }
  made(loop, job, outcome, tally, nowMs);
  tally.charged = job.traffic?.charge(outcome, nowMs, loop.device.work.queueMs(nowMs));
  const first = firstOf(outcome);
  job.note?.({ kind: "planned", atMs: nowMs, ...(first ? { endpoint: first.endpoint } : {}) });
  return outcome;
}

/**
 * Plans a request that is refused only because every endpoint is predicted to be late, at endpoints that failed recently: the belief since
 * may be wrong, and only a request can show that they recovered. It is paid from the budget of retries.
 */
function doubted(
  loop: Loop,
  job: Job,
  held: HeldCrossing,
  exclude: ReadonlySet<EndpointId>,
  outcome: Infeasible,
  nowMs: number,
): Plan | Infeasible {
  const late = lateAtDoubtful(loop, job, held, exclude, outcome, nowMs);
  return late && loop.retrying.budget.take(nowMs) ? late : outcome;
}

/**
 * Makes a plan that starts at the same crossing as another and runs beside it, because a leg of that one is late or `lost` and has no
 * back-up. Undefined if no endpoint is left besides `without`; for a leg that is only late, if no healthy one is left. `rounds` of retries
 * have begun.
 */
export function furtherLegs(
  loop: Loop,
  job: Job,
  held: HeldCrossing,
  without: ReadonlySet<EndpointId>,
  tally: Tally,
  { lost, rounds }: { readonly lost: boolean; readonly rounds: number },
): Plan | undefined {
  const { maxPlans = defaultPlans } = loop.parts;
  if (tally.plans.length >= maxPlans * (1 + rounds)) return undefined;
  const nowMs = loop.clock.nowMs();
  let plan: Plan | Infeasible | undefined = planned(loop, job, held, without, nowMs);
  if (isInfeasible(plan) && lost) {
    plan = planned(loop, job, held, without, nowMs, true);
    if (isInfeasible(plan)) plan = lastResort(loop, job, held, without, nowMs);
  }
  if (!plan || isInfeasible(plan) || plan.from !== held.cut) return undefined;
  if (!awaitsNoInput(loop, held, job, plan)) return undefined;
  made(loop, job, plan, tally, nowMs);
  return plan;
}

const firstOf = ({ legs }: Plan): Leg | undefined => legs.find((leg) => leg.id === "remote") ?? legs[0];

function made({ parts }: LoopSetting, { call }: Asked, plan: Plan, tally: Tally, nowMs: number): void {
  tally.plans.push(plan);
  const first = firstOf(plan);
  parts.observer.record({
    kind: "plan-made",
    atMs: nowMs,
    callId: call.id,
    model: plan.model,
    candidates: plan.candidates,
    endpoint: first?.endpoint ?? "",
    cut: first?.segment.from ?? startCut,
    predictedMs: meanOf(plan.predicted.completionMs),
  });
}

/** The best plan from the furthest crossing that is here, else from the start. */
function fromWhere(
  loop: Loop,
  job: Plannable,
  held: HeldCrossing,
  ...rest: [exclude: ReadonlySet<EndpointId>, nowMs: number, evenLate?: boolean]
): Plan | Infeasible {
  const plan = planned(loop, job, held, ...rest);
  if (!isInfeasible(plan) || held.cut === job.held.cut) return plan;
  const { here, whole } = job.known;
  // If steps use models of other endpoints, a plan that only reaches a point without a way on would do so again.
  return planned(loop, here && !whole ? { ...job, whole: true } : job, job.held, ...rest);
}

/**
 * The best plan. If it would have to fetch a part, or to load one on this device while the whole model is loaded (for a frame: to load one
 * anywhere), the best plan without that is used, and the part is fetched or loaded meanwhile. From a crossing that is on its way nothing
 * new is loaded, since a later frame may begin with it. For frames a part is loaded once that pays. If there is no other plan, the best one
 * waits.
 *
 * The first look leaves out what has to be loaded or connected before, so that a part that would be the best once it is loaded gets loaded. If
 * the best plan has to wait for that, the plans are compared once more with these waits in their predictions.
 */
function planned(
  loop: Loop,
  job: Plannable,
  held: HeldCrossing,
  exclude: ReadonlySet<EndpointId>,
  nowMs: number,
  evenLate?: boolean,
): Plan | Infeasible {
  const { warmth } = loop.device;
  let worth = warmth.wanted;
  let best = loop.plan(job, held, exclude, nowMs, worth || evenLate ? { only: worth, evenLate } : undefined);
  if (worth && isInfeasible(best)) {
    worth = undefined;
    best = loop.plan(job, held, exclude, nowMs, { evenLate });
  }
  if (isInfeasible(best)) return best;
  const now = job.frame ? warmth.ready : held.cut === job.held.cut ? warmth.loaded : warmth.here;
  const first = firstWaitsOf(loop, job, held, nowMs);
  const owes = best.legs.some((leg) => waitsFirst(loop, first, leg));
  // Most requests wait for nothing.
  if (!owes && !now) return best;
  return plannedWithWaits(loop, job, held, exclude, nowMs, { best, worth, now, first, owes, evenLate });
}

/** The best plan where something may have to be loaded or connected first; see `planned`. */
function plannedWithWaits(
  loop: Loop,
  job: Plannable,
  held: HeldCrossing,
  exclude: ReadonlySet<EndpointId>,
  nowMs: number,
  {
    best,
    worth,
    now,
    first,
    owes,
    evenLate,
  }: {
    /** The best plan without waits, of the parts that are `worth` it. */
    readonly best: Plan;
    readonly worth: PartFilter | undefined;
    /** The parts that need no loading. */
    readonly now: PartFilter | undefined;
    readonly first: FirstWaits;
    /** Whether a leg of the best plan has to wait. */
    readonly owes: boolean;
    readonly evenLate: boolean | undefined;
  },
): Plan | Infeasible {
  const { warmth } = loop.device;
  const atStart = held.cut === job.held.cut;
  const charged = owes ? first : undefined;
  const planWith = (only: PartFilter | undefined, tried = evenLate): Plan | Infeasible =>
    loop.plan(job, held, exclude, nowMs, { only, first: charged, evenLate: tried });
  /** The best plan as it is predicted with its waits. They alone keep no request from being tried. */
  const honest = (): Plan | Infeasible => {
    if (!charged) return best;
    const plan = planWith(worth);
    return isInfeasible(plan) ? planWith(worth, true) : plan;
  };
  // A run here that takes over from a late leg would itself be too late if its part had to be loaded first.
  const standsBy = ({ endpoint, takes, segment }: Leg): boolean =>
    !job.frame &&
    takes !== "request" &&
    endpoint === loop.local?.info.id &&
    warmth.here?.(endpoint, segment) !== false;
  const loads = ({ endpoint, segment }: Leg): boolean => loadMs(loop, first, endpoint, segment) > 0;
  const cold = best.legs.filter(
    (leg) => (begins(leg) || standsBy(leg)) && now?.(leg.endpoint, leg.segment) === false,
  );
  if (cold.length === 0) {
    const plan = honest();
    if (owes && !job.frame && atStart && !isInfeasible(plan))
      loadAhead(
        loop,
        job,
        best.legs.filter((leg) => begins(leg) && loads(leg)),
        plan,
      );
    return plan;
  }
  // If a head is loaded here, the part that follows it elsewhere may be loaded, too.
  const asked = job.frame ? cold : best.legs.filter((leg) => cold.includes(leg) || begins(leg));
  const able = planWith(now);
  const shared = atStart && job.frame && !isInfeasible(able);
  const notYet = shared ? waits(loop, best.model, asked, savedMs(job.traffic, best, able, nowMs)) : undefined;
  if (atStart && notYet === undefined)
    for (const { endpoint, segment } of asked) warmth.prepare(endpoint, segment, job.call.tenant);
  if (isInfeasible(able)) return honest();
  return notYet ? { ...able, because: `${able.because}; ${notYet}` } : able;
}

/** Whether a leg runs unless another one fails. */
const begins = ({ starts }: Leg): boolean => starts.some(({ on }) => on === "begin" || on === "done");

/** The waits of first runs, for a request that holds a crossing. */
export function firstWaitsOf(
  loop: LoopSetting & LoopBeliefs,
  { known }: Asked,
  held: HeldCrossing,
  nowMs: number,
): FirstWaits {
  const { device, endpoints, local } = loop;
  return firstWaits({
    known,
    warmth: device.warmth,
    endpoints: endpoints.all,
    localId: local?.info.id,
    bytes: held.bytes,
    stream: known.description.decoupled === true,
    nowMs,
  });
}

/** Whether a leg that runs, or guards one that is late, would wait for a load or on its connection. */
function waitsFirst(loop: LoopSetting, first: FirstWaits, { endpoint, segment, starts }: Leg): boolean {
  if (starts.every(({ on }) => on === "failed")) return false;
  if (loadMs(loop, first, endpoint, segment) > 0) return true;
  if (endpoint === loop.local?.info.id) return false;
  const { connectMs, slowStartMs } = first.connection(endpoint);
  return connectMs + slowStartMs > 0;
}

function loadMs(loop: LoopSetting, first: FirstWaits, endpoint: EndpointId, segment: Segment): number {
  return first.loadMs(endpoint === loop.local?.info.id ? undefined : endpoint, segment);
}

/** Has parts loaded that would be the best ones and that `plan` does without: the next requests can have them. */
function loadAhead({ device }: LoopBeliefs, { call }: Asked, parts: readonly Leg[], { legs }: Plan): void {
  const used = (part: Leg): boolean =>
    legs.some(
      (leg) =>
        begins(leg) && leg.endpoint === part.endpoint && segmentKey(leg.segment) === segmentKey(part.segment),
    );
  for (const part of parts) if (!used(part)) device.warmth.prepare(part.endpoint, part.segment, call.tenant);
}

/** Why the part that the best plan of a frame needs is not loaded while another plan will do: loading delays all frames. */
function waits(loop: Loop, model: string, asked: readonly Leg[], saved: number): string | undefined {
  const { warmth } = loop.device;
  const busy = asked.find(({ endpoint }) => warmth.loads(endpoint));
  if (busy) return `${busy.endpoint} is loading what may be better`;
  const part = asked.map(({ endpoint, segment }) => `${segmentKey(segment)} at ${endpoint}`).join(" with ");
  const loadMs = asked.reduce((sum, { endpoint, segment }) => sum + warmth.loadMs(endpoint, segment), 0);
  return loop.frames.payback.notYet(model, part, saved, loadMs);
}
