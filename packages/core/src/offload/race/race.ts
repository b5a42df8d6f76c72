import {
  type EndpointId,
  abortError,
  atDeadline,
  childCall,
  deadlinePassed,
  LongshoreError,
  whenAborted,
} from "../../words/base/index.ts";
import { type InferenceResponse, isArriving, untilRead } from "../../wire/endpoint/index.ts";
import { isThrifty } from "../../decide/goal/index.ts";
import {
  latestOf,
  type Leg,
  type LegId,
  numbered,
  type Plan,
  type Trigger,
} from "../../decide/plan/index.ts";
import { backUpOf, beginning, endsPlan, type PlanProgress, waitedFor } from "./plan-progress.ts";
import {
  checkCrossing,
  crossingAfter,
  type HeldCrossing,
  heldAt,
  inputsOf,
  isUnrepeatable,
  isWaiting,
} from "../steps/index.ts";
import { mostWaitAt } from "./most-wait.ts";
import { overtaken, type RaceEnd, type Settling } from "./race-end.ts";
import { furtherLegs } from "./decide.ts";
import { type Job, noEndpoints } from "./job.ts";
import { learnItems } from "./learn.ts";
import { legCall, legRequest } from "./leg-request.ts";
import type { Loop } from "./loop.ts";
import { countPredicted } from "./carbon.ts";
import { affordableMs, affords, charge, holdFor, lostMicros, neverRan, overLimit } from "./charge.ts";
import { final, hadTooMuch, type EndpointState, endpointFor, noteConnection } from "../endpoints/index.ts";
import { guardAlone, type GuardTimes, isFarSlower } from "./guard-times.ts";
import { type GuardParts, guardWatch } from "./guard-watch.ts";
import type { ProgressNote } from "../offloader/index.ts";
import {
  acknowledgedBytes,
  beginLeg,
  bookAnswer,
  bookBroken,
  bookLoss,
  checkBelieved,
  endFailedLeg,
  endLeg,
  progressOf,
  recordBegin,
  recordEnd,
  recordLate,
  tallyUnanswered,
  timesFor,
} from "./running.ts";
import type { Running } from "./running-leg.ts";
import type { Tally } from "../account/index.ts";
import { isPassing } from "./retries.ts";

/**
 * Follows one plan: starts legs on their triggers, takes the first answer, cancels the rest, and reports the outcome. It settles exactly
 * once, whatever the legs do afterwards.
 *
 * A leg that waits for another to fail does not start while a third one is still on its way to the answer. It starts when that one has
 * failed too, or is late. Every leg elsewhere has a guard. If the plan has no back-up for a lost leg, because other endpoints were paused
 * when it was made or have failed since, an endpoint that is available by then runs beside it.
 */
export function race(
  loop: Loop,
  job: Job,
  held: HeldCrossing,
  progress: PlanProgress,
  tally: Tally,
): Promise<RaceEnd> {
  return new Promise((resolve, reject) =>
    new Race(loop, job, held, progress, tally, { resolve, reject }).begin(),
  );
}

class Race {
  readonly #loop: Loop;
  readonly #job: Job;
  readonly #held: HeldCrossing;
  readonly #tally: Tally;
  readonly #settling: Settling;
  readonly #running = new Map<LegId, Running>();
  readonly #progress: PlanProgress;
  #deadline: Disposable | undefined;
  #stopListening: (() => void) | undefined;
  #settled = false;

  constructor(
    loop: Loop,
    job: Job,
    held: HeldCrossing,
    progress: PlanProgress,
    tally: Tally,
    settling: Settling,
  ) {
    this.#loop = loop;
    this.#job = job;
    this.#held = held;
    this.#progress = progress;
    this.#tally = tally;
    this.#settling = settling;
  }

