import { type Estimate, estimateOf, estimateSize, meanOf, scale } from "../../words/estimate/index.ts";

/** How an endpoint's speed is followed. */
export interface SpeedBeliefOptions {
  /** Runs remembered; default 32. */
  readonly capacity?: number;
  /** Prior ratio, read again until the first run; default 1: as fast as the profile's machine. */
  readonly prior?: () => number;
  /** Spread of the prior: outermost values lie about this factor away; default 1.5. */
  readonly priorFactor?: number;
  /** Sum of log-deviations that counts as drift; default 1. A noisy endpoint has a larger one. */
  readonly driftThreshold?: number;
}

/** Observed time over profiled time of one endpoint: above 1 it is slower than the profile's machine. */
export interface SpeedBelief {
  /**
   * Records a run of `observedMs` with a profiled time of `profileMs`. Ignores values that are not above 0, and runs that are short
   * compared with recent ones.
   */
  seen(observedMs: number, profileMs: number, nowMs: number): void;
  /** Factor to multiply profiled times with, as a belief. Read-only, shared between calls. */
  ratio(): Estimate;
  /** Its mean. */
  mean(): number;
  /** Number of runs that count. */
  readonly runs: number;
  /** Number of lasting changes of speed (heat, a busy processor). Each forgets the runs before it. */
  readonly drifts: number;
}

/** Cap on one run's deviation from the median: one page fault is no drift. */
const largestDeviation = 0.4;
/** Deviations up to this, or up to half of the usual spread, add nothing. */
const allowance = 0.08;
/** The threshold is at least this many times the usual spread. */
const thresholdSpreads = 4;

/**
 * This many consecutive runs beyond the same fifth of the earlier runs are a change, whatever the spread. Without a change, and with runs
 * that vary by a twentieth, this happens once in about 2,300 runs.
 */
const apartRuns = 6;
/** Reciprocal of the share that such runs lie beyond: a fifth. */
const apartShare = 5;

/**
 * From this many runs on, only every fourth run recomputes the belief, since that sorts. All runs are remembered, so slow changes are
 * followed as closely.
 */
const settledRuns = 64;
/** Runs between two computations after that. */
const freshRuns = 4;
/** A run that differs by more than this share causes a computation at once. */
const unusualRatio = 0.15;

/**
 * A run with a predicted time below this share of the longest recent one is ignored. Most of its excess over the profile comes with every
 * run (a message to another thread, a moment without a core) and would count as slowness of much longer runs.
 */
const briefRatio = 0.25;
/** Decay of the longest time with each run, so that short runs count if only such runs come. */
const longestFades = 0.95;

/**
 * A device is rarely more than this many times as fast as the machine of a profile. A profiled time that needs more is likely wrong, so it
 * does not mark other runs as short beyond this factor. Its own ratio still counts, since an accelerator may be as fast as that; alone it
 * moves little.
 */
const fastest = 16;

/** Runs during which a model may still be warming up. */
const warmingRuns = 12;
/** A cold run takes this factor longer than those after it. */
const warmRatio = 1.3;

/**
 * The latest ratios as a belief, with a two-sided cumulative sum on their logarithm (E. S. Page, "Continuous Inspection Schemes", 1954).
 * Small steady deviations add up. Past the threshold, everything before the sum began to grow is dropped, so a lasting change is followed
 * within a few runs while single outliers only widen the belief. The spread of earlier runs decides which deviations are small. A busy
 * endpoint has so wide a spread that little would add up, so there the order of runs shows a change where their sizes do not.
 */
export function speedBelief(options: SpeedBeliefOptions = {}): SpeedBelief {
  return new SpeedSeen(options);
}

/** The mean of these two values is the median of an estimate; its quartiles are near those below. */
const middle = estimateSize / 2;
const lowQuartile = estimateSize / 4 - 1;
const highQuartile = estimateSize - estimateSize / 4;
/** Distance of the quartiles of a normal distribution, in standard deviations. */
const quartilesApart = 1.35;

class SpeedSeen implements SpeedBelief {
  runs = 0;
  drifts = 0;
  readonly #capacity: number;
  readonly #prior: () => number;
  readonly #priorFactor: number;
  readonly #driftThreshold: number;
  #ratios: number[] = [];
  /** Sums of deviations to either side, and how many runs ago each began to grow. */
  #above = 0;
  #aboveRuns = 0;
  #below = 0;
  #belowRuns = 0;
  /** Profiled time of the longest recent run, with decay. */
  #longestMs = 0;
  #atMs = -Infinity;
  /** Computed on the first read; undefined after enough new runs. */
  #belief: Estimate | undefined;
  /** Runs not yet in the belief. */
  #fresh = 0;
  #believedPrior = NaN;
  #mean: number | undefined;

  constructor({ capacity = 32, prior = () => 1, priorFactor = 1.5, driftThreshold = 1 }: SpeedBeliefOptions) {
    this.#capacity = capacity;
    this.#prior = prior;
    this.#priorFactor = priorFactor;
    this.#driftThreshold = driftThreshold;
  }

