import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawn } from "../../test/networks.ts";
import { ValueHistogram } from "./histogram.ts";
import { rangeOf } from "./ranges.ts";
import { signedWeights, unsignedScale } from "./scales.ts";

const finite = fc.float({
  noNaN: true,
  noDefaultInfinity: true,
  min: Math.fround(-1e6),
  max: Math.fround(1e6),
});

describe("Histogram", () => {
  it("counts every finite value within a bin's width, in any order", () => {
    fc.assert(
      fc.property(fc.array(fc.array(finite, { maxLength: 20 }), { maxLength: 5 }), (parts) => {
        const histogram = new ValueHistogram();
        for (const part of parts) histogram.add(Float32Array.from(part));
        const all = parts.flat();
        const { values, counts } = histogram.filled();
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(all.length);
        expect(histogram.most).toBe(Math.max(0, ...all.map(Math.fround)));
        const width = (2 * Math.max(1e-6, ...all.map(Math.abs))) / 4096;
        const sorted = all.toSorted((a, b) => a - b);
        let at = 0;
        for (const [bin, count] of counts.entries()) {
          for (let left = count; left > 0; left--) {
            expect(Math.abs((sorted[at++] ?? 0) - (values[bin] ?? 0))).toBeLessThanOrEqual(width);
          }
        }
      }),
    );
  });
});

describe("rangeOf", () => {
  const histogram = new ValueHistogram();
  histogram.add(drawn(400_000, 1));
  histogram.add(Float32Array.of(20));

  it("holds everything by extremes", () => {
    expect(rangeOf(histogram, { by: "extremes" }).most).toBe(20);
  });

  it("leaves out a lonely value by percentile and by error", () => {
    expect(rangeOf(histogram, { by: "percentile", keptRatio: 0.9999 }).most).toBeLessThan(6);
    const { least, most } = rangeOf(histogram, { by: "error" });
    expect(most).toBeLessThan(20);
    expect(least).toBeLessThan(-2);
  });
});

describe("scales", () => {
  it("give zero a code of its own, and anchors whole codes inside", () => {
    fc.assert(
      fc.property(finite, finite, fc.double({ min: 0.5, max: 3, noNaN: true }), (a, b, anchor) => {
        const range = { least: Math.min(a, b), most: Math.max(a, b) };
        const { scale, zero } = unsignedScale(range, { inside: [-anchor] });
        expect(Number.isInteger(zero) && zero >= 0 && zero <= 255).toBe(true);
        const steps = anchor / scale;
        if (steps >= 2) expect(Math.abs(steps - Math.round(steps))).toBeLessThan(1e-3);
      }),
    );
  });

  it("give each channel of weights its own step", () => {
    const { codes, scales } = signedWeights(Float32Array.of(1, -2, 100, 50), [2, 2], 0);
    expect([...codes]).toEqual([64, -127, 127, 64]);
    expect(scales[1]).toBeCloseTo(100 / 127);
  });
});
