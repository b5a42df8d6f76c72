import { describe, expect, it } from "vitest";
import { estimateSize } from "../../words/estimate/index.ts";
import { leastWidened, meanValue, splitFactor, widen } from "./index.ts";

const rising = (valuesMs: Float64Array): readonly number[] => [...valuesMs].sort((one, other) => one - other);

describe("splitFactor", () => {
  it("gives a slow and a usual case, and keeps the mean", () => {
    // 100 ms after a wait of 50 ms, times 2.5: 4 is a third of the way to 5.5.
    const values = new Float64Array(estimateSize).fill(50 + 250);
    splitFactor(values, 2.5, 5.5, 50);
    expect(meanValue(values)).toBeCloseTo(300, 9);
    expect(values[0]).toBeCloseTo(150, 9);
    expect(values[9]).toBeCloseTo(150, 9);
    expect(values[11]).toBeCloseTo(600, 9);
    expect([...values]).toEqual(rising(values));
  });

  it("keeps the mean of times that vary by themselves, and their order", () => {
    const values = Float64Array.from({ length: estimateSize }, (_, index) => 20 + 3 * (10 + index));
    const beforeMs = meanValue(values);
    splitFactor(values, 3, 8, 20);
    expect(meanValue(values)).toBeCloseTo(beforeMs, 9);
    expect([...values]).toEqual(rising(values));
    expect(values[0]).toBeCloseTo(30, 9);
    expect(values[15]).toBeCloseTo(20 + 8 * 25, 9);
  });

  it("changes nothing while the factor is as it was last seen", () => {
    const values = new Float64Array(estimateSize).fill(300);
    splitFactor(values, 3, 3, 0);
    splitFactor(values, 0.5, 0.5, 0);
    expect(new Set(values)).toEqual(new Set([300]));
  });
});

describe("widen", () => {
  it("spreads a certain time after the wait, and keeps the mean", () => {
    const values = new Float64Array(estimateSize).fill(150);
    widen(values, 0.3, 50);
    expect(meanValue(values)).toBeCloseTo(150, 9);
    expect(((values[15] ?? 0) - 50) / ((values[0] ?? 0) - 50)).toBeCloseTo(Math.exp(0.3 * 2 * 1.8627), 6);
    expect([...values]).toEqual(rising(values));
  });

  it("makes no time shorter than its least factor says", () => {
    for (const deviation of [0.1, 0.3, 1]) {
      const values = Float64Array.from({ length: estimateSize }, (_, index) => 10 * 2 ** index);
      widen(values, deviation, 0);
      for (const [index, value] of values.entries())
        expect(value).toBeGreaterThanOrEqual(leastWidened(deviation) * 10 * 2 ** index);
    }
  });
});
