/** When the next request is expected, from the gaps between the latest ones: a guess at rhythm, not a model of it. */
export interface Arrivals {
  /** The latest gaps, in milliseconds. */
  readonly gapsMs: readonly number[];
  /** A request came. */
  seen(nowMs: number): void;
  /** Times from now until the next one, equally likely; those gaps that are over are left out. Empty: nothing is known. */
  untilNextMs(nowMs: number): Float64Array;
  /** The least of them; Infinity when nothing is known. */
  soonestMs(nowMs: number): number;
  /** When the next request is due, for a probe that is to be back just before it. */
  probeDueMs(nowMs: number): ProbeDue;
}

/** When probes for the next request are worth their bytes. */
export interface ProbeDue {
  /** Until it may come at the soonest; Infinity where nothing is known. */
  readonly soonestMs: number;
  /** It comes about then, so that one probe just before is enough. Otherwise it may come at any time from then on. */
  readonly rhythm: boolean;
  /** It may still come: twice the longest gap is not over. After that, nobody sends any more. */
  readonly expected: boolean;
}

/** Gaps remembered: enough that their mean is off by a sixth, few enough to follow a change of load. */
const remembered = 32;
/** Gaps that differ by less are a rhythm. */
const rhythmMs = 150;

/** Before any request. */
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
