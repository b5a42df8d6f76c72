import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import { segmentKey, startCut } from "../../words/model/index.ts";
import { overloaded } from "../endpoints/index.ts";
import { type Infeasible, isInfeasible, type Leg, type Plan } from "../../decide/plan/index.ts";
import { savedMs } from "../frames/index.ts";
import type { Tally } from "../account/index.ts";
import type { Held } from "../steps/index.ts";
import { refusal } from "./door.ts";
import type { Job } from "./job.ts";
import { lastResort, lateAtDoubtful, refusedNow } from "./last-resort.ts";
import { sentOn } from "./leg-request.ts";
import type { Loop } from "./loop.ts";

/** Plans of one request, unless its maker says otherwise. */
export const defaultPlans = 6;

/** Whether a leg takes the request while it is still on its way. */
export function sendsOn({ local }: Loop, held: Held, { to }: Job, leg: Leg): boolean {
  return leg.endpoint !== local?.info.id && sentOn(held, to, leg);
}

/** A plan, made and written down; from the start again when nothing can go on from a later crossing. */
export function decide(
  loop: Loop,
  job: Job,
  held: Held,
  exclude: ReadonlySet<EndpointId>,
  broke: LongshoreError | undefined,
  tally: Tally,
): Plan {
  const nowMs = loop.clock.nowMs();
  if (job.frame && tally.plans.length === 0) loop.payback.passed(job.known.description.name);
  // What is planned again does not stand in its own way.
  if (tally.charged) job.traffic?.release(tally.charged, tally.accounts);
  let outcome = fromWhere(loop, job, held, exclude, nowMs);
  const tried = broke && !overloaded.has(broke.reason) ? { ...job, evenLate: true } : job;
  if (isInfeasible(outcome) && tried.evenLate) outcome = fromWhere(loop, tried, held, exclude, nowMs);
  if (isInfeasible(outcome) && !broke) outcome = doubted(loop, job, held, exclude, outcome, nowMs);
  if (isInfeasible(outcome) && job.beside?.onlyWell !== true)
    outcome = lastResort(loop, tried, held, exclude, nowMs) ?? outcome;
  if (isInfeasible(outcome)) {
    if (outcome.filter === "deadline" && loop.triesRefused(nowMs)) {
      // What is believed of the links would keep out those that follow, too: they are tried as if this one had been let in.
      const late = fromWhere(loop, { ...job, evenLate: true }, held, exclude, nowMs);
      if (!isInfeasible(late)) loop.tryLinks(job, late, tally);
    }
    // What the last endpoint said is more use than that no other one is left.
    throw broke ?? (job.unjudged === true ? refusal : refusedNow)(loop, job, held, exclude, outcome, nowMs);
  }
  made(loop, job, outcome, tally, nowMs);
  tally.charged = job.traffic?.charge(outcome, nowMs, loop.work.queueMs(nowMs));
  const first = firstOf(outcome);
  job.note?.({ kind: "planned", atMs: nowMs, ...(first ? { endpoint: first.endpoint } : {}) });
  return outcome;
}

/**
 * A plan for a request that is refused only because every endpoint is predicted to be late, at endpoints that failed lately: what is believed
 * of them since may be wrong, and nothing but a request shows that they are well again. It comes out of the budget of retries.
 */
function doubted(
  loop: Loop,
  job: Job,
  held: Held,
  exclude: ReadonlySet<EndpointId>,
  outcome: Infeasible,
  nowMs: number,
): Plan | Infeasible {
  const late = lateAtDoubtful(loop, job, held, exclude, outcome, nowMs);
  return late && loop.retries.take(nowMs) ? late : outcome;
}

/**
 * A plan that begins where another one does and is followed beside it, because what that one began is late or `lost` and leads nowhere
 * else. Undefined where nobody is left besides `without`; where it is only late, nobody who is not well.
 */