  seen(observedMs: number, profileMs: number, nowMs: number): void {
    const ratio = observedMs / profileMs;
    if (!(ratio > 0) || ratio === Infinity || !(observedMs > 0)) return;
    this.#longestMs = Math.max(Math.min(profileMs, fastest * observedMs), this.#longestMs * longestFades);
    if (profileMs < briefRatio * this.#longestMs) return;
    if (this.#ratios.length >= 4) this.#watch(ratio);
    const usual = Math.abs(ratio / this.mean() - 1) <= unusualRatio;
    this.#ratios.push(ratio);
    this.runs++;
    if (this.runs <= warmingRuns) this.#ratios.splice(0, coldRuns(this.#ratios));
    if (this.#ratios.length > this.#capacity) this.#ratios.shift();
    this.#atMs = nowMs;
    this.#fresh++;
    const changed = this.#compareLast();
    if (usual && !changed && this.runs > settledRuns && this.#fresh < freshRuns) return;
    this.#belief = undefined;
    this.#mean = undefined;
  }

  ratio(): Estimate {
    if (this.#ratios.length > 0) {
      if (!this.#belief) {
        this.#fresh = 0;
        this.#belief = estimateOf(this.#ratios, { observedAtMs: this.#atMs, origin: "measured" });
      }
      return this.#belief;
    }
    const prior = this.#prior();
    if (!this.#belief || prior !== this.#believedPrior) {
      this.#believedPrior = prior;
      this.#mean = undefined;
      this.#belief = around(prior, this.#priorFactor);
    }
    return this.#belief;
  }

  mean(): number {
    const belief = this.ratio();
    this.#mean ??= meanOf(belief);
    return this.#mean;
  }

  /** Adds the newest deviation, and forgets the runs before a change. */
  #watch(ratio: number): void {
    const { values } = this.ratio();
    const median = medianOf(values);
    const spread = Math.log((values[highQuartile] ?? NaN) / (values[lowQuartile] ?? NaN)) / quartilesApart;
    const raw = Math.log(ratio / median);
    const deviation = Math.max(-largestDeviation, Math.min(largestDeviation, raw));
    const allowed = Math.min(largestDeviation / 2, Math.max(allowance, spread / 2));
    this.#above = Math.max(0, this.#above + deviation - allowed);
    this.#below = Math.max(0, this.#below - deviation - allowed);
    this.#aboveRuns = this.#above > 0 ? this.#aboveRuns + 1 : 0;
    this.#belowRuns = this.#below > 0 ? this.#belowRuns + 1 : 0;
    const threshold = Math.max(this.#driftThreshold, Math.min(2, thresholdSpreads * spread));
    const since = this.#above > threshold ? this.#aboveRuns : this.#below > threshold ? this.#belowRuns : 0;
    // The newest run itself is added later.
    if (since > 0) this.#drifted(since > 1 ? this.#ratios.slice(1 - since) : []);
  }

  /** Forgets the runs before the last few if all of those lie far to one side. Returns whether it did. */
  #compareLast(): boolean {
    const { length } = this.#ratios;
    if (length < 2 * apartRuns) return false;
    // Nearly always they lie on both sides of the median, which needs no sorting to see.
    const median = this.#belief ? medianOf(this.#belief.values) : NaN;
    let above = 0;
    for (let index = length - apartRuns; index < length; index++)
      if ((this.#ratios[index] ?? NaN) > median) above++;
    if (above > 0 && above < apartRuns) return false;
    const last = this.#ratios.slice(-apartRuns);
    const before = this.#ratios.slice(0, -apartRuns).sort((a, b) => a - b);
    const apart = Math.floor(before.length / apartShare) - 1;
    const [low = NaN, high = NaN] = [before[apart], before[before.length - 1 - apart]];
    if (!last.every((ratio) => ratio < low) && !last.every((ratio) => ratio > high)) return false;
    this.#drifted(last);
    return true;
  }

  /** Starts again with the runs since a change. */
  #drifted(since: number[]): void {
    this.drifts += 1;
    this.#above = this.#below = 0;
    this.#aboveRuns = this.#belowRuns = 0;
    this.#ratios = since;
    this.#fresh = freshRuns;
  }
}

function medianOf(values: Float64Array): number {
  return ((values[middle - 1] ?? NaN) + (values[middle] ?? NaN)) / 2;
}

/** A belief around that mean without any run. */
function around(ratio: number, factor: number): Estimate {
  const near = Math.sqrt(factor);
  const wide = estimateOf([1 / factor, 1 / near, 1, near, factor], {
    observedAtMs: -Infinity,
    origin: "prior",
  });
  return scale(wide, ratio / meanOf(wide));
}

/**
 * How many of the first runs were cold: pages were loaded and code compiled, so all of them took much longer than the later runs. One later
 * run shows that for the very first run, two for more.
 */
function coldRuns(ratios: readonly number[]): number {
  for (let cold = 1; cold < ratios.length; cold++) {
    const after = ratios.slice(cold).sort((a, b) => a - b);
    if (cold > 1 && after.length < 2) return 0;
    const warm = warmRatio * (after[Math.floor((after.length - 1) / 2)] ?? NaN);
    if (ratios.every((ratio, index) => index >= cold || ratio > warm)) return cold;
  }
  return 0;
}
