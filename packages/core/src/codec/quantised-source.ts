import type { Affine, Range } from "./eight-bits.ts";
import { leastForKernels } from "./kernels/index.ts";
import type { SymbolCounts, Work } from "./level-counts.ts";
import { type LevelSource, type Predictor, predictors } from "./predict.ts";

/** How values become levels: `value * factor + up`, cut to a whole number. */
interface Rounding {
  readonly factor: number;
  readonly up: number;
}

/** What rounds to 256, at the upper end, is rounded down with everything else that lies as close between two levels. */
function roundingOf({ scale, zero }: Affine, most: number): Rounding {
  const factor = 1 / scale;
  const half = zero + 0.5;
  return { factor, up: ((most * factor + half) | 0) > 255 ? half - 1e-9 : half };
}

/** The levels of a quantised tensor, each made when it is coded: written down first, they were as long to move as to make. */
export function quantisedSource(values: Float32Array, { most }: Range, affine: Affine): LevelSource {
  const rounding = roundingOf(affine, most);
  return {
    count: values.length,
    read: (from, to, predictor, before, work) =>
      readRun(values, { from, to, at: 0 }, rounding, predictor, before, work),
    all() {
      const out = new Uint8Array(values.length);
      writeLevels(values, { from: 0, to: values.length, at: 0 }, rounding, out);
      return out;
    },
  };
}

/** Runs of equal length one after another, each quantised in its own way. */
export interface QuantisedRuns {
  readonly run: number;
  /** Of channel after channel; the runs go through them again and again. */
  readonly affines: readonly Affine[];
  /** The largest value of each channel. */
  readonly most: Float64Array;
}

/** The same for a tensor whose channels differ in scale and zero level. */
export function quantisedRunsSource(
  values: Float32Array,
  { run, affines, most }: QuantisedRuns,
): LevelSource {
  const roundings = affines.map((affine, channel) => roundingOf(affine, most[channel] ?? 0));
  function eachRun(from: number, to: number, visit: (part: Part, rounding: Rounding) => void): void {
    let channel = Math.floor(from / run) % roundings.length;
    for (let start = from; start < to; channel = (channel + 1) % roundings.length) {
      const end = Math.min(to, start - (start % run) + run);
      visit({ from: start, to: end, at: start - from }, roundings[channel] as Rounding);
      start = end;
    }
  }
  return {
    count: values.length,
    read(from, to, predictor, before, work) {
      let last = before;
      eachRun(from, to, (part, rounding) => {
        last = readRun(values, part, rounding, predictor, last, work);
      });
      return last;
    },
    all() {
      const out = new Uint8Array(values.length);
      eachRun(0, values.length, (part, rounding) => writeLevels(values, part, rounding, out));
      return out;
    },
  };
}

/** Values `from..to`, whose symbols go to `at`. */
interface Part {
  readonly from: number;
  readonly to: number;
  readonly at: number;
}

/** The levels of a part, and nothing counted. */
function writeLevels(
  values: Float32Array,
  { from, to, at }: Part,
  { factor, up }: Rounding,
  out: Uint8Array,
): void {
  const shift = at - from;
  for (let index = from; index < to; index++) out[index + shift] = (values[index] as number) * factor + up;
}

function readRun(
  values: Float32Array,
  part: Part,
  rounding: Rounding,
  predictor: Predictor,
  before: number,
  { symbols, counts, kernels }: Work,
): number {
  const { from, to, at } = part;
  if (kernels && to - from >= leastForKernels) {
    const differences = predictor === predictors.left;
    return kernels.read(values.subarray(from, to), at, rounding.factor, rounding.up, differences, before);
  }
  return predictor === predictors.none
    ? levelsOf(values, part, rounding, symbols, counts)
    : differencesOf(values, part, rounding, before, symbols, counts);
}

/** Four at a time, each with counts of its own: so many steps that do not wait for each other keep a processor busy. */
function levelsOf(
  values: Float32Array,
  { from, to, at }: Part,
  { factor, up }: Rounding,
  out: Uint8Array,
  counts: SymbolCounts,
): number {
  const shift = at - from;
  const fours = from + ((to - from) & ~3);
  for (let index = from; index < fours; index += 4) {
    const a = ((values[index] as number) * factor + up) & 255;
    const b = (((values[index + 1] as number) * factor + up) & 255) | 256;
    const c = (((values[index + 2] as number) * factor + up) & 255) | 512;
    const d = (((values[index + 3] as number) * factor + up) & 255) | 768;
    out[index + shift] = a;
    out[index + shift + 1] = b;
    out[index + shift + 2] = c;
    out[index + shift + 3] = d;
    counts[a] = (counts[a] as number) + 1;
    counts[b] = (counts[b] as number) + 1;
    counts[c] = (counts[c] as number) + 1;
    counts[d] = (counts[d] as number) + 1;
  }
  for (let index = fours; index < to; index++) {
    const level = ((values[index] as number) * factor + up) & 255;
    out[index + shift] = level;
    counts[level] = (counts[level] as number) + 1;
  }
  return out[to - 1 + shift] as number;
}

/** The same for differences. */
function differencesOf(
  values: Float32Array,
  { from, to, at }: Part,
  { factor, up }: Rounding,
  before: number,
  out: Uint8Array,
  counts: SymbolCounts,
): number {
  let left = before;
  const shift = at - from;
  const fours = from + ((to - from) & ~3);
  for (let index = from; index < fours; index += 4) {
    const first = ((values[index] as number) * factor + up) | 0;
    const second = ((values[index + 1] as number) * factor + up) | 0;
    const third = ((values[index + 2] as number) * factor + up) | 0;
    const fourth = ((values[index + 3] as number) * factor + up) | 0;
    const a = (first - left + 128) & 255;
    const b = ((second - first + 128) & 255) | 256;
    const c = ((third - second + 128) & 255) | 512;
    const d = ((fourth - third + 128) & 255) | 768;
    out[index + shift] = a;
    out[index + shift + 1] = b;
    out[index + shift + 2] = c;
    out[index + shift + 3] = d;
    counts[a] = (counts[a] as number) + 1;
    counts[b] = (counts[b] as number) + 1;
    counts[c] = (counts[c] as number) + 1;
    counts[d] = (counts[d] as number) + 1;
    left = fourth;
  }
  for (let index = fours; index < to; index++) {
    const level = ((values[index] as number) * factor + up) | 0;
    const symbol = (level - left + 128) & 255;
    out[index + shift] = symbol;
    counts[symbol] = (counts[symbol] as number) + 1;
    left = level;
  }
  return left;
}