  begin(): void {
    const { call } = this.#job;
    if (call.abort.aborted) {
      this.#stop(abortError(call.abort, "plan"));
      return;
    }
    this.#stopListening = whenAborted(call.abort, () => this.#stop(abortError(call.abort, "execute")));
    this.#deadline = atDeadline(this.#loop.clock, call.deadlineMs, () => {
      const under = [...new Set([...this.#running.values()].map(({ leg }) => leg.endpoint))].join(", ");
      const what = `no answer of ${this.#progress.plan.model} came before the deadline; under way: ${under}`;
      this.#stop(new LongshoreError("deadline-exceeded", "execute", what));
    });
    for (const leg of beginning(this.#progress.plan.legs)) this.#start(leg, "begin");
  }

  #start(leg: Leg, on: Trigger["on"]): void {
    if (this.#settled || this.#progress.started.has(leg.id)) return;
    this.#progress.started.add(leg.id);
    const { clock, local, endpoints, self, memory } = this.#loop;
    const { call } = this.#job;
    const here = this.#isHere(leg);
    if (isUnrepeatable(this.#held)) {
      // Not the endpoint's fault: the body was passed on and is no longer here.
      const gone = `a second run at ${leg.endpoint} is not possible: the request was sent on once and is not kept here`;
      const last = [...this.#progress.failed.values()].at(-1)?.error;
      return this.#fail(leg, last ?? new LongshoreError("no-endpoint", "execute", gone));
    }
    const endpointState = here ? undefined : endpointFor(leg.endpoint, this.#job.known, endpoints.all);
    const endpoint = here ? local : endpointState?.endpoint;
    if (!endpoint) {
      this.#fail(leg, new LongshoreError("unreachable", "plan", `${leg.endpoint} is not known any more`));
      return;
    }
    if (!affords(this.#job, leg)) {
      return this.#fail(leg, overLimit(this.#job, leg));
    }
    const hold = holdFor(this.#job, leg);
    const waits = isWaiting(this.#held);
    const bounded = on === "begin" && !waits && this.#tally.lostLegs.length === 0 && endpoints.all.size > 1;
    const mostWaitMs =
      endpointState && bounded ? mostWaitAt(endpointState, leg, this.#held, clock.nowMs()) : undefined;
    const child = childCall(
      call,
      {
        ...(here ? {} : legCall(self, this.#job, leg, mostWaitMs)),
        ...(hold ? { maxCostMicros: hold.mostMicros } : {}),
      },
      memory.controllers,
    );
    if (endpointState) noteConnection(endpointState, leg.predicted.sentBytes, clock.nowMs());
    const running = beginLeg(this.#loop, leg, endpointState, child, {
      waits,
      mostWaitMs,
      inTurn: on === "begin",
      hold,
    });
    if (here) this.#tally.ranHere = true;
    const lastMs = hold && endpointState ? affordableMs(endpoint, hold, leg) : Infinity;
    if (lastMs < Infinity) {
      const error = overLimit(this.#job, leg);
      running.ends = clock.timer(lastMs, () => running.cancel(error));
    }
    this.#job.beside?.begins(leg.endpoint);
    this.#running.set(leg.id, running);
    recordBegin(this.#loop, call.id, leg, on);
    this.#note("started", leg);
    let run: Promise<InferenceResponse>;
    let wanted: readonly string[] | undefined;
    try {
      const { plan, outputs } = this.#progress;
      const inputs = inputsOf(leg, plan, outputs, this.#job.known, this.#held, local?.info.id);
      const request = legRequest(this.#job, leg, inputs, endpoint, here);
      wanted = request.outputs;
      const progress = here
        ? undefined
        : progressOf(running, (bytes) => this.#acknowledgedBytes(running, bytes));
      const turn = running.work?.turn;
      run = turn
        ? turn.then(() => endpoint.infer(request, child.call, progress))
        : endpoint.infer(request, child.call, progress);
    } catch (thrown) {
      run = Promise.reject(LongshoreError.from(thrown, "execute", `starting ${leg.id} at ${leg.endpoint}`));
    }
    run.then(
      (response) => {
        const given = untilRead(response, () => child[Symbol.dispose]());
        this.#ended(running, given, wanted);
      },
      (thrown: unknown) => {
        child[Symbol.dispose]();
        this.#broke(running, LongshoreError.from(thrown, "execute", `running ${leg.id} at ${leg.endpoint}`));
      },
    );
    this.#watch(running);
  }

  /** Arms the guards that wait for this leg to be late. */
  #watch(running: Running): void {
    const { leg, endpoint: endpointState } = running;
    if (!endpointState || this.#settled || !this.#running.has(leg.id)) return;
    const { local, endpoints, clock } = this.#loop;
    const { beside, call, limits } = this.#job;
    const hurries = !isThrifty(limits.objective);
    const backUp = backUpOf(leg, this.#progress);
    if (backUp) {
      const times = timesFor(leg, backUp, this.#progress.plan, this.#loop);
      this.#guard(running, endpointState, hurries && latestOf(backUp, leg) !== undefined, times);
    }
    const alone = endpoints.all.size < 2 && !local;
    if (running.watch || (alone && !this.#progress.again)) return;
    // The plan has no second run that is only quicker; two opinions are to come soon.
    const soon = hurries && beside !== undefined;
    this.#guard(
      running,
      endpointState,
      soon,
      guardAlone(leg, endpointState.tries.books.prices(clock.nowMs()), soon, call.deadlineMs - clock.nowMs()),
    );
  }

  #late(running: Running, because: Parameters<GuardParts["fire"]>[0]): boolean {
    const silent =
      running.heardBytes === 0 && (running.endpoint?.record.answeredAtMs ?? 0) < running.startedMs;
    if (because === "silent" || because === "overdue")
      this.#progress.again?.silent(running.leg.endpoint, because === "overdue" && !silent);
    const begun = this.#instead(running, because !== "late");
    recordLate(this.#loop, this.#job.call.id, running, because, begun);
    return begun;
  }

  /** Starts the back-up of a leg, or another endpoint if that would add nothing. Returns whether one started. */
  #instead(running: Running, lost: boolean): boolean {
    const { leg, endpoint: endpointState } = running;
    const { beside } = this.#job;
    // A second run would wait for the same bytes, or has none.
    if (isWaiting(this.#held) || isUnrepeatable(this.#held)) return false;
    const { retrying, clock } = this.#loop;
    const planned = backUpOf(leg, this.#progress);
    const backUp = planned && beside?.taken().has(planned.endpoint) !== true ? planned : undefined;
    const paid = backUp ? this.#affords(backUp) : retrying.budget.take(clock.nowMs());
    let begun: readonly Leg[] = [];
    if (!paid) {
      if (lost) begun = this.#sameAgain(running);
      if (begun.length === 0) return false;
    } else if (backUp) begun = [backUp];
    else if (!beside) begun = this.#furtherLegs(lost);
    if (begun.length === 0 && beside?.late(lost, () => void this.#again(leg.id)) !== true) {
      retrying.budget.back();
      return false;
    }
    this.#note("late", leg);
    for (const one of begun) this.#start(one, "late");
    if (begun.length > 0 && !begun.some(({ id }) => this.#running.has(id))) {
      // Nothing started: another try may come a little later, unless this was the end.
      if (paid && begun.some((one) => !this.#isHere(one))) retrying.budget.back();
      return this.#settled;
    }
    if (!lost && endpointState) this.#tally.spent = [...(this.#tally.spent ?? []), endpointState.tries.books];
    this.#progress.givenUp = new Set([...this.#progress.givenUp, leg.id]);
    return true;
  }

  /** Legs at other available endpoints, which begin beside those under way; empty if there are none. */
  #furtherLegs(lost: boolean): readonly Leg[] {
    const without = new Set(this.#progress.exclude);
    for (const { leg } of this.#running.values()) without.add(leg.endpoint);
    for (const { endpoint, error } of this.#progress.failed.values()) {
      if (!hadTooMuch(error)) without.add(endpoint);
    }
    const asks = (): Plan | undefined => this.#planned(without, lost);
    let plan = asks();
    if (!plan && lost) {
      // No other endpoint is left. One that failed the request a while ago may be well by now, and at a silent one this try may be lost. The one
      // that failed it least comes first: another may fail it time after time.
      const { again } = this.#progress;
      const failures = (id: EndpointId): number =>
        [...this.#progress.failed.values()].filter(({ endpoint }) => endpoint === id).length;
      const waiting = [...(again?.begin() ?? noEndpoints)].sort(
        (one, other) => failures(one) - failures(other),
      );
      while (!plan && waiting.length > 0) {
        without.delete(waiting.shift() as EndpointId);
        plan = asks();
      }
      again?.keep(waiting);
    }
    return plan ? this.#added(plan) : [];
  }

  /**
   * Sends a lost request to its endpoint once more, if that has answered a later one: then its answer is lost, and the request need not wait
   * for the budget. Others may have used that up at endpoints that fail.
   */
  #sameAgain({ leg, endpoint, startedMs }: Running): readonly Leg[] {
    const { endpoints, local } = this.#loop;
    const { again, exclude } = this.#progress;
    if (!again || !endpoint || endpoint.record.newestBeganMs <= startedMs) return [];
    if (exclude.has(leg.endpoint) || !again.beginUnpaid(leg.endpoint)) return [];
    const without = new Set([...endpoints.all.keys(), ...(local ? [local.info.id] : [])]);
    without.delete(leg.endpoint);
    const plan = this.#planned(without, true);
    if (plan) return this.#added(plan);
    again.keep([leg.endpoint]);
    return [];
  }

  #planned(without: ReadonlySet<EndpointId>, lost: boolean): Plan | undefined {
    const rounds = this.#progress.again?.rounds ?? 0;
    return furtherLegs(this.#loop, this.#job, this.#held, without, this.#tally, { lost, rounds });
  }

  /** Adds the legs of a further plan. Returns those that begin at once. */
  #added(plan: Plan): readonly Leg[] {
    const legs = numbered(plan.legs, this.#tally.plans.length);
    this.#progress.plan = { ...this.#progress.plan, legs: [...this.#progress.plan.legs, ...legs] };
    return beginning(legs);
  }

  /** Reports that a run in place of a leg gave nothing. Returns whether another one started. */
  #again(id: LegId): boolean {
    return !this.#settled && this.#running.get(id)?.watch?.again() === true;
  }

  #guard(running: Running, endpointState: EndpointState, hurries: boolean, times: GuardTimes): void {
    const { leg, aloneMs, usualMs } = running;
    const waits = (): boolean => {
      const still = isWaiting(this.#held);
      if (!still) running.beganMs ??= this.#loop.clock.nowMs();
      return still;
    };
    const fire: GuardParts["fire"] = (because) => this.#late(running, because);
    const { clock } = this.#loop;
    const { call } = this.#job;
    const way = (): Running["way"] => running.way;
    const parts = {
      clock,
      endpoint: endpointState,
      leg,
      call,
      hurries,
      times,
      aloneMs,
      usualMs,
      way,
      waits,
      fire,
    };
    running.watch = guardWatch(parts);
  }

  #acknowledgedBytes(running: Running, bytes: number): void {
    if (this.#settled || bytes <= running.heardBytes) return;
    acknowledgedBytes(this.#loop, running, bytes);
    this.#note("sent", running.leg, bytes);
    running.watch?.acknowledged(bytes);
  }

  #ended(running: Running, response: InferenceResponse, wanted: readonly string[] | undefined): void {
    const { leg, endpoint: endpointState } = running;
    const { known } = this.#job;
    running.work?.ended();
    if (this.#settled) return;
    try {
      // The endpoint has checked the outputs of an answer that is still arriving.
      if (!isArriving(response))
        checkCrossing(this.#job, leg.segment, response.outputs, wanted, leg.endpoint);
      checkBelieved(running);
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "decode", `reading the answer of ${leg.endpoint}`);
      if (isArriving(response)) running.cancel(error);
      return this.#broke(running, error);
    }
    const nowMs = this.#loop.clock.nowMs();
    this.#over(running, "won", nowMs);
    bookAnswer(this.#loop, this.#job, this.#held, running, response, this.#tally, nowMs);
    if (leg.segment.to === this.#job.to) {
      this.#note("answered", leg);
      this.#settle(overtaken);
      this.#settling.resolve({ kind: "answered", leg, response, plan: this.#progress.plan });
      return;
    }
    this.#progress.outputs = new Map([...this.#progress.outputs, [leg.id, response.outputs]]);
    if (endsPlan(leg, endpointState !== undefined, this.#progress, [...this.#running.values()])) {
      const { outputs: given } = response;
      const crossing = endpointState
        ? crossingAfter(leg, given, this.#progress.outputs, known, this.#held)
        : given;
      const held = heldAt(leg, crossing, this.#held.features);
      if (this.#held.features.items === undefined) learnItems(known, held.features);
      this.#settle("");
      this.#settling.resolve({ kind: "crossing", held });
      return;
    }
    for (const next of this.#progress.plan.legs) {
      if (next.starts.some((one) => one.on === "done" && one.leg === leg.id)) this.#start(next, "done");
    }
  }

  #broke(running: Running, error: LongshoreError): void {
    // A run here that was cancelled goes on until it ends: its slot is not free yet.
    if (this.#settled || !this.#running.has(running.leg.id)) return;
    running.work?.ended();
    const nowMs = this.#loop.clock.nowMs();
    const { leg } = running;
    const { call } = this.#job;
    this.#over(running, error.reason, nowMs);
    charge(this.#loop, this.#job, leg.endpoint, lostMicros(running, nowMs, error), running.hold, this.#tally);
    if (running.endpoint && !neverRan(error)) countPredicted(this.#loop, this.#job, leg, this.#tally);
    if (call.abort.aborted || nowMs >= call.deadlineMs) {
      this.#stop(call.abort.aborted ? abortError(call.abort, "execute") : deadlinePassed(error));
      return;
    }
    const outrun = bookBroken(this.#loop, running, call, error, nowMs);
    if (hadTooMuch(error)) this.#job.beside?.refused(leg.endpoint);
    const { reason, message } = error;
    this.#tally.lostLegs.push({ leg: leg.id, endpoint: leg.endpoint, why: `${reason}: ${message}` });
    this.#note("failed", leg);
    if (outrun && this.#running.size === 0) {
      // Nothing failed: a new plan uses what is known now.
      this.#settle("");
      this.#settling.resolve({ kind: "crossing", held: this.#held });
    } else this.#fail(leg, error);
  }

  /**
   * Continues after a failed leg: with the leg that waits for that, or with those under way, and with another beside them if they are
   * unhealthy.
   */
  #fail(leg: Leg, error: LongshoreError): void {
    this.#progress.failed = new Map([...this.#progress.failed, [leg.id, { endpoint: leg.endpoint, error }]]);
    if (!isPassing(error)) this.#dropEarlier(leg, error);
    if (this.#settled) return;
    if (!this.#isHere(leg)) this.#progress.again?.failed(leg.endpoint, error);
    if (final(error)) {
      this.#stop(error);
      return;
    }
    const others = [...this.#running.values()];
    const hurries = hadTooMuch(error) && !isThrifty(this.#job.limits.objective);
    // One failure starts one new leg, at once if the endpoints under way are known to fail or are far slower than the one that refused.
    others.some(
      (other) =>
        (other.endpoint?.health.failing === true && this.#late(other, "failing")) ||
        (hurries && isFarSlower(other.leg, leg) && other.watch?.sooner() === true) ||
        this.#again(other.leg.id),
    );
    if (others.length > 0) return;
    for (const next of this.#progress.plan.legs) {
      if (this.#progress.started.has(next.id) || !waitedFor(next, this.#progress)) continue;
      // That endpoint already runs the other copy of this request.
      if (this.#job.beside?.taken().has(next.endpoint) === true || !this.#affords(next)) continue;
      this.#start(next, "failed");
      return;
    }
    this.#settle("");
    const failed = [...this.#progress.failed.values()];
    this.#settling.resolve({ kind: "failed", error, failed, held: this.#held });
  }

  /** The reply of an endpoint to a later try holds for earlier tries that it left unanswered. They are not waited for any longer. */
  #dropEarlier(leg: Leg, error: LongshoreError): void {
    for (const earlier of this.#running.values()) {
      if (earlier.leg.endpoint !== leg.endpoint || !this.#progress.givenUp.has(earlier.leg.id)) continue;
      earlier.cancel(error);
      this.#broke(earlier, error);
    }
  }

  /** A run beyond the first is free here, and elsewhere out of the budget of all requests. */
  #affords(leg: Leg): boolean {
    if (!affords(this.#job, leg)) return false;
    return this.#isHere(leg) || this.#loop.retrying.budget.take(this.#loop.clock.nowMs());
  }

  #isHere({ endpoint }: Leg): boolean {
    return endpoint === this.#loop.local?.info.id;
  }

  /** Records the end of a leg, however it ended. */
  #over(running: Running, outcome: "won" | LongshoreError["reason"], nowMs: number): void {
    const { leg, endpoint: endpointState } = running;
    this.#running.delete(leg.id);
    running.ends?.[Symbol.dispose]();
    running.watch?.[Symbol.dispose]();
    if (outcome === "won") endLeg(this.#loop, endpointState, nowMs);
    else endFailedLeg(this.#loop, running, outcome);
    if (outcome !== "won") tallyUnanswered(this.#loop, this.#job, running, this.#tally, nowMs);
    recordEnd(this.#loop, this.#job.call.id, running, outcome, nowMs);
  }

  #stop(error: LongshoreError): void {
    if (this.#settled) return;
    this.#settle(error.message);
    this.#settling.reject(error);
  }

  /** Ends the race: guards, timers and losing legs. Losing legs here keep their slot and cost their energy. */
  #settle(why: string): void {
    this.#settled = true;
    const nowMs = this.#loop.clock.nowMs();
    this.#stopListening?.();
    this.#deadline?.[Symbol.dispose]();
    for (const running of this.#running.values()) running.watch?.[Symbol.dispose]();
    for (const running of this.#running.values()) {
      bookLoss(this.#loop, this.#job, running, why, this.#tally, nowMs);
      recordEnd(this.#loop, this.#job.call.id, running, "lost", nowMs);
      running.ends?.[Symbol.dispose]();
      running.work?.dropped(nowMs);
      running.cancel(new LongshoreError("cancelled", "execute", why));
    }
    this.#running.clear();
    this.#loop.endpoints.tables.touched();
  }

  #note(kind: ProgressNote["kind"], leg: Leg, bytes?: number): void {
    this.#job.note?.({
      kind,
      leg: leg.id,
      endpoint: leg.endpoint,
      atMs: this.#loop.clock.nowMs(),
      ...(bytes === undefined ? {} : { bytes }),
    });
  }
}
