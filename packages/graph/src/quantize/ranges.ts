import type { ValueHistogram } from "./histogram.ts";

/** The values that 8-bit codes reach; values outside move to the nearer end. Holds zero. */
export interface CodeRange {
  readonly least: number;
  readonly most: number;
}

/** The range that holds all of the values. */
export function extremes(values: Float32Array): CodeRange {
  let [least, most] = [0, 0];
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return { least, most };
}

/** How a range is chosen from what was seen. */
export type Calibration =
  /** All of it. */
  | { readonly by: "extremes" }
  /** All but a share at the ends, such as 0.9999 of the values. */
  | { readonly by: "percentile"; readonly keptRatio: number }
  /** The range with the least mean squared error of the codes. */
  | { readonly by: "error" };

/** The range of one tensor. */
export function rangeOf(histogram: ValueHistogram, calibration: Calibration): CodeRange {
  const whole = { least: histogram.least, most: histogram.most };
  if (calibration.by === "extremes" || histogram.seen === 0) return whole;
  const { values, counts } = histogram.filled();
  if (calibration.by === "percentile") return percentile(values, counts, calibration.keptRatio, whole);
  return leastError(values, counts, whole);
}

function percentile(
  values: Float64Array,
  counts: Float64Array,
  keptRatio: number,
  whole: CodeRange,
): CodeRange {
  const outside = ((1 - keptRatio) / 2) * counts.reduce((sum, count) => sum + count, 0);
  let [below, above] = [0, 0];
  let [first, last] = [0, values.length - 1];
  while (first < last && (below += counts[first] ?? 0) <= outside) first++;
  while (last > first && (above += counts[last] ?? 0) <= outside) last--;
  return {
    least: first === 0 ? whole.least : Math.min(0, values[first] ?? 0),
    most: last === values.length - 1 ? whole.most : Math.max(0, values[last] ?? 0),
  };
}

/** Factor by which one step moves an end of the range inwards. */
const shrink = 0.96;
/** The most steps at one end. */
const mostSteps = 60;

/**
 * Moves the ends in, one at a time, as long as finer steps inside win more than the values outside lose. Errors are
 * those of even steps (a twelfth of the squared step) and of what is moved to an end.
 */
function leastError(values: Float64Array, counts: Float64Array, whole: CodeRange): CodeRange {
  let best = whole;
  let bestError = errorOf(values, counts, whole);
  for (const end of ["most", "least", "most"] as const) {
    let tried = best;
    for (let step = 0; step < mostSteps && tried[end] !== 0; step++) {
      tried = { ...tried, [end]: tried[end] * shrink };
      const error = errorOf(values, counts, tried);
      if (error < bestError) [best, bestError] = [tried, error];
    }
  }
  return best;
}

function errorOf(values: Float64Array, counts: Float64Array, { least, most }: CodeRange): number {
  const even = ((most - least) / 255) ** 2 / 12;
  let sum = 0;
  for (let at = 0; at < values.length; at++) {
    const value = values[at] ?? 0;
    const outside = value > most ? value - most : value < least ? least - value : 0;
    sum += (counts[at] ?? 0) * (outside === 0 ? even : outside * outside);
  }
  return sum;
}
