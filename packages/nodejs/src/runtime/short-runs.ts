import { type Call, type Clock, LongshoreError, type Tensors, type TensorSpec } from "@longshore/core";
import { countInputs, type Counts, countsOf, largerOf, within } from "./run-counts.ts";
import type { PassedOver } from "@longshore/engine";
import type { ProviderSession } from "./runner-session.ts";
import { pageBytes } from "./shared-page.ts";

/*
 * A message to another thread and back takes 0.06 to 0.1 ms, most of it the two wake-ups of sleeping threads. For a network
 * that runs in 0.13 ms that is most of what using it costs, and blocking the calling thread for so short a time harms
 * nobody. So a session whose runs have shown to be short gets a twin on the calling thread, and goes back to its worker
 * as soon as they are short no more.
 */

/** Runs that take longer inside the runtime than this are not short. */
const shortMs = 0.75;
/** A run on the calling thread that takes longer than this is long, in milliseconds. */
const longMs = 0.75;
/**
 * How much a long run fills the bucket. Every other run drains it by one, so that single pauses (the collector, another program) do not
 * matter and one long run in five does.
 */
const longFills = 4;
/** The bucket is full at this level, and runs go to a worker. */
const bucketHolds = 40;
/** Short runs in a worker, beyond the long ones, that bring a model back to the calling thread. */
const firstTrial = 24;
/** Short runs that one long run outweighs. A worker that shares its core sometimes waits in the middle of a short run. */
const longCounts = 3;
/** Factor by which the trial grows each time that the runs turned out to be long. */
const trialGrowth = 10;
/** So many runs on inputs that are larger than those here, and short all the same, bring them here, too. */
const largerTrial = 8;
/** Counts on the calling thread may be so many times those that were short: nothing there takes long at once. */
const countsMayGrow = 2;
/** The first runs of a session prepare its memory and say nothing. */
const coldRuns = 3;

/** What of the inputs may set how long a run takes. */
interface RunSize {
  readonly bytes: number;
  readonly counts: Counts;
}

/** How a twin is made. */
export interface ShortRunParts {
  readonly clock: Clock;
  /** Loads the same file on the calling thread. */
  readonly openHere: () => Promise<ProviderSession>;
}

/** A session that runs short runs on the calling thread, and all others in `worker`. */
export function shortRunsHere(worker: ProviderSession, parts: ShortRunParts): ProviderSession {
  return new ShortRuns(worker, parts);
}

class ShortRuns implements ProviderSession {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly provider: string;
  readonly passedOver: readonly PassedOver[];
  readonly build?: string;
  ranMs: number | undefined;
  readonly #worker: ProviderSession;
  readonly #parts: ShortRunParts;
  #here: ProviderSession | undefined;
  /** Which of the two was asked last. */
  #asked: ProviderSession;
  /** Inputs up to so many bytes go there: larger ones may take longer. */
  #hereBytes = 0;
  /** Bytes of the largest inputs that were run short. */
  #shownBytes = 0;
  /** Likewise of counts, and what of them was run short on the calling thread, too. */
  #hereCounts: Counts = [];
  #shownCounts: Counts = [];
  readonly #countInputs: readonly string[];
  #short = 0;
  #trial = firstTrial;
  #bucket = 0;
  #ranHereTimes = 0;
  #underWay = 0;
  #change: Promise<void> | undefined;
  #released: Promise<void> | undefined;

  constructor(worker: ProviderSession, parts: ShortRunParts) {
    this.#worker = worker;
    this.#asked = worker;
    this.#parts = parts;
    this.inputs = worker.inputs;
    this.outputs = worker.outputs;
    this.#countInputs = countInputs(worker.inputs);
    this.provider = worker.provider;
    this.passedOver = worker.passedOver;
    if (worker.build !== undefined) this.build = worker.build;
  }

  get begun(): boolean {
    return this.#asked.begun !== false;
  }

