/**
 * What runs at this place, so that the wait of the next run is known before it is asked for. A run that has begun cannot be cancelled:
 * one whose result was dropped keeps its slot until it would have ended. One that still waits for its turn then never runs.
 */
export interface LocalWork {
  /** A run that is expected to take `runMs` was handed over. Returns what to tell when its result came. */
  begin(runMs: number, nowMs: number): LocalRun;
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
  const sweep = (nowMs: number): void => {
    // What tells nothing any more is taken to be over, past twice its expectation: it had begun when it was dropped.
    for (const run of runs) if (nowMs > run.droppedMs + 2 * run.runMs + 1000) runs.delete(run);
  };
  /** When the slot is free that `run`, or after all of them the next, takes: each in turn takes the one that is free first. */
  const freeMs = (nowMs: number, before?: Run): number => {
    const free = new Float64Array(slots);
    for (const run of runs) {
      if (run === before) break;
      const slot = free.indexOf(Math.min(...free));
      const endsMs = Math.max(run.handedMs, free[slot] ?? 0) + run.runMs;
      // What is waited for and has not ended yet runs on.
      free[slot] = run.droppedMs < Infinity ? endsMs : Math.max(nowMs, endsMs);
    }
    return Math.min(...free);
  };
  return {
    begin(runMs, nowMs) {
      const run: Run = { runMs, handedMs: nowMs, droppedMs: Infinity };
      if (runs.size > 0) sweep(nowMs);
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
    queueMs(nowMs) {
      if (runs.size < slots) return 0;
      sweep(nowMs);
      return Math.max(0, freeMs(nowMs) - nowMs);
    },
  };
}
