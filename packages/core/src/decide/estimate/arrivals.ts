/** Predicts the next request from the gaps between the latest ones. It guesses a rhythm and does not model it. */
export interface Arrivals {
  /** The latest gaps, in milliseconds. */
  readonly gapsMs: readonly number[];
  /** Records a request at this time. */
  seen(nowMs: number): void;
  /** Equally likely times until the next request. Gaps that have already passed are left out. Empty when no gap is known. */
  untilNextMs(nowMs: number): Float64Array;
  /** The shortest of those times; Infinity when no gap is known. */
  soonestMs(nowMs: number): number;
  /** When the next request is due, for a probe that should return just before it. */
  probeDueMs(nowMs: number): ProbeDue;
}

/** When probes for the next request are worth their bytes. */
export interface ProbeDue {
  /** Earliest time until the next request; Infinity when no gap is known. */
  readonly soonestMs: number;
  /** True if requests are regular: one probe just before `soonestMs` is enough. Otherwise a request may come at any time after it. */
  readonly rhythm: boolean;
  /** False once twice the longest gap has passed: no further request is expected. */
  readonly expected: boolean;
}

/** Number of gaps remembered. At 32 their mean is off by a sixth, and the estimate still follows a change of load. */
const remembered = 32;
/** Gaps that differ by less than this count as regular. */
const rhythmMs = 150;

/** Starts without any request. */
export function arrivals(): Arrivals {
  const gapsMs: number[] = [];
  let lastMs: number | undefined;
  const passed = (nowMs: number): number => nowMs - (lastMs ?? nowMs);
  return {
    gapsMs,
    seen(nowMs) {
      if (lastMs !== undefined && nowMs >= lastMs) gapsMs.push(nowMs - lastMs);
      if (gapsMs.length > remembered) gapsMs.shift();
      lastMs = nowMs;
    },
    untilNextMs(nowMs) {
      const passedMs = passed(nowMs);
      const leftMs = new Float64Array(gapsMs.length);
      let count = 0;
      for (const gap of gapsMs) if (gap > passedMs) leftMs[count++] = gap - passedMs;
      return leftMs.subarray(0, count);
    },
    soonestMs(nowMs) {
      return this.probeDueMs(nowMs).soonestMs;
    },
    probeDueMs(nowMs) {
      const passedMs = passed(nowMs);
      let soonestMs = Infinity;
      let latestMs = 0;
      let longest = 0;
      for (const gap of gapsMs) {
        longest = Math.max(longest, gap);
        if (gap <= passedMs) continue;
        soonestMs = Math.min(soonestMs, gap - passedMs);
        latestMs = Math.max(latestMs, gap - passedMs);
      }
      return {
        soonestMs,
        rhythm: soonestMs < Infinity && latestMs - soonestMs <= rhythmMs,
        expected: lastMs !== undefined && (gapsMs.length === 0 || passedMs <= 2 * longest),
      };
    },
  };
}
