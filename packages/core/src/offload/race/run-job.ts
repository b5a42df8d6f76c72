import {
  checkFresh,
  type EndpointId,
  LongshoreError,
  ownCall,
  type Reason,
  untilEnded,
} from "../../words/base/index.ts";
import type { InferenceResponse } from "../../wire/endpoint/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { Leg, Plan } from "../../decide/plan/index.ts";
import { arrived, type HeldCrossing, hasArrived, isUnrepeatable } from "../steps/index.ts";
import type { RaceEnd } from "./race-end.ts";
import { awaited } from "./awaited.ts";
import { planProgressOf } from "./plan-progress.ts";
import { awaitsNoInput, decide, defaultPlans } from "./decide.ts";
import { type Asked, type Job, noEndpoints, type Plannable } from "./job.ts";
import { legRequest } from "./leg-request.ts";
import { disowned, ranOf } from "../endpoints/index.ts";
import { learnLocal, tallyLocal } from "./learn.ts";
import type { Loop, LoopBeliefs, LoopSetting } from "./loop.ts";
import { race } from "./race.ts";
import type { Round } from "./retries.ts";
import { nextRound, retriesOf } from "./next-round.ts";
import { runConfirmed } from "./run-confirmed.ts";
import { isDenied, isNotNamedYet } from "./refused.ts";
import { affords, charge, holdFor, neverRan, overLimit } from "./charge.ts";
import { recordBegin, recordEnd } from "./running.ts";
import { bookTry, newTally, type Planned, Purse, type Tally } from "../account/index.ts";
import { lostSequence, type SequenceStep } from "../sequence/index.ts";
import { releaseTensors } from "../../words/tensor/index.ts";
import { runSecondOpinion } from "./second-opinion.ts";
import type { Outcome } from "./outcome.ts";

/** How often a request waits for news of servers behind other endpoints: without a deadline it must not wait for ever. */
const mostLooksBehind = 16;

/** Answers one request, by one endpoint or, if required, by two that must agree. */
export function runJob(loop: Loop, given: Job): Promise<Outcome> {
  const job = withPurse(given);
  const beganMs = loop.clock.nowMs();
  checkFresh(job.call, beganMs);
  loop.device.arrivals.seen(beganMs);
  loop.retrying.budget.requested();
  const outcome = loop.probing.news(job, loop.plan)?.then(() => answered(loop, job)) ?? answered(loop, job);
  return job.sequence?.resident === undefined ? outcome : toldIfLost(outcome, job, job.sequence);
}

/** The endpoint of the state no longer knows a sequence that it answered before, and no copy helped: the caller made no mistake. */
function toldIfLost(
  outcome: Promise<Outcome>,
  { known }: Asked,
  { id, resident }: SequenceStep,
): Promise<Outcome> {
  return outcome.catch((thrown: unknown) => {
    if (!LongshoreError.is(thrown) || thrown.reason !== "sequence-unknown") throw thrown;
    const why = `${resident} held it and does not know it any more, since it was restarted or the sequence idled for too long`;
    throw lostSequence(known.description.name, { id }, why);
  });
}

/** Refusals of a step by an endpoint that is well, but has not the state. */
const withoutState: ReadonlySet<Reason> = new Set<Reason>([
  "sequence-unknown",
  "sequence-step",
  "sequence-lost",
]);

function answered(loop: Loop, job: Job): Promise<Outcome> {
  return job.confirm ? runConfirmed(loop, job, runPlans) : runPlans(loop, job, noEndpoints, newTally());
}

/** The job with a purse for its limit on cost, shared by all of its runs. */
export function withPurse(job: Job): Job {
  const { maxCostMicros } = job.limits;
  return maxCostMicros === undefined || job.purse ? job : { ...job, purse: new Purse(maxCostMicros) };
}

/** Follows plans until one leads to an answer. The records of the endpoints tried receive the outcome. */
function runPlans(loop: Loop, job: Job, without: ReadonlySet<EndpointId>, tally: Tally): Promise<Outcome> {
  return bookTry(loop, job.call, tally, (planned) => followPlans(loop, job, without, tally, planned));
}

/**
 * Plans and follows the plan. Plans again if more is known (after a head here) or if the plan failed (from the furthest crossing that is
 * here, without the failed endpoints). Throws the last error when no endpoint is left. Nothing is awaited before the first plan is in the
 * tally.
 */
