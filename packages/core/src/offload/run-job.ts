import { checkFresh, type EndpointId, LongshoreError, untilEnded } from "../base/index.ts";
import type { InferenceResponse } from "../endpoint/index.ts";
import { meanOf } from "../estimate/index.ts";
import { startCut } from "../model/index.ts";
import { type Infeasible, isInfeasible, type Leg, noPlace, type Plan } from "../plan/index.ts";
import { arrived, type Held, type Job, nobody } from "./job.ts";
import { refusal } from "./door.ts";
import { legRequest, sentOn } from "./leg-request.ts";
import { disowned, leftAlone, overloaded, ranOf } from "../places/index.ts";
import { learnLocal, tallyLocal } from "./learn.ts";
import type { Loop } from "./loop.ts";
import { race, type RaceEnd } from "./race.ts";
import { runConfirmed } from "./run-confirmed.ts";
import { recordEnd } from "./running.ts";
import { newTally, type Tally } from "../stream/index.ts";
import { releaseTensors } from "../tensor/index.ts";
import { witness } from "./witness.ts";

/** How one request was answered. */
export interface Outcome {
  readonly response: InferenceResponse;
  readonly leg: Leg;
  readonly plan: Plan;
  readonly tally: Tally;
  /** Who gave the same answer, where that was demanded and it was not made here. */
  readonly confirmedBy?: EndpointId;
}

/** Answers one request, by one place or, where that is demanded, by two that say the same. */
export function runJob(loop: Loop, job: Job): Promise<Outcome> {
  const beganMs = loop.clock.nowMs();
  checkFresh(job.call, beganMs);
  loop.arrivals.seen(beganMs);
  loop.retries.asked();
  const run = (): Promise<Outcome> =>
    job.confirm ? runConfirmed(loop, job, runPlans) : runPlans(loop, job, nobody, newTally());
  return loop.news(job)?.then(run) ?? run();
}

/**
 * Plans, follows the plan, plans anew where more is known (after a head here) or where a plan failed (from the furthest
 * crossing that is here, without the places that failed). Throws when no place is left, with the error of the last one.
 * Nothing is waited for before the first plan is in the tally.
 */
async function runPlans(
  loop: Loop,
  job: Job,
  without: ReadonlySet<EndpointId>,
  tally: Tally,
): Promise<Outcome> {
  const { maxPlans = 6 } = loop.parts;
  let { held } = job;
  let first = held;
  let exclude = without;
  let broke: LongshoreError | undefined;
  let sequence = job.sequence;
  for (;;) {
    const now: Job = sequence === job.sequence ? job : { ...job, sequence };
    const plan = decide(loop, now, held, exclude, broke, tally);
    if (plan.from !== held.cut) held = first;
    if (held.arriving && !plan.legs.every((leg) => sendsOn(loop, held, job, leg))) {
      first = held = await arrived(held, held.arriving, job.call);
    }
    const single = onlyHere(loop, plan, job);
    const end = single
      ? await runHere(loop, now, held, plan, single, tally)
      : await race(loop, now, held, plan, tally);
    noteExtraRuns(loop, plan, tally);
    if (end.kind === "answered") {
      if (job.traffic && tally.charged) job.traffic.answered(tally.charged, tally.accounts);
      loop.upkeep();
      loop.tryLinks(job, plan);
      if (!job.confirm || loop.checks?.awaiting) witness(loop, now, held, end);
      // What heads here made for one reader only; state may share its memory, and so may what the request brought.
      const crossed = held.cut !== job.held.cut && !job.held.arriving && !sequence;
      const own = crossed && tally.lostLegs.length === 0 && end.leg.takes === "request";
      if (own && end.response.forgotInputs) releaseTensors(held.tensors, job.held.tensors, loop.release);
      return { response: end.response, leg: end.leg, plan, tally };
    }
    if (tally.plans.length >= maxPlans) {
      throw end.kind === "failed"
        ? end.error
        : new LongshoreError("no-place", "plan", `${tally.plans.length} plans did not lead to an answer`);
    }
    ({ held } = end);
    if (end.kind === "crossing") continue;
    broke = end.error;
    const spent = !loop.retries.take(loop.clock.nowMs());
    // Without means for another run elsewhere, what is left is this place.
    exclude = new Set([
      ...exclude,
      ...(job.beside?.taken() ?? nobody),
      ...(spent ? loop.places.all.keys() : end.failed.map((one) => one.endpoint)),
    ]);
    forgetRefused(loop, now, end.failed);
    if (sequence && (broke.reason === "sequence-unknown" || broke.reason === "sequence-step")) {
      // The place is well, but has not this state any more: with a copy it can go on, there or elsewhere.
      const { resident } = sequence;
      sequence = { ...sequence, resident: undefined };
      exclude = new Set([...exclude].filter((id) => id !== resident));
    }
  }
}

