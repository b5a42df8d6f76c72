import type { Clock } from "../../words/base/index.ts";

/**
 * The runs of this device, so that the wait of the next run is known in advance. A run that has begun cannot be cancelled: if its result
 * was dropped, it keeps its slot until it would have ended. A dropped run that still waits for its slot never runs.
 */
export interface LocalWork {
  /**
   * Hands over a run that is expected to take `runMs`. A back-up that is held back for an earlier deadline, and would be late after this
   * run, begins first. Call the methods of the result when the run ends.
   */
  begin(runMs: number, nowMs: number, deadlineMs?: number): LocalRun;
  /**
   * The same for the first run of a request. It queues behind requests that came before it and were sent elsewhere; see `LocalRun.turn`.
   */
  beginInTurn(runMs: number, nowMs: number, deadlineMs?: number): LocalRun;
  /**
   * Keeps the turn of a request that was sent elsewhere. When the device is free and the turn has come, `ask` is called; it begins a run if
   * that is best, and returns whether it did.
   */
  standBy(ask: () => boolean): Disposable;
  /** Time until a run could begin that has priority over those that wait for their turn; 0 while a slot is free. */
  freeMs(nowMs: number): number;
  /**
   * Runs that wait for their turn, which a run that has priority delays, for each slot, and how long the device needs for them.
   */
  waiting(): { readonly runs: number; readonly ms: number };
  /** Holds a run back for a deadline. `before` is called with the added wait when another run is about to begin. */
  keepBack(deadlineMs: number, before: (longerMs: number) => void): Disposable;
  /** Expected wait of a run that begins now. */
  queueMs(nowMs: number): number;
  /** Whether one more run would take the last free slot, so that the next request waits for it. */
  fills(nowMs: number): boolean;
}

interface Run {
  readonly runMs: number;
  handedMs: number;
  /** It waits for its turn, and is not handed over yet. */
  waits: boolean;
  /** When its result was dropped; Infinity before. */
  droppedMs: number;
}

/** Least interval between checks whether a dropped run has ended, in milliseconds. */
const leastLookMs = 5;

/** The slot that is free first. */
function soonest(free: Float64Array): number {
  let first = 0;
  for (let slot = 1; slot < free.length; slot++)
    if ((free[slot] ?? Infinity) < (free[first] ?? Infinity)) first = slot;
  return first;
}

/** One run under way. */
export interface LocalRun {
  /** Its turn at the device; undefined if it may begin at once. */
  readonly turn: Promise<void> | undefined;
  /** Its slot is free: the result (or the failure) came. */
  ended(): void;
  /** Records that its result is no longer needed. Nothing more will be reported of it. */
  dropped(nowMs: number): void;
}

/**
 * `slots` runs go on at once, in order of arrival. Each holds its slot for the time it was expected to take, less when it
 * ends earlier; a run that takes longer holds it until it ends.
 */
