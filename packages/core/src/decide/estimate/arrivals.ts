/** When the next request is expected, from the gaps between the latest ones: a guess at rhythm, not a model of it. */
export interface Arrivals {
  /** A request came. */
  seen(nowMs: number): void;
  /** Times from now until the next one, equally likely; those gaps that are over are left out. Empty: nothing is known. */
  untilNextMs(nowMs: number): Float64Array;
  /** The least of them; Infinity when nothing is known. */
  soonestMs(nowMs: number): number;
}

/** Gaps remembered. */
const remembered = 16;

/** Before any request. */
export function arrivals(): Arrivals {
  const gapsMs: number[] = [];
  let lastMs: number | undefined;
  return {
    seen(nowMs) {
      if (lastMs !== undefined && nowMs >= lastMs) gapsMs.push(nowMs - lastMs);
      if (gapsMs.length > remembered) gapsMs.shift();
      lastMs = nowMs;
    },
    untilNextMs(nowMs) {
      const passedMs = nowMs - (lastMs ?? nowMs);
      const leftMs = new Float64Array(gapsMs.length);
      let count = 0;
      for (const gap of gapsMs) if (gap > passedMs) leftMs[count++] = gap - passedMs;
      return leftMs.subarray(0, count);
    },
    soonestMs(nowMs) {
      const passedMs = nowMs - (lastMs ?? nowMs);
      let least = Infinity;
      for (const gap of gapsMs) if (gap > passedMs) least = Math.min(least, gap - passedMs);
      return least;
    },
  };
}
