import { checkFresh, neverAborted, randomId } from "../../words/base/index.ts";
import { checkSingle, checkVariant, endCut, type Inputs, startCut } from "../../words/model/index.ts";
import { checkLimits, checkNamed, limitChecks, isOnly, limitsAt } from "../../decide/goal/index.ts";
import { type Infeasible, isInfeasible, type Plan } from "../../decide/plan/index.ts";
import type { PartFilter } from "../endpoints/index.ts";
import { prepareAll } from "../probe/index.ts";
import { StepLine } from "../sequence/index.ts";
import { frameLine } from "../frames/index.ts";
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
import {
  callFor,
  createLoop,
  type Job,
  type OffloadParts,
  type Outcome,
  planLimits,
  runJob,
  firstWaitsOf,
} from "../race/index.ts";
import { availabilityOf } from "./availability.ts";
import { appJob, type AppRequest, isReplaced, noteUse, renewedJob } from "./app-job.ts";
import { requestEvents } from "./request-events.ts";
import { Requests } from "./requests.ts";
import { outputsOf } from "../../words/tensor/index.ts";
import { resultOf } from "./result.ts";

/**
 * Creates the offloader of an app: it decides for every request where it runs, and runs it there. Closing it waits for the requests under
 * way and closes the endpoints that were passed in.
 */
export function createOffloader(parts: OffloadParts): Offloader {
  return new AppOffloader(new Requests(createLoop(parts), "the offloader", "resolve"));
}

/** The app's interface to `Requests`: inputs, limits and results in a convenient form. */
class AppOffloader implements Offloader {
  readonly #requests: Requests;
  /** Models that `prepare` is loading, with the number of calls for each. */
  readonly #preparing = new Map<string, number>();

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  infer(model: string, inputs: Inputs, limits: Limits = {}): Promise<Result> {
    return this.#requests.track(this.#infer({ model, inputs, limits }).then(({ result }) => result));
  }

  async *answers(model: string, inputs: Inputs, limits: Limits = {}): AsyncIterable<Answer> {
    const { loop } = this.#requests;
    const request = { model, inputs, limits };
    const events = requestEvents(loop, model);
    try {
      const { job } = await this.#requests.track(Promise.resolve(this.#prepare(request)));
      events.accepted(job.call.id);
      this.#requests.refuseClosed();
      yield* this.#each(job, (thrown) => renewedJob(loop, thrown, job, request));
      noteUse(loop, model, limits.version, job.limits, "over");
      events.ended("answered");
    } catch (thrown) {
      throw events.failed(thrown);
    } finally {
      events.ended("cancelled");
    }
  }

