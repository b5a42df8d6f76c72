import { type Estimate, estimateSize, meanOf } from "../estimate/index.ts";

/**
 * Beliefs side by side in one flat array, so that a decision reads numbers instead of chasing objects. An array of
 * `rows` beliefs has 17 **planes** of `rows` numbers: plane `k` holds the k-th value of each Estimate, the last plane
 * their means. Judging by the mean then touches one contiguous plane and nothing else.
 */
export const planeCount: number = estimateSize + 1;

/** Plane of the means. */
export const meanPlane: number = estimateSize;

/** Which planes a decision reads: one (weight 0), or two around a quantile. */
export interface Reading {
  readonly low: number;
  readonly high: number;
  /** Share of the high plane, 0..1. */
  readonly weight: number;
}

/** Reads the means. */
export const meanReading: Reading = { low: meanPlane, high: meanPlane, weight: 0 };

/** Reads the quantile `ratio` (0..1) exactly as `quantileOf` does, or the mean when undefined. */
export function readingOf(ratio: number | undefined): Reading {
  if (ratio === undefined) return meanReading;
  const position = Math.min(estimateSize - 1, Math.max(0, ratio * estimateSize - 0.5));
  const low = Math.floor(position);
  return { low, high: Math.min(estimateSize - 1, low + 1), weight: position - low };
}

/** One number of a table of `rows` beliefs. */
export function readPlane(planes: Float64Array, rows: number, row: number, reading: Reading): number {
  const low = planes[reading.low * rows + row] ?? NaN;
  if (reading.weight === 0) return low;
  return low + reading.weight * ((planes[reading.high * rows + row] ?? NaN) - low);
}

/** Writes a belief into row `row`, each value less `less` and at least 0. */
export function writePlanes(
  planes: Float64Array,
  rows: number,
  row: number,
  values: ArrayLike<number>,
  less = 0,
): void {
  let total = 0;
  for (let plane = 0; plane < estimateSize; plane++) {
    const value = Math.max(0, (values[plane] ?? 0) - less);
    planes[plane * rows + row] = value;
    total += value;
  }
  planes[meanPlane * rows + row] = total / estimateSize;
}

/** 16 sorted values from what a profile states: 16 quantile values, a mean, or samples in any number. */
export function sixteen(stated: readonly number[]): Float64Array {
  const values = new Float64Array(estimateSize);
  if (stated.length === estimateSize) return values.map((_, index) => stated[index] ?? 0);
  const sorted = stated.toSorted((a, b) => a - b);
  if (sorted.length === 0) return values;
  for (let index = 0; index < estimateSize; index++) {
    const position = Math.max(
      0,
      Math.min(sorted.length - 1, ((index + 0.5) / estimateSize) * sorted.length - 0.5),
    );
    const below = Math.floor(position);
    const low = sorted[below] ?? 0;
    values[index] =
      low + ((sorted[Math.min(sorted.length - 1, below + 1)] ?? low) - low) * (position - below);
  }
  return values;
}

/** The 16 values of one row, times `factor`, plus `amount`. */
export function rowValues(
  planes: Float64Array,
  rows: number,
  row: number,
  factor = 1,
  amount = 0,
): Float64Array {
  const values = new Float64Array(estimateSize);
  for (let plane = 0; plane < estimateSize; plane++) {
    values[plane] = (planes[plane * rows + row] ?? NaN) * factor + amount;
  }
  return values;
}

/** Adds `more` to `values`, value by value: the comonotone sum of `estimate`. */
export function addValues(values: Float64Array, more: Float64Array): void {
  for (let index = 0; index < estimateSize; index++)
    values[index] = (values[index] ?? 0) + (more[index] ?? 0);
}

/** Mean, or the quantile that `reading` stands for, of 16 values. */
export function judge(values: Float64Array, reading: Reading): number {
  if (reading.low === meanPlane)
    return meanOf({ values, observedAtMs: 0, origin: "prior" } satisfies Estimate);
  const low = values[reading.low] ?? NaN;
  return low + reading.weight * ((values[reading.high] ?? NaN) - low);
}
