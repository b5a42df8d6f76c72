import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../base/index.ts";
import { affineOf, finiteRange } from "./eight-bits.ts";
import { histogramOf, symbolCounts } from "./level-counts.ts";
import { type LevelSource, type Predictor, predictors } from "./predict.ts";
import { quantisedRunsSource, quantisedSource } from "./quantised-source.ts";

const values = fc
  .array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 40 })
  .map((list) => Float32Array.from(list));

/** What reading levels that are written down would give. */
function levelSource(levels: Uint8Array): LevelSource {
  return {
    count: levels.length,
    read(from, to, predictor, before, { symbols, counts }) {
      let left = before;
      for (const [index, level] of levels.subarray(from, to).entries()) {
        const symbol = predictor === predictors.left ? (level - left + 128) & 255 : level;
        symbols[index] = symbol;
        counts[symbol]!++;
        left = level;
      }
      return left;
    },
    all: () => levels,
  };
}

/** Symbols in two parts, one after another, as chunks are read; and how often each occurs. */
function symbolsOf(
  source: LevelSource,
  predictor: Predictor,
): { symbols: Uint8Array; histogram: Uint32Array } {
  const symbols = new Uint8Array(source.count);
  const counts = symbolCounts();
  const middle = Math.ceil(source.count / 3);
  const before = source.read(0, middle, predictor, 7, { symbols, counts });
  if (middle < source.count) {
    source.read(middle, source.count, predictor, before, { symbols: symbols.subarray(middle), counts });
  }
  return { symbols, histogram: histogramOf(counts) };
}

describe("a quantised source", () => {
  it("reads what its levels would read if they were written down", () => {
    fc.assert(
      fc.property(values, fc.constantFrom(...Object.values(predictors)), (list, predictor) => {
        const range = finiteRange(list)!;
        const source = quantisedSource(list, range, affineOf(range));
        const { symbols, histogram } = symbolsOf(source, predictor);
        expect({ symbols, histogram }).toEqual(symbolsOf(levelSource(source.all()), predictor));
        for (const [symbol, count] of histogram.entries()) {
          expect(count).toBe(symbols.filter((one) => one === symbol).length);
        }
      }),
    );
  });

  it("quantises each channel in its own way, wherever runs and parts begin and end", () => {
    const scene = fc.record({
      batch: fc.integer({ min: 1, max: 3 }),
      channels: fc.integer({ min: 1, max: 4 }),
      run: fc.integer({ min: 1, max: 11 }),
      seed: fc.integer(),
      predictor: fc.constantFrom(...Object.values(predictors)),
    });
    fc.assert(
      fc.property(scene, ({ batch, channels, run, seed, predictor }) => {
        const random = seededRandom(seed);
        const list = Float32Array.from(
          { length: batch * channels * run },
          (_, index) => (random.next() - 0.3) * 10 ** ((Math.floor(index / run) % channels) - 1),
        );
        const ofChannel = (channel: number): Float32Array =>
          list.filter((_, index) => Math.floor(index / run) % channels === channel);
        const ranges = Array.from({ length: channels }, (_, channel) => finiteRange(ofChannel(channel))!);
        const affines = ranges.map(affineOf);
        const most = Float64Array.from(ranges, (range) => range.most);
        const source = quantisedRunsSource(list, { run, affines, most });
        const levels = source.all();
        for (const [index, value] of list.entries()) {
          const { scale, zero } = affines[Math.floor(index / run) % channels]!;
          expect(Math.abs((levels[index]! - zero) * scale - value)).toBeLessThanOrEqual(0.501 * scale);
        }
        expect(symbolsOf(source, predictor)).toEqual(symbolsOf(levelSource(levels), predictor));
      }),
    );
  });

  it("rounds what lies just between the last level and none to the last", () => {
    const list = Float32Array.of(-0.5, 254.5, 254.5, 0, 254.5, 3);
    const range = finiteRange(list)!;
    const source = quantisedSource(list, range, affineOf(range));
    expect([...symbolsOf(source, predictors.none).symbols]).toEqual([0, 255, 255, 1, 255, 4]);
    expect([...source.all()]).toEqual([0, 255, 255, 1, 255, 4]);
  });
});
