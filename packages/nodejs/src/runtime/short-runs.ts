import { type Call, type Clock, LongshoreError, type Tensors, type TensorSpec } from "@longshore/core";
import { countInputs, type Counts, countsOf, largerOf, within } from "./run-counts.ts";
import type { PassedOver } from "@longshore/engine";
import type { ProviderSession } from "./runner-session.ts";
import { pageBytes } from "./shared-page.ts";

/*
 * A message to another thread and back takes 0.06 to 0.1 ms, most of it the two wake-ups of sleeping threads. For a network that runs in
 * 0.13 ms that is most of the total cost, and blocking the calling thread for so short a time is harmless. So a session with short runs
 * gets a twin on the calling thread, and returns to its worker as soon as its runs are no longer short.
 */

/** Longest short run, by time inside the runtime, in milliseconds. */
const shortMs = 0.75;
/** Longest run on the calling thread that does not count as long, in milliseconds. */
const longMs = 0.75;
/**
 * How much a long run fills the bucket. Every other run drains it by one, so single pauses (the collector, another program) do not matter,
 * but one long run in five does.
 */
const longFills = 4;
/** At this level the bucket is full, and runs go to a worker. */
const bucketHolds = 40;
/** Surplus of short runs over long ones, in a worker, that brings a model back to the calling thread. */
const firstTrial = 24;
/** Short runs that offset one long run. A worker that shares its core sometimes waits in the middle of a short run. */
const longCounts = 3;
/** Growth of the trial after each return to a worker. */
const trialGrowth = 10;
/** This many short runs on inputs larger than those allowed here bring such inputs here, too. */
const largerTrial = 8;
/** Counts on the calling thread may be at most this many times those of short runs, so that no run there suddenly takes long. */
const countsMayGrow = 2;
/** The first runs of a session prepare its memory and are ignored. */
const coldRuns = 3;

/** Properties of the inputs that may determine the length of a run. */
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
  /** The session that ran last. */
  #asked: ProviderSession;
  /** Inputs of up to this many bytes run on the calling thread; larger ones may take longer. */
  #hereBytes = 0;
  /** Bytes of the largest inputs with a short run. */
  #shownBytes = 0;
  /** The same for counts, including counts with a short run on the calling thread. */
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
    // Only without other runs under way: waiting work of this thread would be delayed by the run, and a worker could run meanwhile.
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
    // Both finish their accepted runs first; no new run may start in between.
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
      // Other work of this thread, or of the worker's core, is not time of the run.
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
    // Loading blocks this thread, so runs meanwhile seem long. The values from before the load are used.
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
    // Frees its memory. A failure has no receiver.
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
      // The worker then keeps the runs: it runs the same file well.
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

/** Text inputs stay with the worker. */
function bytesOfFeeds(feeds: Tensors): number {
  let bytes = 0;
  for (const { spec, bytes: memory } of feeds.values()) {
    bytes += spec.datatype === "BYTES" ? Infinity : memory.byteLength;
  }
  return bytes;
}
