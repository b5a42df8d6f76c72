import { type Call, LongshoreError, type Stage, UnderWay } from "../../words/base/index.ts";
import type { InferenceResponse } from "../../wire/endpoint/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type Job, type Loop, type Outcome, runJob, streamJob } from "../race/index.ts";

/**
 * The requests of one offloader, from apps and from endpoints. They share one loop, and closing waits for them. The offloader of an app and
 * the offloading endpoint of a server both turn their requests into a `Job` and run it here.
 */
export class Requests {
  readonly loop: Loop;
  readonly #name: string;
  readonly #stage: Stage;
  readonly #underWay = new UnderWay();
  /** Open streams of answers. */
  readonly #read = new Set<AsyncIterator<InferenceResponse>>();
  #closed: Promise<void> | undefined;

  /** `name` and `stage` appear in the error for requests after `close`. */
  constructor(loop: Loop, name: string, stage: Stage) {
    this.loop = loop;
    this.#name = name;
    this.#stage = stage;
  }

  /** Requests under way. */
  get size(): number {
    return this.#underWay.size;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Throws `shutting-down` after `close`. */
  refuseClosed(): void {
    if (this.#closed) throw new LongshoreError("shutting-down", this.#stage, `${this.#name} is closed`);
  }

  /** Makes closing wait for `work`. */
  track<T>(work: Promise<T>): Promise<T> {
    return this.#underWay.track(work);
  }

  /**
   * Knowledge of a model, synchronous after its first use. Records the use. `isPoll` means that another endpoint asks what is here,
   * without a run.
   */
  model(
    model: string,
    version: string | undefined,
    call: Call,
    isPoll = false,
  ): KnownModel | Promise<KnownModel> {
    const { knowledge, clock } = this.loop;
    const nowMs = clock.nowMs();
    const known = isPoll ? knowledge.known(model, version) : knowledge.settled(model, version, nowMs);
    if (known) {
      knowledge.used(model, version, nowMs);
      return known;
    }
    return knowledge.learn(model, version, call, isPoll).then((learned) => {
      knowledge.used(model, version, clock.nowMs());
      return learned;
    });
  }

  /** The one answer to a request. */
  run(job: Job): Promise<Outcome> {
    return this.track(runJob(this.loop, job));
  }

  /** All answers to a request. Closing waits for the next answer, but not for a reader that may never read again. */
  async *answers(job: Job): AsyncIterable<InferenceResponse> {
    const answers = streamJob(this.loop, job)[Symbol.asyncIterator]();
    this.#read.add(answers);
    try {
      for (;;) {
        const one = await this.track(answers.next());
        // `close` removed the reader.
        if (!this.#read.has(answers)) this.refuseClosed();
        if (one.done === true) return;
        yield one.value;
      }
    } finally {
      this.#read.delete(answers);
      await answers.return?.();
    }
  }

  /** Idempotent. Waits for requests under way, then closes the endpoints. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#underWay.over();
    const left = [...this.#read];
    this.#read.clear();
    await Promise.allSettled(left.map(async (answers) => answers.return?.()));
    this.loop.stop();
    await this.loop.endpoints.closeAll();
    await this.loop.local?.close();
  }
}
