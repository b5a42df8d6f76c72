import {
  type Estimate,
  estimateOf,
  estimateOfSorted,
  estimateSize,
  quantileOfSorted,
} from "../../words/estimate/index.ts";

/** Fewer samples are filled up with others. */
const leastSamples = 8;

/** How durations are remembered. */
export interface DurationBeliefOptions {
  /** Median of the prior, in milliseconds. */
  readonly priorMs: number;
  /** The prior's outermost values lie about this factor above and below its median; default 4. */
  readonly priorFactor?: number;
  /** Number of samples kept; default 64. */
  readonly capacity?: number;
  /** Samples older than this are ignored; default 10 minutes. */
  readonly maxAgeMs?: number;
}

/** Belief about a duration that is measured now and then: a round trip, a run, a wait. */
export interface DurationBelief {
  seen(tookMs: number, nowMs: number): void;
  /** Has origin `measured` while a sample is young enough; otherwise it is the prior again. Read-only, shared between calls. */
  estimate(nowMs: number): Estimate;
  /** The last value of that estimate; Infinity while it is the prior. */
  longestMs(nowMs: number): number;
}

/**
 * The latest samples, bounded in number and age, as an Estimate. One or two samples do not make a distribution. Below eight samples the
 * shape of the prior, scaled to their median, fills up the rest.
 */
export function durationBelief(options: DurationBeliefOptions): DurationBelief {
  const { priorMs, priorFactor = 4, capacity = 64, maxAgeMs = 600_000 } = options;
  const tookMs: number[] = [];
  /** The same by size: each exchange with a server adds a sample and reads the longest. */
  const sortedMs: number[] = [];
  const seenAtMs: number[] = [];
  const prior = priorShape(priorMs, priorFactor, { observedAtMs: -Infinity, origin: "prior" });
  let cached: Estimate = prior;
  /**
   * The estimate is recomputed after this instant. A new sample makes it stale at once, but only a reader recomputes it: most samples are
   * never read.
   */
  let freshUntilMs = Infinity;

  function forgetOld(nowMs: number): void {
    while (nowMs - (seenAtMs[0] ?? Infinity) > maxAgeMs) forgetOldest();
  }

  function refresh(nowMs: number): void {
    forgetOld(nowMs);
    const newest = seenAtMs[seenAtMs.length - 1];
    freshUntilMs = (seenAtMs[0] ?? Infinity) + maxAgeMs;
    if (newest === undefined) {
      cached = prior;
      return;
    }
    const about = { observedAtMs: newest, origin: "measured" as const };
    cached =
      sortedMs.length < leastSamples ? estimateOf(filledUp(about), about) : estimateOfSorted(sortedMs, about);
  }

  /** The few samples, among values that are narrower than the prior and wider than certainty. */
  function filledUp(about: Pick<Estimate, "observedAtMs" | "origin">): readonly number[] {
    const samples = [...sortedMs];
    const median = samples[Math.floor((samples.length - 1) / 2)] ?? priorMs;
    const filler = priorShape(median, Math.sqrt(priorFactor), about).values;
    for (let index = 0; samples.length < leastSamples; index++)
      samples.push(filler[(index * 5 + 7) % estimateSize] ?? median);
    return samples;
  }

  function forgetOldest(): void {
    seenAtMs.shift();
    const oldestMs = tookMs.shift();
    if (oldestMs !== undefined) sortedMs.splice(positionIn(sortedMs, oldestMs), 1);
  }

  function estimate(nowMs: number): Estimate {
    if (nowMs > freshUntilMs) refresh(nowMs);
    return cached;
  }

  return {
    seen(took, nowMs) {
      if (!(took >= 0) || took === Infinity || !Number.isFinite(nowMs)) return;
      tookMs.push(took);
      sortedMs.splice(positionIn(sortedMs, took), 0, took);
      seenAtMs.push(Math.max(nowMs, seenAtMs[seenAtMs.length - 1] ?? nowMs));
      if (seenAtMs.length > capacity) forgetOldest();
      freshUntilMs = -Infinity;
    },
    estimate,
    longestMs(nowMs) {
      forgetOld(nowMs);
      if (sortedMs.length === 0) return Infinity;
      return sortedMs.length < leastSamples
        ? (estimate(nowMs).values[estimateSize - 1] ?? Infinity)
        : quantileOfSorted(sortedMs, (estimateSize - 0.5) / estimateSize);
    },
  };
}

/** The position of the first value that is not less. */
function positionIn(sorted: readonly number[], value: number): number {
  let first = 0;
  for (let end = sorted.length; first < end;) {
    const middle = (first + end) >>> 1;
    if ((sorted[middle] ?? Infinity) < value) first = middle + 1;
    else end = middle;
  }
  return first;
}

/** A log-symmetric shape around a median whose outermost values lie about `factor` away. */
function priorShape(
  medianMs: number,
  factor: number,
  about: Pick<Estimate, "observedAtMs" | "origin">,
): Estimate {
  const values = Float64Array.from({ length: estimateSize }, (_, index) => {
    const ratio = (index + 0.5) / estimateSize;
    // The logistic quantile is close enough to a normal one and has a closed form.
    const wide = Math.log((estimateSize - 0.5) / 0.5);
    return medianMs * factor ** (Math.log(ratio / (1 - ratio)) / wide);
  });
  return { values, ...about };
}
