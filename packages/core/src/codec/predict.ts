import { kernels, leastForKernels } from "./kernels/index.ts";
import { histogramOf, type Work } from "./level-counts.ts";
import { alphabet } from "./tans-table.ts";

/*
 * Neighbours in an activation are alike, so the difference from the level before says the same in fewer bits. It travels as
 * (level - before + 128) mod 256, the first from the zero level. The median of left, above and left + above - corner
 * (Weinberger, Seroussi, Sapiro, LOCO-I, 2000) saves another 3 to 11 % on some maps and takes half as long again to code, more to decode.
 */

/** How levels are expected; the numbers are those on the wire. */
export const predictors = { none: 0, left: 1 } as const;
export type Predictor = (typeof predictors)[keyof typeof predictors];

/** Where levels come from: a part at a time, so that what is coded need not be written down first. */
export interface LevelSource {
  readonly count: number;
  /**
   * Writes the levels `from..to`, at most a chunk of them (by predictor `none`), or their differences to the symbols of `work`
   * and counts them; `before` is the level before the first. Gives the last level.
   */
  read(from: number, to: number, predictor: Predictor, before: number, work: Work): number;
  /** All levels. */
  all(): Uint8Array;
}

/** The way back from differences to levels, in place. */
export function restore(levels: Uint8Array, before: number): void {
  const able = levels.length >= leastForKernels ? kernels() : undefined;
  if (able) able.restore(levels, before);
  else restoreEach(levels, before);
}

/** The same by one level after another. */
export function restoreEach(levels: Uint8Array, before: number): void {
  let left = before;
  for (let index = 0; index < levels.length; index++) {
    left = ((levels[index] as number) + left - 128) & 255;
    levels[index] = left;
  }
}

/** Values looked at to choose a predictor, in windows spread over the tensor: one of so many values, and not more than these. */
const windowSize = 512;
const mostWindows = 8;
const valuesForWindow = 8192;
/** What differences must save of the bits of the levels. */
const worthRatio = 0.97;

/** Bits that symbols of such frequencies take at least (C. Shannon, 1948). */
export function bitsOf(histogram: Uint32Array): number {
  let total = 0;
  let bits = 0;
  for (let symbol = 0; symbol < alphabet; symbol++) {
    const count = histogram[symbol] as number;
    total += count;
    if (count > 0) bits -= count * Math.log2(count);
  }
  return total > 0 ? bits + total * Math.log2(total) : 0;
}

/** The predictor that leaves fewer bits in a sample of the levels. */
export function choosePredictor(source: LevelSource, work: Work): Predictor {
  const { count } = source;
  const windows = Math.min(mostWindows, Math.ceil(count / valuesForWindow));
  const firsts = new Uint8Array(windows);
  const sampled = (predictor: Predictor): number => {
    work.counts.fill(0);
    for (let window = 0; window < windows; window++) {
      const from = Math.floor((window * count) / windows);
      source.read(from, Math.min(from + windowSize, count), predictor, firsts[window] as number, work);
      if (predictor === predictors.none) firsts[window] = work.symbols[0] as number;
    }
    return bitsOf(histogramOf(work.counts));
  };
  const plain = sampled(predictors.none);
  return sampled(predictors.left) < plain * worthRatio ? predictors.left : predictors.none;
}