/** Whether a leg takes the request while it is still on its way. */
function sendsOn({ local }: Loop, held: Held, { to }: Job, leg: Leg): boolean {
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
  // What is planned anew does not stand in its own way.
  if (tally.charged) job.traffic?.release(tally.charged, tally.accounts);
  let outcome = fromWhere(loop, job, held, exclude, nowMs);
  const tried = broke && !overloaded.has(broke.reason) ? { ...job, evenLate: true } : job;
  if (isInfeasible(outcome) && tried.evenLate) outcome = fromWhere(loop, tried, held, exclude, nowMs);
  if (isInfeasible(outcome) && job.beside?.onlyWell !== true)
    outcome = lastResort(loop, tried, held, exclude, nowMs) ?? outcome;
  if (isInfeasible(outcome)) {
    // What the last place said is more use than that no other one is left.
    throw broke ?? (job.unjudged === true ? refusal(loop, outcome, nowMs) : noPlace(outcome));
  }
  tally.plans.push(outcome);
  tally.charged = job.traffic?.charge(outcome, nowMs);
  const { call, note } = job;
  const first = outcome.legs.find((leg) => leg.id === "remote") ?? outcome.legs[0];
  loop.parts.observer.record({
    kind: "plan-made",
    atMs: nowMs,
    callId: call.id,
    model: outcome.model,
    candidates: outcome.candidates,
    endpoint: first?.endpoint ?? "",
    cut: first?.segment.from ?? startCut,
    predictedMs: meanOf(outcome.predicted.completionMs),
  });
  // Each request pays for some questions, however often it is planned.
  if (tally.plans.length === 1) loop.askLoads(outcome);
  note?.({ kind: "planned", atMs: nowMs, ...(first ? { endpoint: first.endpoint } : {}) });
  return outcome;
}

/**
 * A plan at one of the four places that answered last of those that are left alone for their silence alone, for a request that
 * nothing else can answer: where everything is slow, silence says little.
 */
function lastResort(
  loop: Loop,
  job: Job,
  held: Held,
  exclude: ReadonlySet<EndpointId>,
  nowMs: number,
): Plan | undefined {
  const { places } = loop;
  const silent = leftAlone(places.all, exclude).filter((id) => {
    const health = places.all.get(id)?.health;
    return health?.silent === true && nowMs < health.pausedUntilMs && job.known.offersBy.has(id);
  });
  const failingMs = silent.length > 0 ? places.failingMs(job.known, nowMs) : undefined;
  for (const proving of silent.filter((id) => failingMs?.(id) !== Infinity).slice(0, 4)) {
    for (const from of new Set([held, job.held])) {
      const plan = loop.plan({ ...job, proving }, from, exclude, nowMs);
      if (!isInfeasible(plan)) return plan;
    }
  }
  return undefined;
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
 * the best of those that need not, while what the best one needs is being fetched or loaded. From a crossing that is on its way, nothing new is loaded: a frame that comes
 * later may begin with it. When there is nothing else to go on with, the best one waits.
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
  if (atStart) for (const { endpoint, segment } of asked) warmth.prepare(endpoint, segment, job.call.tenant);
  const able = loop.plan(job, held, exclude, nowMs, now);
  return isInfeasible(able) ? best : able;
}

