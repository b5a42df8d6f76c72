import { type Affine, quantised, type Range } from "./eight-bits.ts";
import type { SymbolCounts } from "./level-counts.ts";
import { type LevelSource, predictors } from "./predict.ts";

/** The levels of a quantised tensor, each made when it is coded: written down first, they were as long to move as to make. */
export function quantisedSource(values: Float32Array, { most }: Range, affine: Affine): LevelSource {
  const factor = 1 / affine.scale;
  const half = affine.zero + 0.5;
  // What rounds to 256, at the upper end, is rounded down with everything else that lies as close between two levels.
  const up = ((most * factor + half) | 0) > 255 ? half - 1e-9 : half;
  return {
    count: values.length,
    read(from, to, predictor, before, out, counts) {
      const part = values.subarray(from, to);
      return predictor === predictors.none
        ? levelsOf(part, factor, up, out, counts)
        : differencesOf(part, factor, up, before, out, counts);
    },
    all: () => quantised(values, factor, affine.zero, 0),
  };
}

/** Four at a time, each with counts of its own: so many steps that do not wait for each other keep a processor busy. */
function levelsOf(
  values: Float32Array,
  factor: number,
  up: number,
  out: Uint8Array,
  counts: SymbolCounts,
): number {
  const fours = values.length & ~3;
  for (let index = 0; index < fours; index += 4) {
    const a = ((values[index] as number) * factor + up) & 255;
    const b = (((values[index + 1] as number) * factor + up) & 255) | 256;
    const c = (((values[index + 2] as number) * factor + up) & 255) | 512;
    const d = (((values[index + 3] as number) * factor + up) & 255) | 768;
    out[index] = a;
    out[index + 1] = b;
    out[index + 2] = c;
    out[index + 3] = d;
    counts[a] = (counts[a] as number) + 1;
    counts[b] = (counts[b] as number) + 1;
    counts[c] = (counts[c] as number) + 1;
    counts[d] = (counts[d] as number) + 1;
  }
  for (let index = fours; index < values.length; index++) {
    const level = ((values[index] as number) * factor + up) & 255;
    out[index] = level;
    counts[level] = (counts[level] as number) + 1;
  }
  return out[values.length - 1] as number;
}

/** The same for differences. */
function differencesOf(
  values: Float32Array,
  factor: number,
  up: number,
  before: number,
  out: Uint8Array,
  counts: SymbolCounts,
): number {
  let left = before;
  const fours = values.length & ~3;
  for (let index = 0; index < fours; index += 4) {
    const first = ((values[index] as number) * factor + up) | 0;
    const second = ((values[index + 1] as number) * factor + up) | 0;
    const third = ((values[index + 2] as number) * factor + up) | 0;
    const fourth = ((values[index + 3] as number) * factor + up) | 0;
    const a = (first - left + 128) & 255;
    const b = ((second - first + 128) & 255) | 256;
    const c = ((third - second + 128) & 255) | 512;
    const d = ((fourth - third + 128) & 255) | 768;
    out[index] = a;
    out[index + 1] = b;
    out[index + 2] = c;
    out[index + 3] = d;
    counts[a] = (counts[a] as number) + 1;
    counts[b] = (counts[b] as number) + 1;
    counts[c] = (counts[c] as number) + 1;
    counts[d] = (counts[d] as number) + 1;
    left = fourth;
  }
  for (let index = fours; index < values.length; index++) {
    const level = ((values[index] as number) * factor + up) | 0;
    const symbol = (level - left + 128) & 255;
    out[index] = symbol;
    counts[symbol] = (counts[symbol] as number) + 1;
    left = level;
  }
  return left;
}
