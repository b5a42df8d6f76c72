/*
 * Frames of a stream under way: read from the source, run concurrently, returned in source order.
 *
 * The obvious loop awaits each answer before it reads the next frame, so it keeps one endpoint busy while the others idle. Here the reader
 * runs beside the consumer. As many frames as the window holds are under way at once, and a frame's head runs on the device while the tail
 * of the previous one runs elsewhere. Everything is bounded. The window limits the frames under way, and answers that wait for an earlier
 * one count too. At most one frame waits to start. Frames dropped one after another are one entry.
 */
import { abortError, type Clock, LongshoreError, type Reason, whenAborted } from "../../words/base/index.ts";

/** How frames of a stream are read and run. */
export interface FrameLimits {
  /**
   * `every` (default): each frame runs, and the source waits while too many are under way. `latest`: the source is read without waiting,
   * and a newer frame replaces the waiting one.
   */
  readonly keep?: "every" | "latest";
  /** Frames under way at once; default 4. Each holds its inputs and answer in memory. */
  readonly maxInFlight?: number;
  /** Deadline of each frame from its arrival, in milliseconds. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/** The result of a frame. Frames are numbered from 0 in source order; `count` consecutive dropped frames are one entry. */
export type FrameOutcome<R> =
  | { readonly kind: "answered"; readonly frame: number; readonly result: R }
  | { readonly kind: "failed"; readonly frame: number; readonly error: LongshoreError }
  | {
      readonly kind: "dropped";
      /** Number of the first of them. */
      readonly frame: number;
      readonly count: number;
      /** A newer frame came while the window was full, or the deadline passed. */
      readonly why: "newer" | "late";
    };

/** Inputs of a frame line: the frames, and the function that runs one. */
export interface FrameLineParts<F, R> {
  readonly frames: AsyncIterable<F> | Iterable<F>;
  readonly limits: FrameLimits;
  readonly clock: Clock;
  /** Runs one frame. `besideOthers` means that others are under way; `deadlineMs` counts from now. */
  run(frame: F, how: FrameRun): Promise<R>;
  /** Whether the offloader itself is shutting down. Another endpoint that shuts down may be back, or unneeded, at the next frame. */
  closed(): boolean;
}

/** How one frame is run. */
export interface FrameRun {
  readonly frame: number;
  readonly abort: AbortSignal;
  readonly besideOthers: boolean;
  readonly deadlineMs: number | undefined;
}

/** Default number of frames under way: one on the device, one on the way, one elsewhere, one spare. */
export const defaultMaxInFlight = 4;

/** Throws `invalid-input` for a value that is not iterable. */
function begun<F>(frames: AsyncIterable<F> | Iterable<F>): AsyncIterator<F> | Iterator<F> {
  if (typeof frames === "object" && frames !== null) {
    if (Symbol.asyncIterator in frames) return frames[Symbol.asyncIterator]();
    if (Symbol.iterator in frames) return frames[Symbol.iterator]();
  }
  throw new LongshoreError("invalid-input", "resolve", "frames must be something that can be looped over");
}

/** Answers that wait for an earlier one hold memory too: at most this many windows of them. */
const heldWindows = 2;

/** Errors that every further frame would also meet. They end the stream after the results before them were returned. */
const lasting: ReadonlySet<Reason> = new Set(["unknown-model", "unknown-version", "unknown-variant"]);

/** Results of frames, in order; a frame under way has none yet. */
interface Entry<R> {
  result: FrameOutcome<R> | undefined;
  /** Set on the last entry: the error that ends the stream. */
  broke?: LongshoreError | undefined;
}

interface Waiting<F> {
  readonly frame: number;
  readonly value: F;
  readonly cameMs: number;
}

/** Results of frames in their order. Ends with the source. If the consumer leaves, everything under way is cancelled at once. */
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
  readonly #stopListening: () => void;
  #waiting: Waiting<F> | undefined;
  #frames = 0;
  #running = 0;
  /** A frame met a lasting error: no further frame starts. */
  #refused = false;
  #ended = false;
  /** The error that ends the stream after everything before it was returned. */
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
    this.#stopListening = abort
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

  /** Cancels everything under way and closes the source. */
  stop(): void {
    this.#stopListening();
    this.#stopNow(new LongshoreError("cancelled", "plan", "the stream was left"));
    if (this.#ended) return;
    this.#ended = true;
    // A source with a pending read would answer only after its next frame, so this is not awaited.
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
        // A source that always has a newer frame must not block the event loop.
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
    // Computed now: an endpoint that is shutting down refused this frame, and its caller's later shutdown must not make that error lasting.
    entry.broke = this.#lasting(result);
    this.#refused ||= entry.broke !== undefined;
    this.#running--;
    this.#change();
  }

  /** The error, if it ends the stream. */
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

  /** Wakes reader and consumer. A waiting frame starts if the window has room. */
  #change(): void {
    const tell = this.#tell;
    this.#changed = this.#nextChange();
    tell();
    if (!this.#controller.signal.aborted) this.#startWaiting();
  }
}
