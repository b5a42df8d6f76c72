import {
  checkFresh,
  type EndpointId,
  LongshoreError,
  neverAborted,
  ownCall,
  randomId,
  type Reason,
  UnderWay,
} from "../../words/base/index.ts";
import { declaredInputs } from "../../wire/oip/index.ts";
import type { InferenceResponse } from "../../wire/endpoint/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import {
  checkAim,
  checkLimits,
  checkNamed,
  demands,
  limitsAt,
  travellingAim,
} from "../../decide/goal/index.ts";
import {
  checkSingle,
  checkVariant,
  endCut,
  type Inputs,
  startCut,
  takeInputs,
  takeTensors,
} from "../../words/model/index.ts";
import { type Infeasible, isInfeasible, type Plan } from "../../decide/plan/index.ts";
import { callFor, confirming, planLimits } from "../race/index.ts";
import type { Job } from "../race/index.ts";
import { neededEndpoints } from "../steps/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { PartFilter } from "../endpoints/index.ts";
import { createLoop, type Loop } from "../race/index.ts";
import { type SequenceStep, StepLine } from "../sequence/index.ts";
import { frameLine } from "../frames/index.ts";
import type { LostLeg } from "../account/index.ts";
import type {
  Answer,
  Availability,
  FrameResult,
  Limits,
  Offloader,
  Result,
  Sequence,
  StepLimits,
  StreamLimits,
} from "../offloader/index.ts";
import type { OffloadParts } from "../race/index.ts";
import { type Outcome, runJob } from "../race/index.ts";
import { streamJob } from "../race/index.ts";

/**
 * What an app holds: one call that decides for every request where it runs, and runs it there. Closing it waits for what
 * is under way and closes the endpoints that it was made of.
 */
export function createOffloader(parts: OffloadParts): Offloader {
  return new LoopOffloader(createLoop(parts));
}