async function followPlans(
  loop: Loop,
  job: Job,
  without: ReadonlySet<EndpointId>,
  tally: Tally,
  planned: Planned,
): Promise<Outcome> {
  const { maxPlans = defaultPlans } = loop.parts;
  const again = retriesOf(loop, job);
  let { held } = job;
  let first = held;
  let exclude = without;
  let failed = noEndpoints;
  let broke: LongshoreError | undefined;
  let renewed: LongshoreError | undefined;
  /** Endpoints were polled again because rules exclude every known endpoint. */
  let askedAgain = false;
  let lookedBehind = 0;
  /** Another run elsewhere is paid for. */
  let paid = false;
  let { known, sequence } = job;
  // Plans that were added beside one do not count: their results are as good as those of the first.
  for (let plans = 1; ; plans++) {
    const now: Job = sequence === job.sequence && known === job.known ? job : { ...job, known, sequence };
    let plan: Plan;
    try {
      plan = decide(loop, now, held, exclude, broke, tally);
    } catch (thrown) {
      // Once for each failure: the same content is known by several names, none of which is the newest.
      let newer = broke && broke !== renewed ? await loop.knowledge.newer(known, job.call) : undefined;
      // If one endpoint no longer has the model, one that has not answered yet may have it.
      if (!newer && (!broke || disowned(broke, false)))
        newer = await loop.knowledge.more(
          known,
          job.call,
          awaited(loop, now, exclude, !broke && isNotNamedYet(thrown) && lookedBehind++ < mostLooksBehind),
          !broke && isNotNamedYet(thrown) && loop.endpoints.membership.settling,
        );
      if (!newer && !broke && !askedAgain && isDenied(thrown)) {
        askedAgain = true;
        newer = await loop.knowledge.polledAgain(known, job.call);
      }
      renewed = broke;
      const left: Round | undefined =
        broke && !newer && !isUnrepeatable(held) ? await nextRound(loop, again, failed, paid) : undefined;
      if (newer) {
        known = newer;
        plans--;
      } else if (left) {
        failed = left.without;
        paid = left.paid;
        exclude = new Set([...without, ...failed]);
        plans = 0;
      } else {
        if (paid) loop.retrying.budget.back();
        throw thrown;
      }
      continue;
    }
    planned(plan, broke !== undefined);
    if (plan.from !== held.cut) held = first;
    if (!awaitsNoInput(loop, held, job, plan)) first = held = await arrived(held, job.call);
    const single = onlyHere(loop, plan, job);
    const following = single
      ? runHere(loop, now, held, plan, single, tally)
      : race(loop, now, held, planProgressOf(plan, exclude, again), tally);
    // Polled after the request itself is sent, since it would wait for these messages. Paid once for a request, however often it is
    // planned.
    if (plans === 1) loop.probing.askLoads(plan);
    let end: RaceEnd;
    try {
      end = await following;
    } catch (thrown) {
      // The next request may be in time, and hears of the links that this one waited for.
      if (LongshoreError.is(thrown) && thrown.reason === "deadline-exceeded")
        afterwards(loop, job, plan, tally);
      throw thrown;
    }
    if (end.kind === "answered") {
      if (job.traffic && tally.charged) job.traffic.answered(tally.charged, tally.accounts);
      afterwards(loop, job, plan, tally);
      if (!job.confirm || loop.health.checks?.awaiting) runSecondOpinion(loop, now, held, end);
      // Results of heads here have one reader only. State may share its memory, and so may the inputs of the request.
      const crossed = held.cut !== job.held.cut && hasArrived(job.held) && !sequence;
      const own = crossed && tally.lostLegs.length === 0 && end.leg.takes === "request";
      if (own && end.response.forgotInputs)
        releaseTensors(held.tensors, job.held.tensors, loop.memory.release);
      return { response: end.response, leg: end.leg, plan: end.plan, tally };
    }
    if (plans >= maxPlans) {
      throw end.kind === "failed"
        ? end.error
        : new LongshoreError("no-endpoint", "plan", `${tally.plans.length} plans did not lead to an answer`);
    }
    ({ held } = end);
    const besides = job.beside?.taken() ?? noEndpoints;
    if (end.kind === "crossing") {
      if (besides.size > 0) exclude = new Set([...exclude, ...besides]);
      continue;
    }
    broke = end.error;
    paid = loop.retrying.budget.take(loop.clock.nowMs());
    failed = new Set([...failed, ...end.failed.map((one) => one.endpoint)]);
    // Without budget for another run elsewhere, only this endpoint is left.
    exclude = new Set([...exclude, ...besides, ...(paid ? failed : loop.endpoints.all.keys())]);
    forgetRefused(loop, now, end.failed);
    if (sequence && withoutState.has(broke.reason)) {
      // The endpoint is well, but has not this state any more: with a copy it can go on, there or elsewhere.
      const { resident } = sequence;
      sequence = { ...sequence, resident: undefined };
      const stays = (id: EndpointId): boolean => id !== resident;
      [exclude, failed] = [new Set([...exclude].filter(stays)), new Set([...failed].filter(stays))];
    }
  }
}

