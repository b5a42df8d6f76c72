/**
 * A belief about a quantity (mostly milliseconds) as a distribution: 16 sorted, equally likely values, the same in
 * memory and on the wire. Value `i` is the quantile at (i + 0.5) / 16, so the mean of the values is the mean of the
 * belief.
 *
 * **Sums are comonotone**: `sum` adds value by value, as if slow came with slow. The mean of a sum is exact whatever the
 * dependence; its spread is an upper bound, so tails are promised carefully, never boldly. The same rule makes `max`
 * exact under that dependence.
 */
export interface Estimate {
  readonly values: Float64Array;
  /**
   * The inside of the last of the 16 slices, if more is known of it than its middle: values at `tailRatios`. Stays in this
   * process; code that weighs rare and expensive events reads it (`guardPlan`).
   */
  readonly tail?: Float64Array;
  /** Instant on the Clock of the newest fact in it. */
  readonly observedAtMs: number;
  readonly origin: "measured" | "told" | "prior";
}

/** How many values an Estimate holds. */
export const estimateSize = 16;

/**
 * The last slice halved again and again, each half read in its middle: ratios of the whole belief, and the weight that each
 * stands for.
 */
export const tailRatios: readonly number[] = [61 / 64, 125 / 128, 253 / 256, 255 / 256];
export const tailWeights: readonly number[] = [1 / 32, 1 / 64, 1 / 128, 1 / 128];
/** Points of a tail. */
export const tailSize: number = tailWeights.length;

type About = Pick<Estimate, "observedAtMs" | "origin">;
const prior: About = { observedAtMs: -Infinity, origin: "prior" };
const originOrder: readonly Estimate["origin"][] = ["measured", "told", "prior"];

function combine(a: About, b: About): About {
  const origin =
    a.origin === b.origin
      ? a.origin
      : (originOrder[Math.max(originOrder.indexOf(a.origin), originOrder.indexOf(b.origin))] ?? "prior");
  return { observedAtMs: Math.min(a.observedAtMs, b.observedAtMs), origin };
}

/** A belief without spread. */
export function certain(value: number, about: About = prior): Estimate {
  return { values: new Float64Array(estimateSize).fill(value), ...about };
}

/** The empirical belief of some samples (any number above 0, any order), interpolated to 16 quantiles. */
export function estimateOf(samples: ArrayLike<number>, about: About): Estimate {
  return estimateOfSorted(new Float64Array(samples).sort(), about);
}

/** The same of samples that are sorted already. */
export function estimateOfSorted(sorted: ArrayLike<number>, about: About): Estimate {
  const values = new Float64Array(estimateSize);
  for (let index = 0; index < estimateSize; index++) {
    values[index] = quantileOfSorted(sorted, (index + 0.5) / estimateSize);
  }
  return { values, ...about };
}

/** Quantile of sorted samples by linear interpolation between the midpoints of equally likely slices. */
export function quantileOfSorted(sorted: ArrayLike<number>, ratio: number): number {
  if (sorted.length === 0) return NaN;
  const position = Math.min(sorted.length - 1, Math.max(0, ratio * sorted.length - 0.5));
  const below = Math.floor(position);
  const low = sorted[below] ?? NaN;
  const high = sorted[Math.min(sorted.length - 1, below + 1)] ?? NaN;
  return low + (high - low) * (position - below);
}

/** Mean of the belief. Called several times for every request: an iterator would make an object of each value. */
export function meanOf({ values }: Estimate): number {
  let total = 0;
  for (let index = 0; index < estimateSize; index++) total += values[index] ?? 0;
  return total / estimateSize;
}

/** The value below which the belief puts `ratio` of its weight. */
export function quantileOf(estimate: Estimate, ratio: number): number {
  return quantileOfSorted(estimate.values, ratio);
}

/** Value by value sum: mean exact, spread an upper bound (see `Estimate`). */
export function sum(a: Estimate, b: Estimate): Estimate {
  const values = new Float64Array(estimateSize);
  for (let index = 0; index < estimateSize; index++)
    values[index] = (a.values[index] ?? 0) + (b.values[index] ?? 0);
  const { observedAtMs, origin } = combine(a, b);
  if (!a.tail && !b.tail) return { values, observedAtMs, origin };
  const tail = new Float64Array(tailSize);
  for (let index = 0; index < tailSize; index++) tail[index] = tailAt(a, index) + tailAt(b, index);
  return { values, tail, observedAtMs, origin };
}

