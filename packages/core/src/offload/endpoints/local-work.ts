/**
 * What runs at this endpoint, so that the wait of the next run is known before it is asked for. A run that has begun cannot be cancelled:
 * one whose result was dropped keeps its slot until it would have ended. One that still waits for its turn then never runs.
 */
export interface LocalWork {
  /**
   * A run that is expected to take `runMs` is handed over. What is kept back for an earlier deadline and would be late behind it begins
   * before. Returns what to tell when its result came.
   */
  begin(runMs: number, nowMs: number, deadlineMs?: number): LocalRun;
  /** A run is kept back for a deadline; `before` is told by how much it would wait longer behind one that is about to begin. */
  keepBack(deadlineMs: number, before: (longerMs: number) => void): Disposable;
  /** Expected wait of a run that begins now. */
  queueMs(nowMs: number): number;
  /** Whether one more run leaves no slot free, so that the next request would wait for it. */
  fills(nowMs: number): boolean;
}

interface Run {
  readonly runMs: number;
  readonly handedMs: number;
  /** Infinity as long as its result is waited for. */
  droppedMs: number;
}

/** The slot that is free first. */
function soonest(free: Float64Array): number {
  let first = 0;
  for (let slot = 1; slot < free.length; slot++)
    if ((free[slot] ?? Infinity) < (free[first] ?? Infinity)) first = slot;
  return first;
}

/** One run under way. */
export interface LocalRun {
  /** Its slot is free: the result (or the failure) came. */
  ended(): void;
  /** Nobody waits for its result any more: nothing more will be told of it. */
  dropped(nowMs: number): void;
}

/**
 * `slots` runs go on at once, in order of arrival. Each holds its slot for the time it was expected to take, less when it
 * ends earlier; a run that takes longer holds it until it ends.
 */
export function localWork(slots: number): LocalWork {
  const runs = new Set<Run>();
  const keptBack = new Set<{ readonly deadlineMs: number; readonly before: (longerMs: number) => void }>();
  const sweep = (nowMs: number): void => {
    // What tells nothing any more is taken to be over, past twice its expectation: it had begun when it was dropped.
    for (const run of runs) if (nowMs > run.droppedMs + 2 * run.runMs + 1000) runs.delete(run);
  };
  /** When the slot is free that `run`, or after all of them the next, takes: each in turn takes the one that is free first. */
  const freeMs = (nowMs: number, before?: Run): number => {
    const free = new Float64Array(slots);
    for (const run of runs) {
      if (run === before) break;
      const slot = soonest(free);
      const endsMs = Math.max(run.handedMs, free[slot] ?? 0) + run.runMs;
      // What is waited for and has not ended yet runs on.
      free[slot] = run.droppedMs < Infinity ? endsMs : Math.max(nowMs, endsMs);
    }
    return free[soonest(free)] ?? 0;
  };
  const queueMs = (nowMs: number): number => {
    if (runs.size < slots) return 0;
    sweep(nowMs);
    return Math.max(0, freeMs(nowMs) - nowMs);
  };
  /** By how much the next run would wait longer behind this one. */
  const longerBehind = (run: Run, nowMs: number): number => {
    const waitMs = queueMs(nowMs);
    runs.add(run);
    const longerMs = queueMs(nowMs) - waitMs;
    runs.delete(run);
    return longerMs;
  };
  let begun = 0;
  return {
    begin(runMs, nowMs, deadlineMs = Infinity) {
      const run: Run = { runMs, handedMs: nowMs, droppedMs: Infinity };
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
        ended: () => void runs.delete(run),
        dropped(atMs) {
          if (freeMs(atMs, run) > atMs) runs.delete(run);
          run.droppedMs = atMs;
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
