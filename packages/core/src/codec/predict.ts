import { alphabet } from "./tans-table.ts";

/*
 * Neighbours in an activation are alike, so the difference from the level before says the same in fewer bits. It travels as
 * (level - before + 128) mod 256, the first from the zero level. The median of left, above and left + above - corner
 * (Weinberger, Seroussi, Sapiro, LOCO-I, 2000) saves another 3 to 11 % on some maps and takes half as long again to code, more to decode.
 */

/** How levels are expected; the numbers are those on the wire. */
export const predictors = { none: 0, left: 1 } as const;
export type Predictor = (typeof predictors)[keyof typeof predictors];

/**
 * Writes the levels (by predictor `none`) or their differences to `out` and counts them in `histogram`; `before` is the level
 * before the first. Counts go to two tables in turn: of equal neighbours, which are frequent, the second would wait for
 * the first.
 */
export function differences(
  levels: Uint8Array,
  predictor: Predictor,
  before: number,
  out: Uint8Array,
  histogram: Uint32Array,
): void {
  const odd = new Uint32Array(alphabet);
  if (predictor === predictors.none) countLevels(levels, out, histogram, odd);
  else leftDifferences(levels, before, out, histogram, odd);
  for (let symbol = 0; symbol < alphabet; symbol++) {
    histogram[symbol] = (histogram[symbol] as number) + (odd[symbol] as number);
  }
}

function countLevels(levels: Uint8Array, out: Uint8Array, even: Uint32Array, odd: Uint32Array): void {
  out.set(levels);
  const pairs = levels.length & ~1;
  for (let index = 0; index < pairs; index += 2) {
    const first = levels[index] as number;
    const second = levels[index + 1] as number;
    even[first] = (even[first] as number) + 1;
    odd[second] = (odd[second] as number) + 1;
  }
  if (levels.length > pairs) {
    const last = levels[pairs] as number;
    even[last] = (even[last] as number) + 1;
  }
}

function leftDifferences(
  levels: Uint8Array,
  before: number,
  out: Uint8Array,
  even: Uint32Array,
  odd: Uint32Array,
): void {
  let left = before;
  const pairs = levels.length & ~1;
  for (let index = 0; index < pairs; index += 2) {
    const level = levels[index] as number;
    const next = levels[index + 1] as number;
    const first = (level - left + 128) & 255;
    const second = (next - level + 128) & 255;
    out[index] = first;
    out[index + 1] = second;
    even[first] = (even[first] as number) + 1;
    odd[second] = (odd[second] as number) + 1;
    left = next;
  }
  if (levels.length > pairs) {
    const last = ((levels[pairs] as number) - left + 128) & 255;
    out[pairs] = last;
    even[last] = (even[last] as number) + 1;
  }
}

/** The way back from differences to levels, in place. */
export function restore(levels: Uint8Array, before: number): void {
  let left = before;
  for (let index = 0; index < levels.length; index++) {
    left = ((levels[index] as number) + left - 128) & 255;
    levels[index] = left;
  }
}

/** Values looked at to choose a predictor, in windows spread over the tensor. */
const windowSize = 512;
const mostWindows = 8;
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
export function choosePredictor(levels: Uint8Array): Predictor {
  const windows = Math.min(mostWindows, Math.ceil(levels.length / windowSize));
  const out = new Uint8Array(windowSize);
  const plain = new Uint32Array(alphabet);
  const apart = new Uint32Array(alphabet);
  for (let window = 0; window < windows; window++) {
    const from = Math.floor((window * levels.length) / windows);
    const part = levels.subarray(from, Math.min(from + windowSize, levels.length));
    differences(part, predictors.none, 0, out, plain);
    differences(part, predictors.left, part[0] ?? 0, out, apart);
  }
  return bitsOf(apart) < bitsOf(plain) * worthRatio ? predictors.left : predictors.none;
}