/** Value by value maximum, under the same dependence as `sum`. */
export function max(a: Estimate, b: Estimate): Estimate {
  const values = new Float64Array(estimateSize);
  for (let index = 0; index < estimateSize; index++) {
    values[index] = Math.max(a.values[index] ?? 0, b.values[index] ?? 0);
  }
  const { observedAtMs, origin } = combine(a, b);
  if (!a.tail && !b.tail) return { values, observedAtMs, origin };
  const tail = new Float64Array(tailSize);
  for (let index = 0; index < tailSize; index++) tail[index] = Math.max(tailAt(a, index), tailAt(b, index));
  return { values, tail, observedAtMs, origin };
}

/** Every value times `factor` (0 or more). */
export function scale(estimate: Estimate, factor: number): Estimate {
  return changed(estimate, (value) => value * factor);
}

/** Every value plus `amount`. */
export function shift(estimate: Estimate, amount: number): Estimate {
  return changed(estimate, (value) => value + amount);
}

/** Every value changed in the same way, which must keep their order. */
export function changed(estimate: Estimate, change: (value: number) => number): Estimate {
  const { values, tail, observedAtMs, origin } = estimate;
  const own = changedEach(values, change);
  return tail
    ? { values: own, tail: changedEach(tail, change), observedAtMs, origin }
    : { values: own, observedAtMs, origin };
}

function changedEach(values: Float64Array, change: (value: number) => number): Float64Array {
  const own = new Float64Array(values.length);
  for (let index = 0; index < own.length; index++) own[index] = change(values[index] ?? 0);
  return own;
}

/** A point of the tail. Without a tail, the last value stands for it. */
function tailAt({ tail, values }: Estimate, index: number): number {
  return tail?.[index] ?? values[estimateSize - 1] ?? 0;
}

/** Where a distribution of times is read. */
const readRatios: readonly number[] = [
  ...Array.from({ length: estimateSize }, (_, index) => (index + 0.5) / estimateSize),
  ...tailRatios,
];

/**
 * The values of an estimate followed by those of its tail, where each of the `times` has its weight in `done`. A fresh array.
 */
export function quantilesOfTimes(times: Float64Array, done: Float64Array): Float64Array {
  const values = new Float64Array(readRatios.length);
  const last = times.length - 1;
  const total = done[last] ?? 1;
  let cell = 0;
  for (let index = 0; index < readRatios.length; index++) {
    const wanted = (readRatios[index] ?? 0) * total;
    if (index === estimateSize) cell = 0;
    while (cell < last && (done[cell] ?? 0) < wanted) cell++;
    const highTime = times[cell] ?? 0;
    const lowTime = cell > 0 ? (times[cell - 1] ?? 0) : 0;
    const low = cell > 0 ? (done[cell - 1] ?? 0) : 0;
    const high = done[cell] ?? 0;
    values[index] = high > low ? lowTime + ((highTime - lowTime) * (wanted - low)) / (high - low) : highTime;
  }
  return values;
}

/** Weight of the belief at or below `bound`, with linear interpolation between values. */
export function chanceBelow({ values }: { readonly values: ArrayLike<number> }, bound: number): number {
  if (bound < (values[0] ?? 0)) return 0;
  for (let index = 1; index < estimateSize; index++) {
    const high = values[index] ?? 0;
    if (bound < high) {
      const low = values[index - 1] ?? 0;
      return (index - 0.5 + (high > low ? (bound - low) / (high - low) : 1)) / estimateSize;
    }
  }
  return 1;
}

/**
 * The rest of a duration of which `passedMs` have passed: the values beyond, less the time passed. When all have passed the
 * belief was wrong, and the longer it has been wrong the longer the rest is taken to be.
 */
export function left(estimate: Estimate, passedMs: number): Estimate {
  if (passedMs <= 0) return estimate;
  const { observedAtMs, origin } = estimate;
  const beyond = new Float64Array(estimateSize);
  let count = 0;
  for (const value of estimate.values) if (value > passedMs) beyond[count++] = value - passedMs;
  if (count > 0) return estimateOfSorted(beyond.subarray(0, count), { observedAtMs, origin });
  const scale = Math.max(passedMs, meanOf(estimate));
  const values = Float64Array.from({ length: estimateSize }, (_, index) => scale * (0.25 + index / 8));
  return { values, observedAtMs, origin };
}
