/*
 * Frames of a stream under way: read from the source, run side by side, handed out in the order in which they came.
 *
 * The obvious loop awaits each answer before it reads the next frame, and so keeps one endpoint busy while the others idle.
 * Here the reader runs beside the consumer: as many frames as the window holds are under way at once, and a frame's head
 * runs on the device while the tail of the one before it runs elsewhere. Nothing grows without bound: the window limits
 * what runs, answers that wait for an earlier one count too, at most one frame waits to start, and frames dropped one
 * after another are one entry.
 */
import { abortError, type Clock, LongshoreError, type Reason, whenAborted } from "../../words/base/index.ts";

/** How frames of a stream are taken. */
export interface FrameLimits {
  /**
   * `every` (default): each frame is run, and the source waits while too many are under way. `latest`: the source is read
   * as it comes, and a newer frame replaces the one that waits.
   */
  readonly keep?: "every" | "latest";
  /** Frames under way at once; default 4. Each holds its inputs and answer in memory. */
  readonly maxInFlight?: number;
  /** For each frame, from when the source gave it, in milliseconds. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/** What became of a frame, numbered from 0 as the source gave them; `count` frames dropped in a row are one line. */
export type FrameOutcome<R> =
  | { readonly kind: "answered"; readonly frame: number; readonly result: R }
  | { readonly kind: "failed"; readonly frame: number; readonly error: LongshoreError }
  | {
      readonly kind: "dropped";
      /** The first of them. */
      readonly frame: number;
      readonly count: number;
      /** A newer one came before there was room, or its deadline passed. */
      readonly why: "newer" | "late";
    };

/** What frames go through. */
export interface FrameLineParts<F, R> {
  readonly frames: AsyncIterable<F> | Iterable<F>;
  readonly limits: FrameLimits;
  readonly clock: Clock;
  /**
   * Runs one frame. `besideOthers` says that others are under way; `deadlineMs` counts from now.
   */
  run(frame: F, how: FrameRun): Promise<R>;
  /** Whether whoever runs them is shutting down. Others that are may be back, or not be needed, for the next frame. */
  closed(): boolean;
}

/** How one frame is run. */
export interface FrameRun {
  readonly frame: number;
  readonly abort: AbortSignal;
  readonly besideOthers: boolean;
  readonly deadlineMs: number | undefined;
}

/** Frames that run at once unless the stream says otherwise: one on the device, one on the way, one elsewhere, one spare. */
export const defaultMaxInFlight = 4;

/** Throws `invalid-input` for what cannot be looped over. */
function begun<F>(frames: AsyncIterable<F> | Iterable<F>): AsyncIterator<F> | Iterator<F> {
  if (typeof frames === "object" && frames !== null) {
    if (Symbol.asyncIterator in frames) return frames[Symbol.asyncIterator]();
    if (Symbol.iterator in frames) return frames[Symbol.iterator]();
  }
  throw new LongshoreError("invalid-input", "resolve", "frames must be something that can be looped over");
}

/** Answers that wait for an earlier one take room too: so many windows may be full of them. */
const heldWindows = 2;

/** Errors that every further frame would meet as well: they end the stream once what came before was handed out. */
const lasting: ReadonlySet<Reason> = new Set(["unknown-model", "unknown-version", "unknown-variant"]);

/** What became of frames, in order; a frame under way has no result yet. */
interface Entry<R> {
  result: FrameOutcome<R> | undefined;
  /** Of the last one: what ends the stream. */
  broke?: LongshoreError | undefined;
}

interface Waiting<F> {
  readonly frame: number;
  readonly value: F;
  readonly cameMs: number;
}

/** Results of frames in their order. Ends with the source; ends at once, with everything under way, when it is left. */
export async function* frameLine<F, R>(
  parts: FrameLineParts<F, R>,
): AsyncGenerator<FrameOutcome<R>, void, undefined> {
  const line = new FrameLine(parts);
  try {
    line.begin();
    for (;;) {
      const next = await line.next();
      if (!next) return;
      yield next;
    }
  } finally {
    line.stop();
  }
}

class FrameLine<F, R> {
  readonly #parts: FrameLineParts<F, R>;
  readonly #source: AsyncIterator<F> | Iterator<F>;
  readonly #mostRunning: number;
  readonly #controller = new AbortController();
  readonly #entries: Entry<R>[] = [];
  readonly #unheard: () => void;
  #waiting: Waiting<F> | undefined;
  #frames = 0;
  #running = 0;
  /** A frame met a lasting error: none begins any more. */
  #refused = false;
  #ended = false;
  /** What ends the stream once everything before it was handed out. */
  #broke: LongshoreError | undefined;
  #changed: Promise<void>;
  #tell: () => void = () => undefined;

