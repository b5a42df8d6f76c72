/**
 * What runs at this place, so that the wait of the next run is known before it is asked for. A run cannot be cancelled:
 * one whose result was dropped keeps its slot until it would have ended.
 */
export interface LocalWork {
  /** A run that is expected to take `runMs` was handed over. Returns what to tell when its result came. */
  begin(runMs: number, nowMs: number): LocalRun;
  /** Expected wait of a run that begins now. */
  queueMs(nowMs: number): number;
  /** Whether one more run leaves no slot free, so that the next request would wait for it. */
  fills(nowMs: number): boolean;
}

/** One run under way. */
export interface LocalRun {
  /** Its slot is free: the result (or the failure) came. Not called for a run whose result is not waited for any more. */
  ended(): void;
}

/**
 * `slots` runs go on at once, in order of arrival. Each holds its slot for the time it was expected to take, less when it
 * ends earlier; a run that takes longer holds it until it ends.
 */
export function localWork(slots: number): LocalWork {
  const runs = new Set<{ readonly runMs: number; beganMs: number }>();
  const sweep = (nowMs: number): void => {
    // A dropped run tells nothing when it ends; past twice its expectation it is taken to be over.
    for (const run of runs) if (nowMs > run.beganMs + 2 * run.runMs + 1000) runs.delete(run);
  };
  return {
    begin(runMs, nowMs) {
      const run = { runMs, beganMs: nowMs };
      if (runs.size > 0) sweep(nowMs);
      runs.add(run);
      return { ended: () => void runs.delete(run) };
    },
    fills(nowMs) {
      if (runs.size + 1 >= slots) sweep(nowMs);
      return runs.size + 1 >= slots;
    },
    queueMs(nowMs) {
      if (runs.size < slots) return 0;
      sweep(nowMs);
      // Each slot in turn takes the earliest run: ends of what is under way, filled greedily.
      const free = new Float64Array(slots);
      for (const run of runs) {
        let earliest = 0;
        for (let slot = 1; slot < slots; slot++) {
          if ((free[slot] ?? 0) < (free[earliest] ?? 0)) earliest = slot;
        }
        const begins = Math.max(run.beganMs, free[earliest] ?? 0);
        free[earliest] = Math.max(nowMs, begins + run.runMs);
      }
      let wait = Infinity;
      for (const at of free) wait = Math.min(wait, Math.max(0, at - nowMs));
      return wait;
    },
  };
}