export function further(
  loop: Loop,
  job: Job,
  held: Held,
  without: ReadonlySet<EndpointId>,
  tally: Tally,
  lost: boolean,
): Plan | undefined {
  const { maxPlans = defaultPlans } = loop.parts;
  if (tally.plans.length >= maxPlans * (1 + (job.again?.rounds ?? 0))) return undefined;
  const nowMs = loop.clock.nowMs();
  let plan: Plan | Infeasible | undefined = planned(loop, job, held, without, nowMs);
  if (isInfeasible(plan) && lost) {
    const tried = { ...job, evenLate: true };
    plan = planned(loop, tried, held, without, nowMs);
    if (isInfeasible(plan)) plan = lastResort(loop, tried, held, without, nowMs);
  }
  if (!plan || isInfeasible(plan) || plan.from !== held.cut) return undefined;
  if (held.arriving && !plan.legs.every((leg) => sendsOn(loop, held, job, leg))) return undefined;
  made(loop, job, plan, tally, nowMs);
  return plan;
}

const firstOf = ({ legs }: Plan): Leg | undefined => legs.find((leg) => leg.id === "remote") ?? legs[0];

function made({ parts }: Loop, { call }: Job, plan: Plan, tally: Tally, nowMs: number): void {
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
  job: Job,
  held: Held,
  ...rest: [ReadonlySet<EndpointId>, number]
): Plan | Infeasible {
  const plan = planned(loop, job, held, ...rest);
  if (!isInfeasible(plan) || held.cut === job.held.cut) return plan;
  const { here, whole } = job.known;
  // Where models of others are steps of it, what leads to where nothing goes on would only lead there again.
  return planned(loop, here && !whole ? { ...job, whole: true } : job, job.held, ...rest);
}

/**
 * The best plan; where it would have to fetch something, or load it here while the whole model is (of a frame: load it anywhere),
 * the best of those that need not, while what the best one needs is being fetched or loaded. From a crossing that is on its way,
 * nothing new is loaded: a frame that comes later may begin with it. What a frame need not wait for is loaded once that pays. When there
 * is nothing else to go on with, the best one waits.
 */
function planned(
  loop: Loop,
  job: Job,
  held: Held,
  exclude: ReadonlySet<EndpointId>,
  nowMs: number,
): Plan | Infeasible {
  const { warmth } = loop;
  let best = loop.plan(job, held, exclude, nowMs, warmth.wanted);
  if (warmth.wanted && isInfeasible(best)) best = loop.plan(job, held, exclude, nowMs);
  const atStart = held.cut === job.held.cut;
  const now = job.frame ? warmth.ready : atStart ? warmth.loaded : warmth.here;
  if (!now || isInfeasible(best)) return best;
  const begins = ({ starts }: Leg): boolean => starts.some(({ on }) => on === "begin" || on === "done");
  // What goes on here from where a head ended when the rest is late would come too late if it had to be loaded first.
  const standsBy = ({ endpoint, takes, segment }: Leg): boolean =>
    !job.frame &&
    takes !== "request" &&
    endpoint === loop.local?.info.id &&
    warmth.here?.(endpoint, segment) !== false;
  const cold = best.legs.filter((leg) => (begins(leg) || standsBy(leg)) && !now(leg.endpoint, leg.segment));
  if (cold.length === 0) return best;
  // Where a head is loaded here, what follows it elsewhere may be, too.
  const asked = job.frame ? cold : best.legs.filter((leg) => cold.includes(leg) || begins(leg));
  const able = loop.plan(job, held, exclude, nowMs, now);
  const shared = atStart && job.frame && !isInfeasible(able);
  const notYet = shared ? waits(loop, best.model, asked, savedMs(job.traffic, best, able, nowMs)) : undefined;
  if (atStart && notYet === undefined)
    for (const { endpoint, segment } of asked) warmth.prepare(endpoint, segment, job.call.tenant);
  if (isInfeasible(able)) return best;
  return notYet ? { ...able, because: `${able.because}; ${notYet}` } : able;
}

/** Why what the best plan of a frame needs is not loaded while another one will do: it costs what all frames share. */
function waits(loop: Loop, model: string, asked: readonly Leg[], saved: number): string | undefined {
  const { warmth, payback } = loop;
  const busy = asked.find(({ endpoint }) => warmth.loads(endpoint));
  if (busy) return `${busy.endpoint} is loading what may be better`;
  const part = asked.map(({ endpoint, segment }) => `${segmentKey(segment)} at ${endpoint}`).join(" with ");
  const loadMs = asked.reduce((sum, { endpoint, segment }) => sum + warmth.loadMs(endpoint, segment), 0);
  return payback.notYet(model, part, saved, loadMs);
}