  constructor(parts: FrameLineParts<F, R>) {
    const { frames, limits } = parts;
    this.#parts = parts;
    this.#source = begun(frames);
    this.#mostRunning = Math.max(1, Math.floor(limits.maxInFlight ?? defaultMaxInFlight));
    this.#changed = this.#nextChange();
    const abort = limits.signal;
    this.#unheard = abort
      ? whenAborted(abort, () => this.#stopNow(abortError(abort, "plan")))
      : () => undefined;
    if (abort?.aborted) this.#stopNow(abortError(abort, "plan"));
  }

  begin(): void {
    void this.#read();
  }

  /** The next result in order; undefined after the last one. */
  async next(): Promise<FrameOutcome<R> | undefined> {
    for (;;) {
      if (this.#controller.signal.aborted) throw abortError(this.#controller.signal, "plan");
      const [first] = this.#entries;
      if (first?.result) {
        if (first.broke) throw first.broke;
        this.#entries.shift();
        this.#change();
        return first.result;
      }
      if (!first && this.#ended && !this.#waiting) {
        if (this.#broke) throw this.#broke;
        return undefined;
      }
      await this.#changed;
    }
  }

  /** Ends everything that is under way and closes the source. */
  stop(): void {
    this.#unheard();
    this.#stopNow(new LongshoreError("cancelled", "plan", "the stream was left"));
    if (this.#ended) return;
    this.#ended = true;
    // A source that is being waited for would answer only after its next frame; nobody waits for that.
    void Promise.resolve(this.#source.return?.()).catch((thrown: unknown) => this.#break(thrown));
  }

  async #read(): Promise<void> {
    const { limits, clock } = this.#parts;
    const latest = limits.keep === "latest";
    try {
      while (!this.#controller.signal.aborted) {
        if (!latest && !this.#hasRoom()) {
          await this.#changed;
          continue;
        }
        const { done, value } = await this.#source.next();
        if (done || this.#controller.signal.aborted) break;
        this.#came(value);
        // A source that always has a newer frame must not keep the event loop.
        if (this.#waiting && latest) await this.#turn(clock);
      }
    } catch (thrown) {
      this.#break(thrown);
    } finally {
      this.#ended = true;
      this.#change();
    }
  }

  #break(thrown: unknown): void {
    this.#broke ??= LongshoreError.from(thrown, "resolve", "reading the next frame");
  }

  #turn(clock: Clock): Promise<void> {
    return new Promise((resolve) => {
      clock.timer(0, resolve);
    });
  }

  #hasRoom(): boolean {
    const most = this.#mostRunning;
    return !this.#refused && this.#running < most && this.#entries.length < heldWindows * most;
  }

  #came(value: F): void {
    const frame = this.#frames++;
    if (this.#waiting) this.#drop(this.#waiting.frame, "newer");
    this.#waiting = { frame, value, cameMs: this.#parts.clock.nowMs() };
    this.#startWaiting();
  }

  #startWaiting(): void {
    const { limits, clock } = this.#parts;
    const waiting = this.#waiting;
    if (!waiting || !this.#hasRoom()) return;
    this.#waiting = undefined;
    const { frame, value, cameMs } = waiting;
    const { deadlineMs } = limits;
    const leftMs = deadlineMs === undefined ? undefined : cameMs + deadlineMs - clock.nowMs();
    if (leftMs !== undefined && leftMs <= 0) {
      this.#drop(frame, "late");
      return;
    }
    const entry: Entry<R> = { result: undefined };
    this.#entries.push(entry);
    const besideOthers = this.#running > 0;
    this.#running++;
    const { signal: abort } = this.#controller;
    this.#parts.run(value, { frame, abort, besideOthers, deadlineMs: leftMs }).then(
      (result) => this.#settled(entry, { kind: "answered", frame, result }),
      (thrown: unknown) => {
        this.#settled(entry, {
          kind: "failed",
          frame,
          error: LongshoreError.from(thrown, "execute", `frame ${frame}`),
        });
      },
    );
  }

  #settled(entry: Entry<R>, result: FrameOutcome<R>): void {
    entry.result = result;
    // As it is now: what an endpoint refused that was going has not become the last because its asker is going, too, by now.
    entry.broke = this.#lasting(result);
    this.#refused ||= entry.broke !== undefined;
    this.#running--;
    this.#change();
  }

  /** The error of a frame that is the last. */
  #lasting(result: FrameOutcome<R>): LongshoreError | undefined {
    if (result.kind !== "failed") return undefined;
    const { reason } = result.error;
    const lasts = reason === "shutting-down" ? this.#parts.closed() : lasting.has(reason);
    return lasts ? result.error : undefined;
  }

  #drop(frame: number, why: "newer" | "late"): void {
    const last = this.#entries.at(-1);
    const before = last?.result;
    if (last && before?.kind === "dropped" && before.why === why) {
      last.result = { ...before, count: before.count + 1 };
    } else this.#entries.push({ result: { kind: "dropped", frame, count: 1, why } });
    this.#change();
  }

  #stopNow(reason: LongshoreError): void {
    if (!this.#controller.signal.aborted) this.#controller.abort(reason);
    this.#change();
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  /** Wakes reader and consumer; a frame that waited takes the room there is. */
  #change(): void {
    const tell = this.#tell;
    this.#changed = this.#nextChange();
    tell();
    if (!this.#controller.signal.aborted) this.#startWaiting();
  }
}