  sequence(model: string, limits: Limits = {}): Sequence {
    const { parts, endpoints, clock } = this.#requests.loop;
    const line = new StepLine(randomId(parts.random), clock, () => endpoints.all.size > 0);
    return {
      id: line.id,
      next: async (inputs, { end = false, ...own }: StepLimits = {}) => {
        const all: Limits = { ...limits, ...own };
        checkLimits(all, limitChecks.ofCalls);
        const { signal: abort = neverAborted, deadlineMs = parts.defaults?.deadlineMs ?? Infinity } = all;
        const until = { abort, deadlineMs: clock.nowMs() + deadlineMs };
        return line.next(end, until, async (sequence) => {
          const left = { deadlineMs: until.deadlineMs - clock.nowMs() };
          const stepLimits = { ...limitsAt(limits, sequence.step), ...own, ...left };
          const asked = this.#infer({ model, inputs, limits: stepLimits, sequence });
          const { result, outcome } = await this.#requests.track(asked);
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
    checkLimits(limits, limitChecks.ofStreams);
    const requests = this.#requests;
    return frameLine({
      frames,
      limits,
      clock: requests.loop.clock,
      closed: () => requests.closed,
      run: (inputs, { frame, abort, deadlineMs, besideOthers }) => {
        const { keep: _keep, maxInFlight: _most, ...rest } = limitsAt(limits, frame);
        const own = { ...rest, signal: abort, ...(deadlineMs === undefined ? {} : { deadlineMs }) };
        // A frame that ends before the next one arrives should be fast. Once frames overlap, throughput counts.
        const isFree = besideOthers && !limits.objective;
        const pace = isFree && planLimits(requests.loop, limits).objective === "latency";
        const asked: Limits = pace ? { ...own, objective: "throughput" } : own;
        return requests.track(
          this.#infer({ model, inputs, limits: asked, frame: true }).then(({ result }) => result),
        );
      },
    });
  }

  async explain(model: string, inputs: Inputs, limits: Limits = {}): Promise<Plan | Infeasible> {
    const { job } = await this.#prepare({ model, inputs, limits });
    const { loop } = this.#requests;
    const nowMs = loop.clock.nowMs();
    const first = firstWaitsOf(loop, job, job.held, nowMs);
    const plan = (only?: PartFilter): Plan | Infeasible =>
      loop.plan(job, job.held, new Set(), nowMs, { only, first });
    const now = plan(loop.device.warmth.here);
    // If no other plan is feasible, the missing parts would be fetched.
    return loop.device.warmth.here && isInfeasible(now) ? plan() : now;
  }

  async availability(model: string, limits: Limits = {}): Promise<Availability> {
    this.#requests.refuseClosed();
    const isPreparing = (): boolean => this.#preparing.has(model);
    return this.#requests.track(availabilityOf(this.#requests.loop, model, limits, isPreparing));
  }

  async prepare(model: string, limits: Limits = {}): Promise<void> {
    this.#requests.refuseClosed();
    checkLimits(limits, limitChecks.ofCalls);
    checkNamed(model);
    const { loop } = this.#requests;
    const first = callFor(loop, limits, undefined);
    checkFresh(first, loop.clock.nowMs());
    const work = async (): Promise<void> => {
      const { description } = await loop.knowledge.learn(model, limits.version, first);
      checkVariant(description, limits.variant);
      const call = callFor(loop, limits, description.dataClass);
      call.deadlineMs = first.deadlineMs;
      const { name, version, digest } = description;
      const segment = { model: name, version, digest, variant: "", from: startCut, to: endCut };
      const { only, variant } = limits;
      await prepareAll(loop, segment, call, {
        ...(only === undefined ? {} : { allowed: (info) => isOnly(only, info) }),
        ...(variant === undefined ? {} : { variant }),
      });
    };
    this.#preparing.set(model, (this.#preparing.get(model) ?? 0) + 1);
    try {
      await this.#requests.track(work());
    } finally {
      const others = (this.#preparing.get(model) ?? 1) - 1;
      if (others > 0) this.#preparing.set(model, others);
      else this.#preparing.delete(model);
    }
  }

  refresh(): Promise<void> {
    return this.#requests.loop.knowledge.refresh();
  }

  close(): Promise<void> {
    return this.#requests.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #prepare(request: AppRequest): ReturnType<typeof appJob> {
    this.#requests.refuseClosed();
    return appJob(this.#requests.loop, request);
  }

  async #infer(request: AppRequest): Promise<{ readonly result: Result; readonly outcome: Outcome }> {
    const { loop } = this.#requests;
    const { model, limits } = request;
    const events = requestEvents(loop, model);
    try {
      const prepared = this.#prepare(request);
      const { job } = prepared instanceof Promise ? await prepared : prepared;
      events.accepted(job.call.id);
      checkSingle(job.known.description, "several (`answers`)");
      const outcome = await runJob(loop, job).catch(async (thrown: unknown) => {
        const renewed = await renewedJob(loop, thrown, job, request);
        checkSingle(renewed.known.description, "several (`answers`)");
        return runJob(loop, renewed);
      });
      noteUse(loop, model, limits.version, job.limits, "over");
      return {
        result: resultOf(outcome, events.ended("answered"), loop.parts.carbon !== undefined),
        outcome,
      };
    } catch (thrown) {
      throw events.failed(thrown);
    }
  }

  /** Yields all answers. If the content was replaced before the first answer, they come from the renewed job. */
  async *#each(job: Job, renew?: (thrown: unknown) => Promise<Job>): AsyncIterable<Answer> {
    let begun = false;
    try {
      for await (const answer of job.known.description.decoupled ? this.#several(job) : this.#single(job)) {
        begun = true;
        yield answer;
      }
    } catch (thrown) {
      if (begun || !renew) throw thrown;
      if (isReplaced(thrown, job.known)) this.#requests.refuseClosed();
      yield* this.#each(await this.#requests.track(renew(thrown)));
    }
  }

  async *#single(job: Job): AsyncIterable<Answer> {
    const { response, leg } = await this.#requests.run(job);
    yield { outputs: outputsOf(response.outputs), where: leg.endpoint };
  }

  async *#several(job: Job): AsyncIterable<Answer> {
    for await (const { outputs, account } of this.#requests.answers(job)) {
      yield { outputs: outputsOf(outputs), where: account.endpoint };
    }
  }
}