  run(feeds: Tensors, fetches: readonly string[], call: Call): Promise<Tensors> {
    const size = { bytes: bytesOfFeeds(feeds), counts: countsOf(feeds, this.#countInputs) };
    // Only alone: what waits for this thread would wait for the run as well, and a worker could have it meanwhile.
    const alone = this.#underWay === 0;
    const here = alone && this.#mayBeHere(size) ? this.#here : undefined;
    this.#underWay++;
    this.#asked = here ?? this.#worker;
    return this.#timed(this.#asked, { alone, size }, feeds, fetches, call);
  }

  #mayBeHere({ bytes, counts }: RunSize): boolean {
    return bytes <= this.#hereBytes && within(counts, this.#hereCounts, countsMayGrow);
  }

  idle(): Promise<void> {
    const here = this.#here;
    return here ? this.#worker.idle().then(() => here.idle()) : this.#worker.idle();
  }

  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  async #release(): Promise<void> {
    // Both first finish what they accepted; nobody may slip in between.
    await Promise.all([this.#worker.release(), this.#change]);
    await this.#here?.release();
  }

  async #timed(
    session: ProviderSession,
    { alone, size }: { readonly alone: boolean; readonly size: RunSize },
    feeds: Tensors,
    fetches: readonly string[],
    call: Call,
  ): Promise<Tensors> {
    const { clock } = this.#parts;
    const startedMs = clock.nowMs();
    try {
      const outputs = await session.run(feeds, fetches, call);
      this.ranMs = session.ranMs;
      // What other work of this thread, or of the worker's core, was done meanwhile is no time of the run.
      const ranMs = session.ranMs ?? clock.nowMs() - startedMs;
      if (session !== this.#worker) this.#ranHere(ranMs, size);
      else if (alone) this.#ranThere(ranMs, size);
      return outputs;
    } finally {
      this.#underWay--;
    }
  }

  #ranThere(ranMs: number, { bytes, counts }: RunSize): void {
    if (ranMs > shortMs || bytes > pageBytes) {
      this.#short = bytes > pageBytes ? 0 : Math.max(0, this.#short - longCounts);
      if (this.#short === 0) this.#forgetShown();
      return;
    }
    if (bytes > this.#shownBytes || !within(counts, this.#shownCounts)) {
      this.#short = 0;
      this.#shownBytes = Math.max(bytes, this.#shownBytes);
      this.#shownCounts = largerOf(counts, this.#shownCounts);
    }
    this.#short++;
    if (this.#here) {
      if (this.#short < largerTrial) return;
      this.#hereBytes = Math.max(this.#hereBytes, this.#shownBytes);
      this.#hereCounts = largerOf(this.#hereCounts, this.#shownCounts);
      return;
    }
    if (this.#short < this.#trial || this.#change || this.#released) return;
    // Loading blocks this thread, so runs meanwhile seem long: what was shown before counts.
    this.#change = this.#open({ bytes: this.#shownBytes, counts: this.#shownCounts }).finally(() => {
      this.#change = undefined;
    });
  }

  #ranHere(ranMs: number, { counts }: RunSize): void {
    this.#ranHereTimes++;
    if (ranMs <= shortMs && !within(counts, this.#hereCounts)) {
      this.#hereCounts = largerOf(counts, this.#hereCounts);
    }
    if (this.#ranHereTimes <= coldRuns) return;
    this.#bucket = Math.max(0, this.#bucket + (ranMs > longMs ? longFills : -1));
    if (this.#bucket < bucketHolds || !this.#here) return;
    const here = this.#here;
    this.#here = undefined;
    this.#startOver();
    // Its memory is freed; whether that worked has nobody to tell.
    void here.release().catch(() => undefined);
  }

  async #open({ bytes, counts }: RunSize): Promise<void> {
    try {
      const here = await this.#parts.openHere();
      this.#bucket = 0;
      this.#ranHereTimes = 0;
      this.#hereBytes = bytes;
      this.#hereCounts = counts;
      this.#short = 0;
      this.#forgetShown();
      this.#here = here;
    } catch (thrown) {
      // Then the worker keeps them: it runs the same file well.
      if (!LongshoreError.is(thrown)) throw thrown;
      this.#startOver();
    }
  }

  #startOver(): void {
    this.#trial *= trialGrowth;
    this.#short = 0;
    this.#forgetShown();
  }

  #forgetShown(): void {
    this.#shownBytes = 0;
    this.#shownCounts = [];
  }
}

/** Text is left to the worker. */
function bytesOfFeeds(feeds: Tensors): number {
  let bytes = 0;
  for (const { spec, bytes: memory } of feeds.values()) {
    bytes += spec.datatype === "BYTES" ? Infinity : memory.byteLength;
  }
  return bytes;
}
