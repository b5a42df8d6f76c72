/**
 * Time that moves only on command, so that minutes of a system's life pass quickly and always in the same way.
 *
 * The obvious fake clock fires timers in a loop and never lets promises run between them, so code that awaits sees time jump
 * past it. Here every event is followed by one turn of the real event loop, in which all promise reactions run to their end,
 * however deep; only then may the next event fire. Events of one instant fire in the order of their making. Work that finishes
 * outside (threads, sockets, WebCrypto) would come too late: wrap it in `during`, and time stands still until it is done.
 */
import { type Clock, LongshoreError } from "@longshore/core";

/** A Clock that a test or a simulation drives. */
export interface VirtualClock extends Clock {
  /** Fires everything due within the next `byMs` and leaves the clock there. */
  advance(byMs: number): Promise<void>;
  /** Fires everything until nothing is left, or the next event lies after `untilMs`. */
  runUntilIdle(options?: { readonly untilMs?: number; readonly maxEvents?: number }): Promise<void>;
  /**
   * Fires events until `work` is settled, and hands back what it is. Throws `internal` when nothing is left to happen
   * and it still is not: a deadlock, found at once instead of by a test's timeout.
   */
  runUntil<T>(work: Promise<T>, options?: { readonly maxEvents?: number }): Promise<T>;
  /** Holds time still until work that real threads do is settled. */
  during<T>(work: Promise<T>): Promise<T>;
  /** Timers that wait. */
  readonly pending: number;
}

/** How a virtual clock begins. */
export interface VirtualClockOptions {
  /** Default 0. */
  readonly startMs?: number;
  /** Wall time at the start; default 2025-01-01T00:00:00Z. */
  readonly wallMs?: number;
  /** Resolves after all promise reactions that are ready have run; default: one turn of the event loop. */
  readonly settle?: () => Promise<void>;
}

/** Its clock makes one for each event: a class, so that cancelling needs neither another object nor a closure. */
class Timer implements Disposable {
  readonly atMs: number;
  readonly order: number;
  readonly #waiting: { pending: number };
  #fire: (() => void) | undefined;

  constructor(atMs: number, order: number, fire: () => void, waiting: { pending: number }) {
    this.atMs = atMs;
    this.order = order;
    this.#waiting = waiting;
    this.#fire = fire;
  }

  get cancelled(): boolean {
    return this.#fire === undefined;
  }

  /** Its work, for once. */
  take(): (() => void) | undefined {
    const fire = this.#fire;
    // It stays in the queue until its time, but not what it would do.
    this.#fire = undefined;
    if (fire) this.#waiting.pending -= 1;
    return fire;
  }

  [Symbol.dispose](): void {
    this.take();
  }
}

/** A timer that is due at no time. */
const idle: Disposable = { [Symbol.dispose]: () => undefined };

const mostEvents = 20_000_000;

/** A fresh clock. */
export function virtualClock(options: VirtualClockOptions = {}): VirtualClock {
  const { startMs = 0, wallMs = 1_735_689_600_000, settle = eventLoopTurn } = options;
  const timers = timerQueue();
  const waiting = { pending: 0 };
  let now = startMs;
  let made = 0;
  let running = false;
  /** Settles with the work of threads that is under way; never rejects. */
  const outside = new Set<Promise<unknown>>();

  async function outsideDone(): Promise<void> {
    for (const work of outside) {
      await work;
      await settle();
    }
  }

  /** Fires the next event at or before `untilMs`; false when there is none. */
  function fireNext(untilMs: number): boolean {
    const timer = timers.takeBefore(untilMs);
    const fire = timer?.take();
    if (!timer || !fire) return false;
    now = Math.max(now, timer.atMs);
    fire();
    return true;
  }

  /** Fires events, each with all that follows from it, until `done` says so. One promise an event: a simulation fires thousands. */
  async function drive(untilMs: number, maxEvents: number, done: () => boolean): Promise<void> {
    for (let events = 0; ; events++) {
      await settle();
      if (outside.size > 0) await outsideDone();
      if (events > maxEvents) throw fault(`more than ${maxEvents} events: something never comes to rest`);
      if (done() || !fireNext(untilMs)) return;
    }
  }

  async function alone<T>(run: () => Promise<T>): Promise<T> {
    if (running) throw fault("the virtual clock is already being driven");
    running = true;
    try {
      return await run();
    } finally {
      running = false;
    }
  }

  return {
    nowMs: () => now,
    wallMs: () => wallMs + (now - startMs),
    timer(delayMs, fire) {
      const atMs = now + Math.max(0, delayMs || 0);
      const order = made++;
      if (atMs === Infinity) return idle;
      const timer = new Timer(atMs, order, fire, waiting);
      timers.add(timer);
      waiting.pending += 1;
      return timer;
    },
    advance: (byMs) =>
      alone(async () => {
        const untilMs = now + byMs;
        await drive(untilMs, Infinity, never);
        now = Math.max(now, untilMs);
      }),
    runUntilIdle: ({ untilMs = Infinity, maxEvents = mostEvents } = {}) =>
      alone(() => drive(untilMs, maxEvents, never)),
    runUntil(work, { maxEvents = mostEvents } = {}) {
      // Watched from the start, so that an immediate rejection does not count as unhandled.
      const state = watched(work);
      return alone(async () => {
        await drive(Infinity, maxEvents, () => state.settled);
        if (!state.settled) throw fault("nothing is left to happen, but the work is not done");
        return await work;
      });
    },
    async during(work) {
      const quiet = work.then(
        () => undefined,
        () => undefined,
      );
      outside.add(quiet);
      try {
        return await work;
      } finally {
        outside.delete(quiet);
      }
    },
    get pending() {
      return waiting.pending;
    },
  };
}

const never = (): boolean => false;

/** Tells whether a promise is settled, without waiting for it. */
function watched(work: Promise<unknown>): { readonly settled: boolean } {
  const state = { settled: false };
  const mark = async (): Promise<void> => {
    try {
      await work;
    } catch {
      // The caller of `runUntil` is handed the same rejection.
    }
    state.settled = true;
  };
  void mark();
  return state;
}

function fault(message: string): LongshoreError {
  return new LongshoreError("internal", "execute", message);
}

/** One turn of the event loop: every promise reaction that is ready, and those that follow from them, have run. */
function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A binary heap by instant, then by order of making. */
function timerQueue(): { add(timer: Timer): void; takeBefore(untilMs: number): Timer | undefined } {
  const heap: Timer[] = [];
  const earlier = (a: Timer, b: Timer): boolean =>
    a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

  function take(): void {
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (!left) break;
      const right = heap[child + 1];
      if (right && earlier(right, left)) child += 1;
      const best = heap[child];
      if (!best || !earlier(best, last)) break;
      heap[at] = best;
      at = child;
    }
    heap[at] = last;
  }

  return {
    add(timer) {
      let at = heap.length;
      while (at > 0) {
        const up = (at - 1) >>> 1;
        const parent = heap[up];
        if (!parent || !earlier(timer, parent)) break;
        heap[at] = parent;
        at = up;
      }
      heap[at] = timer;
    },
    takeBefore(untilMs) {
      for (let first = heap[0]; first; first = heap[0]) {
        if (first.cancelled) {
          take();
          continue;
        }
        if (first.atMs > untilMs) return undefined;
        take();
        return first;
      }
      return undefined;
    },
  };
}