/** Records what a request taught, and probes links for the next one. */
function afterwards(loop: Loop, job: Asked, plan: Plan, tally: Tally): void {
  loop.deferred.add(() => {
    loop.probing.upkeep();
    loop.probing.tryLinks(job, plan, tally);
  });
}

/** The one leg of a plan that runs everything here in one go; then nothing has to be raced. */
function onlyHere(loop: LoopSetting, plan: Plan, job: Asked): Leg | undefined {
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
  held: HeldCrossing,
  plan: Plan,
  leg: Leg,
  tally: Tally,
): Promise<RaceEnd> {
  const { local, clock, device } = loop;
  const { work } = device;
  if (!local) throw new LongshoreError("no-endpoint", "plan", "nothing runs models here");
  const { call, note, known } = job;
  const startedMs = clock.nowMs();
  if (!affords(job, leg)) throw overLimit(job, leg);
  const hold = holdFor(job, leg);
  const expectedMs = leg.holdsMs ?? meanOf(leg.predicted.completionMs);
  const run = work.beginInTurn(expectedMs, startedMs, call.deadlineMs);
  tally.ranHere = true;
  job.beside?.begins(leg.endpoint);
  recordBegin(loop, call.id, leg, "begin");
  note?.({ kind: "started", leg: leg.id, endpoint: leg.endpoint, atMs: startedMs });
  try {
    const own = hold ? Object.assign(ownCall(call), { maxCostMicros: hold.mostMicros }) : call;
    const begin = (): Promise<InferenceResponse> =>
      local.infer(legRequest(job, leg, held.tensors, local, true), own);
    const answer = run.turn ? run.turn.then(begin) : begin();
    const response = await untilEnded(answer, call, clock, "execute");
    run.ended();
    const nowMs = clock.nowMs();
    tally.accounts.push(response.account);
    tallyLocal(loop, job, tally, response.account);
    charge(loop, job, leg.endpoint, response.account.costMicros, hold, tally);
    learnLocal(known, leg, response.account, held.features, nowMs);
    loop.device.warmth.ran(leg.endpoint, leg.segment);
    recordEnd(loop, call.id, { leg, startedMs }, "won", nowMs);
    note?.({ kind: "answered", leg: leg.id, endpoint: leg.endpoint, atMs: nowMs });
    return { kind: "answered", leg, response, plan };
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "execute", `running ${plan.model} here`);
    const nowMs = clock.nowMs();
    recordEnd(loop, call.id, { leg, startedMs }, error.reason, nowMs);
    // An abandoned run goes on, and costs what was predicted.
    charge(loop, job, leg.endpoint, neverRan(error) ? 0 : leg.predicted.costMicros, hold, tally);
    if (call.abort.aborted || nowMs >= call.deadlineMs) {
      run.dropped(nowMs);
      throw error;
    }
    run.ended();
    tally.lostLegs.push({ leg: leg.id, endpoint: leg.endpoint, why: `${error.reason}: ${error.message}` });
    note?.({ kind: "failed", leg: leg.id, endpoint: leg.endpoint, atMs: nowMs });
    if (error.reason === "invalid-input" || error.reason === "invalid-media") throw error;
    return { kind: "failed", error, failed: [{ endpoint: leg.endpoint, error }], held };
  }
}

/** Endpoints that refuse what they offered are not used for it again until they offer it again. */
export function forgetRefused(
  loop: LoopSetting & LoopBeliefs,
  { call, known, whole }: Plannable,
  failed: readonly { readonly endpoint: EndpointId; readonly error: LongshoreError }[],
): void {
  const own = whole !== true && call.tenant === (loop.parts.defaults?.tenant ?? "local");
  for (const { endpoint, error } of failed) {
    if (disowned(error, own)) loop.knowledge.refused(ranOf(known.description), endpoint);
  }
}