class LoopOffloader implements Offloader {
  readonly #loop: Loop;
  readonly #underWay = new UnderWay();
  /** Answers that readers are in the midst of. */
  readonly #read = new Set<AsyncIterator<InferenceResponse>>();
  #closed: Promise<void> | undefined;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  infer(model: string, inputs: Inputs, limits: Limits = {}): Promise<Result> {
    return this.#underWay.track(this.#infer(model, inputs, limits, undefined).then(({ result }) => result));
  }

  async *answers(model: string, inputs: Inputs, limits: Limits = {}): AsyncIterable<Answer> {
    const told = this.#telling(model);
    try {
      const { job } = await this.#underWay.track(
        Promise.resolve(this.#prepare(model, inputs, limits, undefined)),
      );
      told.accepted(job.call.id);
      this.#refuseClosed();
      yield* this.#each(job, (thrown) => this.#anew(thrown, job, model, inputs, limits));
      this.#used(model, limits.version, job.limits, "over");
      told.ended("answered");
    } catch (thrown) {
      throw told.failed(thrown);
    } finally {
      told.ended("cancelled");
    }
  }

  /** However many answers there are; all of `again` where what was asked is not there any more before the first. */
  async *#each(job: Job, anew?: (thrown: unknown) => Promise<Job>): AsyncIterable<Answer> {
    let begun = false;
    try {
      for await (const answer of job.known.description.decoupled ? this.#several(job) : this.#single(job)) {
        begun = true;
        yield answer;
      }
    } catch (thrown) {
      if (begun || !anew) throw thrown;
      if (isReplaced(thrown, job.known)) this.#refuseClosed();
      yield* this.#each(await this.#underWay.track(anew(thrown)));
    }
  }

  async *#single(job: Job): AsyncIterable<Answer> {
    const { response, leg } = await this.#underWay.track(runJob(this.#loop, job));
    yield { outputs: response.outputs, where: leg.endpoint };
  }

  /** Closing waits for the next answer, not for a reader that may never come back. */
  async *#several(job: Job): AsyncIterable<Answer> {
    const answers = streamJob(this.#loop, { ...job, whole: true })[Symbol.asyncIterator]();
    this.#read.add(answers);
    try {
      for (;;) {
        const one = await this.#underWay.track(answers.next());
        // Closed meanwhile.
        if (!this.#read.has(answers)) this.#refuseClosed();
        if (one.done === true) return;
        yield { outputs: one.value.outputs, where: one.value.account.endpoint };
      }
    } finally {
      this.#read.delete(answers);
      await answers.return?.();
    }
  }

  sequence(model: string, limits: Limits = {}): Sequence {
    const { parts, endpoints, clock } = this.#loop;
    const line = new StepLine(randomId(parts.random), clock, () => endpoints.all.size > 0);
    return {
      id: line.id,
      next: async (inputs, { end = false, ...own }: StepLimits = {}) => {
        const all: Limits = { ...limits, ...own };
        checkLimits(all, demands.ofCalls);
        const { abort = neverAborted, deadlineMs = parts.defaults?.deadlineMs ?? Infinity } = all;
        const until = { abort, deadlineMs: clock.nowMs() + deadlineMs };
        return line.next(end, until, async (step) => {
          const left = { deadlineMs: until.deadlineMs - clock.nowMs() };
          const asked = this.#infer(model, inputs, { ...limitsAt(limits, step.step), ...own, ...left }, step);
          const { result, outcome } = await this.#underWay.track(asked);
          const { state, stateSeal: seal } = outcome.response;
          return { result, endpoint: outcome.leg.endpoint, state, seal };
        });
      },
      [Symbol.asyncDispose]: () => line.end(),
    };
  }

  stream(
    model: string,
    frames: AsyncIterable<Inputs> | Iterable<Inputs>,
    limits: StreamLimits = {},
  ): AsyncIterable<FrameResult> {
    checkLimits(limits, demands.ofStreams);
    return frameLine({
      frames,
      limits,
      clock: this.#loop.clock,
      closed: () => this.#closed !== undefined,
      run: (inputs, { frame, abort, deadlineMs, besideOthers }) => {
        const { keep: _keep, maxInFlight: _most, ...rest } = limitsAt(limits, frame);
        const own = { ...rest, abort, ...(deadlineMs === undefined ? {} : { deadlineMs }) };
        // A frame that is through before the next one comes is to be quick; once they overlap, all are to get on.
        const isFree = besideOthers && !limits.objective;
        const pace = isFree && planLimits(this.#loop, limits).objective === "latency";
        const asked: Limits = pace ? { ...own, objective: "throughput" } : own;
        return this.#underWay.track(
          this.#infer(model, inputs, asked, undefined, true).then(({ result }) => result),
        );
      },
    });
  }

  async explain(model: string, inputs: Inputs, limits: Limits = {}): Promise<Plan | Infeasible> {
    const { job } = await this.#prepare(model, inputs, limits, undefined);
    const { clock, warmth } = this.#loop;
    const plan = (only?: PartFilter): Plan | Infeasible =>
      this.#loop.plan(job, job.held, new Set(), clock.nowMs(), only);
    const now = plan(warmth.here);
    // Where nothing else will do, what is missing here would be fetched.
    return warmth.here && isInfeasible(now) ? plan() : now;
  }

  availability(model: string): Availability {
    const { knowledge, endpoints, clock, parts } = this.#loop;
    const known = knowledge.known(model, undefined);
    if (!known) {
      // Asked for now, so that the next question has an answer.
      void this.#underWay.track(
        knowledge.learn(model, undefined, callFor(this.#loop, {}, undefined)).catch(() => undefined),
      );
      return "unavailable";
    }
    if (known.whole) return "available";
    const nowMs = clock.nowMs();
    const failingMs = endpoints.failingMs(known, parts.defaults?.tenant ?? "local", nowMs);
    const answers = (id: EndpointId): boolean => {
      const endpoint = endpoints.all.get(id);
      return (
        endpoint !== undefined && endpoint.health.unavailable(nowMs) === undefined && failingMs(id) < Infinity
      );
    };
    return neededEndpoints(known).every((ids) => ids.some(answers)) ? "available" : "unavailable";
  }

  refresh(): Promise<void> {
    return this.#loop.knowledge.refresh();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#underWay.over();
    const left = [...this.#read];
    this.#read.clear();
    await Promise.allSettled(left.map(async (answers) => answers.return?.()));
    this.#loop.stop();
    await this.#loop.endpoints.closeAll();
    await this.#loop.local?.close();
  }

  #refuseClosed(): void {
    if (this.#closed) throw new LongshoreError("shutting-down", "resolve", "the offloader was closed");
  }

  /** Everything before the first plan: resolve the model, convert the inputs, fill in rules and limits. */
  #prepare(
    model: string,
    inputs: Inputs,
    limits: Limits,
    sequence: SequenceStep | undefined,
  ): { readonly job: Job } | Promise<{ readonly job: Job }> {
    this.#refuseClosed();
    checkLimits(limits, demands.ofCalls);
    checkNamed(model);
    const { knowledge, clock } = this.#loop;
    const known = knowledge.settled(model, limits.version);
    if (known) return { job: this.#job(known, model, inputs, limits, sequence) };
    const call = callFor(this.#loop, limits, undefined);
    checkFresh(call, clock.nowMs());
    return knowledge
      .learn(model, limits.version, call)
      .then((learned) => ({ job: this.#job(learned, model, inputs, limits, sequence, call.deadlineMs) }));
  }

  #job(
    known: KnownModel,
    model: string,
    inputs: Inputs,
    limits: Limits,
    sequence: SequenceStep | undefined,
    deadlineMs?: number,
  ): Job {
    const { description } = known;
    checkVariant(description, limits.variant);
    const call = callFor(this.#loop, limits, description.dataClass);
    if (deadlineMs !== undefined) call.deadlineMs = deadlineMs;
    const declared = declaredInputs(description);
    const taken = declared ? takeInputs(model, declared, inputs) : takeTensors(model, inputs);
    const planned = planLimits(this.#loop, limits);
    checkAim(planned, call.deadlineMs);
    call.goal = travellingAim(planned);
    this.#used(model, limits.version, planned, "begins");
    return {
      known,
      held: {
        cut: startCut,
        variant: undefined,
        tensors: taken.tensors,
        bytes: taken.bytes,
        features: taken.features,
      },
      to: endCut,
      limits: planned,
      ...(planned.objective === "throughput" ? { traffic: this.#loop.backlog } : {}),
      // This device is believed by its own apps.
      ...confirming(this.#loop, call, "elsewhere"),
      sequence,
      note: limits.progress,
    };
  }

  async #infer(
    model: string,
    inputs: Inputs,
    limits: Limits,
    sequence: SequenceStep | undefined,
    frame = false,
  ): Promise<{ readonly result: Result; readonly outcome: Outcome }> {
    const told = this.#telling(model);
    try {
      const prepared = this.#prepare(model, inputs, limits, sequence);
      const { job: asked } = prepared instanceof Promise ? await prepared : prepared;
      const job = frame ? { ...asked, frame } : asked;
      told.accepted(job.call.id);
      checkSingle(job.known.description, "several (`answers`)");
      // Again where another content has taken the place of the model meanwhile.
      const outcome = await runJob(this.#loop, job).catch(async (thrown: unknown) => {
        const anew = await this.#anew(thrown, job, model, inputs, limits);
        checkSingle(anew.known.description, "several (`answers`)");
        return runJob(this.#loop, anew);
      });
      this.#used(model, limits.version, job.limits, "over");
      return { result: resultOf(outcome, told.ended("answered")), outcome };
    } catch (thrown) {
      throw told.failed(thrown);
    }
  }

  #used(model: string, version: string | undefined, limits: Job["limits"], when: "begins" | "over"): void {
    const { clock, knowledge } = this.#loop;
    if (limits.objective === "energy") knowledge.used(model, version, clock.nowMs(), when);
    else if (when === "begins") knowledge.used(model, version, clock.nowMs());
  }

  /** The job with the content that has taken the place of the one it was planned with; throws `thrown` where none has. */
  async #anew(thrown: unknown, job: Job, model: string, inputs: Inputs, limits: Limits): Promise<Job> {
    // The state of a sequence that has begun means nothing to another content.
    if (!isReplaced(thrown, job.known) || (job.sequence?.step ?? 0) > 0) throw thrown;
    const { knowledge } = this.#loop;
    const { digest } = job.known.description;
    await knowledge.renewed(model, limits.version, digest, job.call);
    const known = await knowledge.learn(model, limits.version, job.call);
    if (known.description.digest === digest) throw thrown;
    const { held, call } = this.#job(known, model, inputs, limits, undefined);
    // Of another class of data, perhaps, but the same call.
    return { ...job, known, held, call: Object.assign(ownCall(job.call), { rules: call.rules }) };
  }

  /** Tells the observer of one request, of its end once. */
  #telling(model: string) {
    const { clock, parts } = this.#loop;
    const startedMs = clock.nowMs();
    let callId = "";
    let isOver = false;
    /** Returns how long it took. */
    const ended = (outcome: "answered" | Reason): number => {
      const nowMs = clock.nowMs();
      const tookMs = nowMs - startedMs;
      if (!isOver)
        parts.observer.record({ kind: "request-ended", atMs: nowMs, callId, model, tookMs, outcome });
      isOver = true;
      return tookMs;
    };
    return {
      accepted(id: string): void {
        callId = id;
        parts.observer.record({ kind: "request-accepted", atMs: startedMs, callId, model });
      },
      ended,
      failed(thrown: unknown): LongshoreError {
        const error = LongshoreError.from(thrown, "plan", `inference of ${model}`);
        ended(error.reason);
        return error;
      },
    };
  }
}

/** Whether an endpoint does not have the content that it was asked for, or none is left while another content is elsewhere. */
const isReplaced = (thrown: unknown, { behind }: KnownModel): boolean =>
  LongshoreError.is(thrown) &&
  (thrown.reason === "unknown-version" || (behind && thrown.reason === "no-endpoint"));

/** The plan's sentence; where a back-up gave the answer, also instead of whom. */
function becauseOf({ plan, leg, tally: { lostLegs } }: Outcome): string {
  const { because } = plan;
  const [first] = plan.legs;
  const isFirst = (one: LostLeg): boolean => one.leg === first?.id && one.endpoint === first.endpoint;
  // A further plan begins of its own.
  const stoodIn =
    leg.starts.every(({ on }) => on === "failed" || on === "late") ||
    (leg.id !== first?.id && lostLegs.some(isFirst));
  const lost = stoodIn ? lostLegs.findLast(({ leg: id }) => id !== leg.id) : undefined;
  return lost ? `${because}; ${leg.endpoint} answered instead of ${lost.endpoint} (${lost.why})` : because;
}

function resultOf(outcome: Outcome, tookMs: number): Result {
  const { response, leg, plan, tally, confirmedBy } = outcome;
  const [first = plan] = tally.plans;
  return {
    outputs: response.outputs,
    where: leg.endpoint,
    ...(confirmedBy === undefined ? {} : { confirmedBy }),
    because: becauseOf(outcome),
    tookMs,
    predictedMs: meanOf(first.predicted.completionMs),
    plans: tally.plans,
    accounts: tally.accounts,
    lostLegs: tally.lostLegs,
    sentBytes: tally.sentBytes,
    receivedBytes: tally.receivedBytes,
    energy: { millijoules: tally.millijoules, label: tally.measured ? "measured" : "estimated" },
    costMicros: tally.costMicros,
  };
}
