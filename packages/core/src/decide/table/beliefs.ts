import { estimateSize } from "../../words/estimate/index.ts";

/**
 * Beliefs side by side in one flat array, so that a decision reads numbers instead of chasing objects. An array of
 * `rows` beliefs starts with their `rows` means and goes on with the 16 values of each, row after row. Judging by the
 * mean then touches one contiguous run and nothing else, and pricing one candidate whole touches 128 bytes in a row: with
 * value `k` of all rows side by side instead, it would fetch 16 endpoints of memory far apart, which took longer than
 * everything else in a decision.
 */
export const beliefSize: number = estimateSize + 1;

/** Which numbers of each belief a decision reads: its mean, or one or two values around a quantile. */
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

/** Where the number that a reading reads of row `row` stands among `rows` beliefs. */
function positionOf(reading: Reading, rows: number, row: number): number {
  return reading.stride === 1 ? row : valuesOf(rows, row) + reading.low;
}

/** Where the 16 values of row `row` start among `rows` beliefs. */
export function valuesOf(rows: number, row: number): number {
  return rows + row * estimateSize;
}

/** One number of an array of `rows` beliefs. */
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

/** Makes 16 values the belief of row `row`, times `factor`, plus `amount`: the comonotone sum of `estimate`. */
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

/** Makes 16 values what lies `fraction` of the way from row `row` to the next. */
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

/** Adds to 16 values what those of row `row` are beyond their mean, times `factor`. */
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

/** Writes a belief into row `row`, each value less `less` and at least 0. */
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

/** Mean of 16 values. */
export function meanValue(values: Float64Array): number {
  let total = 0;
  for (let index = 0; index < estimateSize; index++) total += values[index] ?? 0;
  return total / estimateSize;
}

/** Mean, or the quantile that `reading` stands for, of 16 values. */
export function judge(values: Float64Array, reading: Reading): number {
  if (reading.stride === 1) return meanValue(values);
  const low = values[reading.low] ?? NaN;
  return low + reading.weight * ((values[reading.low + reading.step] ?? NaN) - low);
}

const usual = readingOf(0.75);

/**
 * When something else should be tried, whatever is still hoped for: twice what usually is enough. The mean would be long where little is
 * known of the way, just when an endpoint has fallen silent.
 */
export function overdueMs(values: Float64Array): number {
  return 2 * judge(values, usual);
}

const hardly = readingOf(0.8);

/**
 * What a duration rarely exceeds while nothing is wrong, a good way beyond usual. What lies beyond it in a belief is less what happens than what is
 * not known: of a link that fell silent for a moment it is seconds, whatever its next message takes.
 */
export function hardlyMore(values: Float64Array): number {
  return judge(values, hardly);
}

/** A back-up that is to be in time for the deadline is judged by its slowest runs. */
const carefulReading = readingOf(1);
/** Within so much of what is left until the deadline, hardly any answer is there before a second run has begun. */
const nearlyAtOnceRatio = 0.05;
/** A timer may fire so much late, in milliseconds, and an answer that comes as the deadline passes is late. */
const timerMs = 1;

/**
 * When another run must start to keep a deadline in `remainingMs` by its slowest runs; where those take longer than there is, or
 * nearly so, by what it rarely exceeds, which may be nearly at once, too; and never where that takes longer as well: it would cost a
 * run for every request, and be there in time for next to none.
 */
export function inTimeMs(remainingMs: number, values: Float64Array): number {
  const latestMs = remainingMs - timerMs;
  const carefulMs = latestMs - judge(values, carefulReading);
  if (carefulMs > nearlyAtOnceRatio * remainingMs) return carefulMs;
  const seldomMs = latestMs - hardlyMore(values);
  return seldomMs >= 0 ? seldomMs : Infinity;
}
