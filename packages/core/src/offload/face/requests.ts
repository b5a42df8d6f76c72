import { type Call, LongshoreError, type Stage, UnderWay } from "../../words/base/index.ts";
import type { InferenceResponse } from "../../wire/endpoint/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type Job, type Loop, type Outcome, runJob, streamJob } from "../race/index.ts";

/**
 * The requests of one offloader, whichever face they come through: they share one loop, and closing waits for them. The offloader of an
 * app and the offloading endpoint of a server both make a `Job` of what they are given, and run it here.
 */
export class Requests {
  readonly loop: Loop;
  readonly #name: string;
  readonly #stage: Stage;
  readonly #underWay = new UnderWay();
  /** Answers whose readers have not taken the last one. */
  readonly #read = new Set<AsyncIterator<InferenceResponse>>();
  #closed: Promise<void> | undefined;

  /** `name` and `stage` are what the error says that refuses a request after `close`. */
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

  /** Closing waits for `work`. */
  track<T>(work: Promise<T>): Promise<T> {
    return this.#underWay.track(work);
  }

  /**
   * What is known of a model, at once for all but its first use; notes the use. `question`: another endpoint asks what there is here,
   * and nothing is to be run.
   */
  model(
    model: string,
    version: string | undefined,
    call: Call,
    question = false,
  ): KnownModel | Promise<KnownModel> {
    const { knowledge, clock } = this.loop;
    const now = question ? knowledge.known(model, version) : knowledge.settled(model, version);
    const used = (known: KnownModel): KnownModel => {
      knowledge.used(model, version, clock.nowMs());
      return known;
    };
    return now ? used(now) : knowledge.learn(model, version, call, question).then(used);
  }

  /** The one answer to a request. */
  run(job: Job): Promise<Outcome> {
    return this.track(runJob(this.loop, job));
  }

  /** However many answers there are to a request. Closing waits for the next one, not for a reader that may never come back. */
  async *answers(job: Job): AsyncIterable<InferenceResponse> {
    const answers = streamJob(this.loop, { ...job, whole: true })[Symbol.asyncIterator]();
    this.#read.add(answers);
    try {
      for (;;) {
        const one = await this.track(answers.next());
        // `close` took the reader out.
        if (!this.#read.has(answers)) this.refuseClosed();
        if (one.done === true) return;
        yield one.value;
      }
    } finally {
      this.#read.delete(answers);
      await answers.return?.();
    }
  }

  /** Idempotent. Waits for what is under way, then closes the endpoints. */
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