export function localWork(slots: number, clock?: Clock): LocalWork {
  const runs = new Set<Run>();
  /** The line of those that wait for a turn, in order of arrival: requests that were sent elsewhere, and first runs behind them. */
  let line: readonly (
    | { readonly ask: () => boolean }
    | { readonly run: Run; readonly release: () => void }
  )[] = [];
  let timer: Disposable | undefined;
  const keptBack = new Set<{ readonly deadlineMs: number; readonly before: (longerMs: number) => void }>();
  const sweep = (nowMs: number): void => {
    // A dropped run reports no end. It counts as over after twice its expected time.
    for (const run of runs) if (nowMs > run.droppedMs + 2 * run.runMs + 1000) runs.delete(run);
  };
  /** When the slot is free that `run` takes, or that the next takes after all runs. Each takes the first free slot in turn. */
  const freeMs = (nowMs: number, before?: Run, handedOnly = false): number => {
    const free = new Float64Array(slots);
    for (const run of runs) {
      if (run === before) break;
      if (handedOnly && run.waits) continue;
      const slot = soonest(free);
      const endsMs = Math.max(run.handedMs, free[slot] ?? 0) + run.runMs;
      // A run whose result is needed, and that has not ended, goes on.
      free[slot] = run.droppedMs < Infinity ? endsMs : Math.max(nowMs, endsMs);
    }
    return free[soonest(free)] ?? 0;
  };
  const queueMs = (nowMs: number): number => {
    if (runs.size < slots) return 0;
    sweep(nowMs);
    return Math.max(0, freeMs(nowMs) - nowMs);
  };
  /** How much longer the next run would wait behind this one. */
  const longerBehind = (run: Run, nowMs: number): number => {
    const waitMs = queueMs(nowMs);
    runs.add(run);
    const longerMs = queueMs(nowMs) - waitMs;
    runs.delete(run);
    return longerMs;
  };
  /** Whether a slot is free. A run whose result is needed holds its slot until it ends, a dropped run until it would have ended. */
  const hasFree = (nowMs: number): boolean => {
    sweep(nowMs);
    let held = 0;
    const free = new Float64Array(slots);
    for (const run of runs) {
      if (run.waits) continue;
      const slot = soonest(free);
      free[slot] = Math.max(run.handedMs, free[slot] ?? 0) + run.runMs;
      if (run.droppedMs === Infinity || (free[slot] ?? 0) > nowMs) held++;
    }
    return held < slots;
  };
  const untilFreeMs = (nowMs: number): number =>
    hasFree(nowMs) ? 0 : Math.max(1, freeMs(nowMs, undefined, true) - nowMs);
  /** A dropped run reports no end, so the device is checked when it would have ended. */
  const watchDropped = (): void => {
    if (!clock || timer || !line.some((one) => "run" in one)) return;
    if (![...runs].some(({ droppedMs }) => droppedMs < Infinity)) return;
    timer = clock.timer(Math.max(leastLookMs, untilFreeMs(clock.nowMs())), walk);
  };
  /** Serves the line in order while the device is free. */
  const walk = (): void => {
    timer?.[Symbol.dispose]();
    timer = undefined;
    if (!clock || line.length === 0) return;
    for (const one of line) {
      if (!hasFree(clock.nowMs())) break;
      if (!line.includes(one)) continue;
      if ("ask" in one) one.ask();
      else {
        line = line.filter((other) => other !== one);
        one.run.waits = false;
        one.run.handedMs = clock.nowMs();
        one.release();
      }
    }
    watchDropped();
  };
  let begun = 0;
  return {
    beginInTurn(runMs, nowMs, deadlineMs) {
      if (!clock || line.length === 0 || hasFree(nowMs)) return this.begin(runMs, nowMs, deadlineMs);
      const run: Run = { runMs, handedMs: nowMs, waits: true, droppedMs: Infinity };
      runs.add(run);
      const turn = new Promise<void>((resolve) => {
        line = [...line, { run, release: resolve }];
      });
      watchDropped();
      const over = (): void => {
        runs.delete(run);
        line = line.filter((one) => !("run" in one && one.run === run));
        walk();
      };
      return {
        turn,
        ended: over,
        dropped(atMs) {
          if (run.waits) return over();
          run.droppedMs = atMs;
          walk();
        },
      };
    },
    standBy(ask) {
      const one = { ask };
      line = [...line, one];
      return {
        [Symbol.dispose]() {
          line = line.filter((other) => other !== one);
          walk();
        },
      };
    },
    freeMs: untilFreeMs,
    waiting() {
      let [count, ms] = [0, 0];
      for (const run of runs) {
        if (!run.waits) continue;
        count += 1;
        ms += run.runMs;
      }
      return { runs: count / slots, ms: ms / slots };
    },
    begin(runMs, nowMs, deadlineMs = Infinity) {
      const run: Run = { runMs, handedMs: nowMs, waits: false, droppedMs: Infinity };
      if (runs.size > 0) sweep(nowMs);
      let longerMs = keptBack.size > 0 ? longerBehind(run, nowMs) : 0;
      const urgent = longerMs > 0 ? [...keptBack].filter((one) => one.deadlineMs < deadlineMs) : [];
      for (const one of urgent.sort((a, b) => a.deadlineMs - b.deadlineMs)) {
        const before = begun;
        if (longerMs > 0 && keptBack.has(one)) one.before(longerMs);
        if (begun > before) longerMs = longerBehind(run, nowMs);
      }
      begun++;
      runs.add(run);
      return {
        turn: undefined,
        ended() {
          runs.delete(run);
          walk();
        },
        dropped(atMs) {
          if (freeMs(atMs, run) > atMs) runs.delete(run);
          run.droppedMs = atMs;
          walk();
        },
      };
    },
    fills(nowMs) {
      if (runs.size + 1 >= slots) sweep(nowMs);
      return runs.size + 1 >= slots;
    },
    keepBack(deadlineMs, before) {
      const one = { deadlineMs, before };
      keptBack.add(one);
      return { [Symbol.dispose]: () => void keptBack.delete(one) };
    },
    queueMs,
  };
}