/** The one leg of a plan that runs everything here in one go; then nothing has to be raced. */
function onlyHere(loop: Loop, plan: Plan, job: Job): Leg | undefined {
  const [leg] = plan.legs;
  if (!leg || leg.endpoint !== loop.local?.info.id || leg.segment.to !== job.to) return undefined;
  return leg;
}

/**
 * The lean path: one leg, here. No race, no guard, no child call; the deadline and the abort of the call still end it at
 * once, and its slot stays charged when they do.
 */
async function runHere(
  loop: Loop,
  job: Job,
  held: Held,
  plan: Plan,
  leg: Leg,
  tally: Tally,
): Promise<RaceEnd> {
  const { local, clock, work, parts } = loop;
  if (!local) throw new LongshoreError("no-place", "plan", "nothing runs models here");
  const { call, note, known } = job;
  const startedMs = clock.nowMs();
  const run = work.begin(leg.holdsMs ?? meanOf(leg.predicted.completionMs), startedMs);
  const about = { callId: call.id, leg: leg.id, endpoint: leg.endpoint };
  job.beside?.begins(leg.endpoint);
  parts.observer.record({ kind: "leg-started", atMs: startedMs, trigger: "begin", ...about });
  note?.({ kind: "started", leg: leg.id, endpoint: leg.endpoint, atMs: startedMs });
  try {
    const answer = local.infer(legRequest(job, leg, held.tensors, local, true), call);
    const response = await untilEnded(answer, call, clock, "execute");
    run.ended();
    const nowMs = clock.nowMs();
    tally.accounts.push(response.account);
    tallyLocal(loop, tally, response.account);
    learnLocal(known, leg, response.account, held.features, nowMs);
    loop.warmth.ran(leg.endpoint, leg.segment);
    recordEnd(loop, call.id, { leg, startedMs }, "won", nowMs);
    note?.({ kind: "answered", leg: leg.id, endpoint: leg.endpoint, atMs: nowMs });
    return { kind: "answered", leg, response };
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "execute", `running ${plan.model} here`);
    const nowMs = clock.nowMs();
    recordEnd(loop, call.id, { leg, startedMs }, error.reason, nowMs);
    if (call.abort.aborted || nowMs >= call.deadlineMs) throw error;
    run.ended();
    tally.lostLegs.push({ leg: leg.id, endpoint: leg.endpoint, why: `${error.reason}: ${error.message}` });
    note?.({ kind: "failed", leg: leg.id, endpoint: leg.endpoint, atMs: nowMs });
    if (error.reason === "invalid-input" || error.reason === "invalid-media") throw error;
    return { kind: "failed", error, failed: [{ endpoint: leg.endpoint, error }], held };
  }
}

/** The hedge budget of a place learns from every request that could have run twice. */
function noteExtraRuns(loop: Loop, plan: Plan, tally: Tally): void {
  for (const leg of plan.legs) {
    for (const trigger of leg.starts) {
      if (trigger.on !== "late") continue;
      const watched = plan.legs.find((one) => one.id === trigger.leg);
      const place = watched ? loop.places.all.get(watched.endpoint) : undefined;
      place?.budget.note({ extraRun: tally.extraRun, late: false });
    }
  }
  tally.extraRun = false;
}

/** Places that do not serve what they offered are not asked for it again until they offer it anew. */
export function forgetRefused(
  loop: Loop,
  { call, known, whole }: Job,
  failed: readonly { readonly endpoint: EndpointId; readonly error: LongshoreError }[],
): void {
  const own = whole !== true && call.tenant === (loop.parts.defaults?.tenant ?? "local");
  for (const { endpoint, error } of failed) {
    if (disowned(error, own)) loop.knowledge.refused(ranOf(known.description), endpoint);
  }
}
