import { estimateSize } from "../../words/estimate/index.ts";

/**
 * Beliefs in one flat array, so that a decision reads numbers instead of following objects. An array of `rows` beliefs starts with their
 * `rows` means, followed by the 16 values of each, row after row. Judging by the mean then reads one contiguous block, and pricing one
 * candidate in full reads 128 contiguous bytes. With value `k` of all rows side by side instead, it would read 16 distant memory locations,
 * which took longer than everything else in a decision.
 */
export const beliefSize: number = estimateSize + 1;

/** The numbers of each belief that a decision reads: its mean, or one or two values around a quantile. */
export interface Reading {
  /** Distance between the numbers of two rows: 1 among the means, 16 among the values. */
  readonly stride: number;
  /** Position of the lower value in a belief. */
  readonly low: number;
  /** From the lower value to the higher one. */
  readonly step: number;
  /** Share of the higher value, 0..1. */
  readonly weight: number;
}

/** Reads the means. */
export const meanReading: Reading = { stride: 1, low: 0, step: 0, weight: 0 };

/** Reads the quantile `ratio` (0..1) exactly as `quantileOf` does, or the mean when undefined. */
export function readingOf(ratio: number | undefined): Reading {
  if (ratio === undefined) return meanReading;
  const position = Math.min(estimateSize - 1, Math.max(0, ratio * estimateSize - 0.5));
  const low = Math.floor(position);
  return { stride: estimateSize, low, step: low < estimateSize - 1 ? 1 : 0, weight: position - low };
}

/** Index of the number that a reading reads from row `row` of `rows` beliefs. */
function positionOf(reading: Reading, rows: number, row: number): number {
  return reading.stride === 1 ? row : valuesOf(rows, row) + reading.low;
}

/** Index of the first of the 16 values of row `row` of `rows` beliefs. */
export function valuesOf(rows: number, row: number): number {
  return rows + row * estimateSize;
}

/** One number from an array of `rows` beliefs. */
export function readBelief(beliefs: Float64Array, rows: number, row: number, reading: Reading): number {
  const at = positionOf(reading, rows, row);
  const low = beliefs[at] ?? NaN;
  if (reading.weight === 0) return low;
  return low + reading.weight * ((beliefs[at + reading.step] ?? NaN) - low);
}

/** A number between two rows, `fraction` of the way from `row` to the next. */
export function readBetween(
  beliefs: Float64Array,
  rows: number,
  row: number,
  fraction: number,
  reading: Reading,
): number {
  const { stride, step, weight } = reading;
  const at = positionOf(reading, rows, row);
  const low = beliefs[at] ?? NaN;
  const value = low + fraction * ((beliefs[at + stride] ?? NaN) - low);
  if (weight === 0) return value;
  const high = beliefs[at + step] ?? NaN;
  return value + weight * (high + fraction * ((beliefs[at + step + stride] ?? NaN) - high) - value);
}

/** Sets 16 values to the belief of row `row`, times `factor`, plus `amount`: the comonotone sum of `estimate`. */
export function copyBelief(
  values: Float64Array,
  beliefs: Float64Array,
  rows: number,
  row: number,
  factor: number,
  amount: number,
): void {
  const at = valuesOf(rows, row);
  for (let index = 0; index < estimateSize; index++) {
    values[index] = (beliefs[at + index] ?? NaN) * factor + amount;
  }
}

/** Sets 16 values to the point `fraction` of the way from row `row` to the next. */
export function copyBetween(
  values: Float64Array,
  beliefs: Float64Array,
  rows: number,
  row: number,
  fraction: number,
): void {
  const at = valuesOf(rows, row);
  for (let index = 0; index < estimateSize; index++) {
    const low = beliefs[at + index] ?? NaN;
    const high = beliefs[at + estimateSize + index] ?? NaN;
    values[index] = low + fraction * (high - low);
  }
}

/** Adds to 16 values the deviations of row `row` from its mean, times `factor`. */
export function addSpread(
  values: Float64Array,
  beliefs: Float64Array,
  rows: number,
  row: number,
  factor: number,
): void {
  const at = valuesOf(rows, row);
  const mean = beliefs[row] ?? NaN;
  for (let index = 0; index < estimateSize; index++) {
    values[index] = (values[index] ?? 0) + ((beliefs[at + index] ?? NaN) - mean) * factor;
  }
}

/** Writes a belief into row `row`, each value reduced by `less` and at least 0. */
export function writeBelief(
  beliefs: Float64Array,
  rows: number,
  row: number,
  values: ArrayLike<number>,
  less = 0,
): void {
  const at = valuesOf(rows, row);
  let total = 0;
  for (let index = 0; index < estimateSize; index++) {
    const value = Math.max(0, (values[index] ?? 0) - less);
    beliefs[at + index] = value;
    total += value;
  }
  beliefs[row] = total / estimateSize;
}

/** 16 sorted values from a profile's figures: 16 quantile values, a mean, or any number of samples. */
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

/** Mean of 16 values. */
export function meanValue(values: Float64Array): number {
  let total = 0;
  for (let index = 0; index < estimateSize; index++) total += values[index] ?? 0;
  return total / estimateSize;
}

/** Mean, or the quantile of `reading`, of 16 values. */
export function judge(values: Float64Array, reading: Reading): number {
  if (reading.stride === 1) return meanValue(values);
  const low = values[reading.low] ?? NaN;
  return low + reading.weight * ((values[reading.low + reading.step] ?? NaN) - low);
}

const usual = readingOf(0.75);

/**
 * Time after which another endpoint should be tried: twice the usual upper bound. The mean would be too long if little is known of the
 * route, just when an endpoint has fallen silent.
 */
export function overdueMs(values: Float64Array): number {
  return 2 * judge(values, usual);
}

const hardly = readingOf(0.8);

/**
 * A duration that is rarely exceeded while nothing is wrong, well beyond the usual. Larger values of a belief express uncertainty more than
 * likely events: for a link that fell silent for a moment they are seconds, whatever its next message takes.
 */
export function hardlyMore(values: Float64Array): number {
  return judge(values, hardly);
}

/** A back-up for a deadline is judged by its slowest runs. */
const carefulReading = readingOf(1);
/** Within this share of the time left until the deadline, hardly any answer comes before a second run starts. */
const nearlyAtOnceRatio = 0.05;
/** A timer may fire this late, in milliseconds, and an answer at the deadline is late. */
const timerMs = 1;

/**
 * When another run must start to meet a deadline in `remainingMs` with its slowest runs. If those take longer than that, or nearly, its
 * rarely exceeded time is used, which may mean nearly at once. If that is longer too, the answer is never: such a run would cost one run
 * for every request and almost never be in time.
 */
export function inTimeMs(remainingMs: number, values: Float64Array): number {
  const latestMs = remainingMs - timerMs;
  const carefulMs = latestMs - judge(values, carefulReading);
  if (carefulMs > nearlyAtOnceRatio * remainingMs) return carefulMs;
  const seldomMs = latestMs - hardlyMore(values);
  return seldomMs >= 0 ? seldomMs : Infinity;
}
