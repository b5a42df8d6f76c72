import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { affineOf, finiteRange } from "./eight-bits.ts";
import { histogramOf, symbolCounts } from "./level-counts.ts";
import { levelSource, type LevelSource, type Predictor, predictors } from "./predict.ts";
import { quantisedSource } from "./quantised-source.ts";

const values = fc
  .array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 40 })
  .map((list) => Float32Array.from(list));

/** Symbols in two parts, one after another, as chunks are read; and how often each occurs. */
function symbolsOf(
  source: LevelSource,
  predictor: Predictor,
): { symbols: Uint8Array; histogram: Uint32Array } {
  const symbols = new Uint8Array(source.count);
  const counts = symbolCounts();
  const middle = Math.ceil(source.count / 3);
  const before = source.read(0, middle, predictor, 7, symbols, counts);
  if (middle < source.count) {
    source.read(middle, source.count, predictor, before, symbols.subarray(middle), counts);
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

  it("rounds what lies just between the last level and none to the last", () => {
    const list = Float32Array.of(-0.5, 254.5, 254.5, 0, 254.5, 3);
    const range = finiteRange(list)!;
    const source = quantisedSource(list, range, affineOf(range));
    expect([...symbolsOf(source, predictors.none).symbols]).toEqual([0, 255, 255, 1, 255, 4]);
    expect([...source.all()]).toEqual([1, 255, 255, 1, 255, 4]);
  });
});
