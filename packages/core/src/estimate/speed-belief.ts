import { type Estimate, estimateOf } from "./estimate.ts";

/** How a place's speed is followed. */
export interface SpeedBeliefOptions {
  /** Runs remembered; default 32. */
  readonly capacity?: number;
  /** Ratio believed in before anything was seen; default 1: as fast as the profile's machine. */
  readonly priorRatio?: number;
  /** Spread of the prior: outermost values lie this factor away; default 2. */
  readonly priorFactor?: number;
  /** Sum of log-deviations at which drift is called; default 1.2. */
  readonly driftThreshold?: number;
}

/** Observed time over profiled time of one place: above 1 it is slower than the profile's machine. */
export interface SpeedBelief {
  /** A run took `observedMs` where the profile says `profileMs`. Ignores what is not above 0. */
  seen(observedMs: number, profileMs: number, nowMs: number): void;
  /** Factor to multiply profiled times with, as a belief. Read-only, shared between calls. */
  ratio(): Estimate;
  /** How often a lasting change of speed was noticed (heat, a busy processor): runs from before it are forgotten. */
  readonly drifts: number;
}

/** A run is never believed to say more than this against the median: one page fault is no drift. */
const largestDeviation = 0.4;
const allowance = 0.08;

/** Runs in which code may still be warming up, and how far above the quickest of them one counts. */
const warmingRuns = 8;
const warmRatio = 1.3;

/**
 * The latest ratios as a belief, with a two-sided cumulative sum on their logarithm (E. S. Page, "Continuous Inspection
 * Schemes", 1954): small steady deviations add up and, past the threshold, everything but the newest runs is dropped, so
 * that a lasting change is followed within a few runs while single outliers only widen the belief.
 */
export function speedBelief(options: SpeedBeliefOptions = {}): SpeedBelief {
  const { capacity = 32, priorRatio = 1, priorFactor = 2, driftThreshold = 1.2 } = options;
  let ratios: number[] = [];
  let above = 0;
  let below = 0;
  let drifts = 0;
  let runs = 0;
  let cached: Estimate = estimateOf(
    [
      priorRatio / priorFactor,
      priorRatio / Math.sqrt(priorFactor),
      priorRatio,
      priorRatio * Math.sqrt(priorFactor),
      priorRatio * priorFactor,
    ],
    { observedAtMs: -Infinity, origin: "prior" },
  );

  function median(): number {
    const sorted = ratios.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? priorRatio;
  }

  return {
    get drifts() {
      return drifts;
    },
    seen(observedMs, profileMs, nowMs) {
      const ratio = observedMs / profileMs;
      if (!(ratio > 0) || ratio === Infinity || !(observedMs > 0)) return;
      if (ratios.length >= 4) {
        const raw = Math.log(ratio / median());
        const deviation = Math.max(-largestDeviation, Math.min(largestDeviation, raw));
        above = Math.max(0, above + deviation - allowance);
        below = Math.max(0, below - deviation - allowance);
        if (above > driftThreshold || below > driftThreshold) {
          drifts += 1;
          above = 0;
          below = 0;
          ratios = ratios.slice(-3);
        }
      }
      ratios.push(ratio);
      // The first runs load pages and compile: one of them is believed only until there is a much quicker one.
      if (runs++ < warmingRuns) {
        const quickest = Math.min(...ratios);
        ratios = ratios.filter((one) => one <= warmRatio * quickest);
      }
      if (ratios.length > capacity) ratios.shift();
      cached = estimateOf(ratios, { observedAtMs: nowMs, origin: "measured" });
    },
    ratio: () => cached,
  };
}
