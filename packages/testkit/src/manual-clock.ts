import type { Clock } from "@longshore/core";

/** A clock that stands still until a test moves it. */
export interface ManualClock extends Clock {
  /** Moves time by `milliseconds`, firing timers in the order in which they are due and letting promises run between. */
  advance(milliseconds: number): Promise<void>;
  /** Moves from timer to timer until `promise` settles; throws when nothing is left that could settle it. */
  finish<T>(promise: Promise<T>): Promise<T>;
  /** How many timers are armed: a test of leaks. */
  armed(): number;
  /** How many timers were ever set: how often something waited for its turn. */
  timersSet(): number;
}

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly fire: () => void;
}

/** Lets every promise that can go on without a timer go on. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** Virtual time from `startMs`. Two runs of one test see the same order of events. */
export function manualClock(startMs = 0): ManualClock {
  let nowMs = startMs;
  let order = 0;
  const timers = new Set<Timer>();

  function next(untilMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of timers) {
      if (timer.dueMs > untilMs) continue;
      if (!first || timer.dueMs < first.dueMs || (timer.dueMs === first.dueMs && timer.order < first.order)) {
        first = timer;
      }
    }
    return first;
  }

  async function fireNext(untilMs: number): Promise<boolean> {
    await settle();
    const timer = next(untilMs);
    if (!timer) return false;
    timers.delete(timer);
    nowMs = Math.max(nowMs, timer.dueMs);
    timer.fire();
    return true;
  }

  return {
    nowMs: () => nowMs,
    wallMs: () => 1_700_000_000_000 + nowMs,
    timer(delayMs, fire) {
      const timer: Timer = { dueMs: nowMs + Math.max(0, delayMs), order: order++, fire };
      timers.add(timer);
      return { [Symbol.dispose]: () => void timers.delete(timer) };
    },
    timersSet: () => order,
    async advance(milliseconds) {
      const untilMs = nowMs + milliseconds;
      while (await fireNext(untilMs));
      nowMs = Math.max(nowMs, untilMs);
      await settle();
    },
    async finish(promise) {
      const state = { settled: false };
      const note = (): void => void (state.settled = true);
      promise.then(note, note);
      await settle();
      while (!state.settled) {
        if (!(await fireNext(Infinity)) && !state.settled) {
          throw new Error(`nothing is left at ${nowMs} ms that could settle the promise`);
        }
        await settle();
      }
      return promise;
    },
    armed: () => timers.size,
  };
}
