import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  certain,
  chanceBelow,
  type Estimate,
  estimateOf,
  estimateSize,
  left,
  max,
  meanOf,
  quantileOf,
  quantileOfSorted,
  scale,
  shift,
  sum,
} from "./estimate.ts";

const about = { observedAtMs: 5, origin: "measured" as const };
const samples = fc.array(
  fc.integer({ min: 0, max: 1e9 }).map((value) => value / 1000),
  { minLength: 1, maxLength: 60 },
);
const estimates = samples.map((values): Estimate => estimateOf(values, about));
const sorted = (estimate: Estimate): boolean =>
  estimate.values.every((value, index) => index === 0 || value >= (estimate.values[index - 1] ?? 0));

describe("an Estimate", () => {
  it("is sorted, holds 16 values and stays inside its samples", () => {
    fc.assert(
      fc.property(samples, (values) => {
        const estimate = estimateOf(values, about);
        expect(estimate.values).toHaveLength(estimateSize);
        expect(sorted(estimate)).toBe(true);
        expect(estimate.values[0]).toBeGreaterThanOrEqual(Math.min(...values));
        expect(estimate.values[15]).toBeLessThanOrEqual(Math.max(...values));
      }),
    );
  });

  it("keeps exactly 16 samples as they are", () => {
    const values = Array.from({ length: 16 }, (_, index) => (index * 7) % 16);
    expect([...estimateOf(values, about).values]).toEqual(Array.from({ length: 16 }, (_, index) => index));
  });

  it("sums have the sum of the means; sum and max are commutative, associative and ordered", () => {
    fc.assert(
      fc.property(estimates, estimates, estimates, (a, b, c) => {
        const total = sum(a, b);
        expect(meanOf(total)).toBeCloseTo(meanOf(a) + meanOf(b), 3);
        expect(sum(b, a).values).toEqual(total.values);
        expect(max(b, a).values).toEqual(max(a, b).values);
        expect(max(max(a, b), c).values).toEqual(max(a, max(b, c)).values);
        expect(sorted(total) && sorted(max(a, b))).toBe(true);
        expect(meanOf(max(a, b))).toBeGreaterThanOrEqual(Math.max(meanOf(a), meanOf(b)) - 1e-9);
        expect(max(a, b).values.every((value, index) => value <= (total.values[index] ?? 0))).toBe(true);
      }),
    );
  });

  it("scale and shift move every quantile", () => {
    fc.assert(
      fc.property(
        estimates,
        fc.double({ min: 0, max: 100, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (a, by, ratio) => {
          expect(quantileOf(scale(a, by), ratio)).toBeCloseTo(quantileOf(a, ratio) * by, 3);
          expect(quantileOf(shift(a, by), ratio)).toBeCloseTo(quantileOf(a, ratio) + by, 6);
        },
      ),
    );
  });

  it("chanceBelow is monotone and the inverse of the quantile", () => {
    fc.assert(
      fc.property(
        estimates,
        fc.double({ min: 0.05, max: 0.95, noNaN: true }),
        fc.double({ min: -1, max: 2e6, noNaN: true }),
        fc.nat(1000),
        (a, ratio, bound, more) => {
          expect(chanceBelow(a, bound)).toBeLessThanOrEqual(chanceBelow(a, bound + more));
          expect(chanceBelow(a, bound)).toBeGreaterThanOrEqual(0);
          expect(chanceBelow(a, (a.values[15] ?? 0) + 1)).toBe(1);
          // Where values are equal, the chance jumps past the ratio; elsewhere it is it.
          const chance = chanceBelow(a, quantileOf(a, ratio));
          if (new Set(a.values).size === estimateSize) expect(chance).toBeCloseTo(ratio, 3);
          else expect(chance).toBeGreaterThanOrEqual(ratio - 0.07);
        },
      ),
    );
  });

  it("is as old as its oldest part and as sure as its weakest", () => {
    const told: Estimate = { ...certain(1), observedAtMs: 2, origin: "told" };
    const measured: Estimate = { ...certain(2), ...about };
    expect(sum(told, measured)).toMatchObject({ observedAtMs: 2, origin: "told" });
    expect(max(measured, certain(3))).toMatchObject({ observedAtMs: -Infinity, origin: "prior" });
    expect(scale(measured, 3)).toMatchObject(about);
  });

  it("certain has no spread", () => {
    expect(quantileOf(certain(7), 0.01)).toBe(7);
    expect(chanceBelow(certain(7), 7)).toBe(1);
    expect(chanceBelow(certain(7), 6.9)).toBe(0);
  });

  it("of no samples is not a number, which callers rule out", () => {
    expect(quantileOfSorted(new Float64Array(), 0.5)).toBeNaN();
  });
});

describe("left", () => {
  const belief = {
    values: Float64Array.from({ length: estimateSize }, (_, index) => 10 * (index + 1)),
    observedAtMs: 0,
    origin: "measured",
  } as const;

  it("is the part beyond the time that passed", () => {
    expect(left(belief, 0)).toBe(belief);
    expect(meanOf(left(belief, 80))).toBeCloseTo(45, 6);
    expect(meanOf(left(belief, 155))).toBeCloseTo(5, 6);
  });

  it("grows with the time by which the belief was wrong", () => {
    expect(meanOf(left(belief, 200))).toBeGreaterThan(100);
    expect(meanOf(left(belief, 2000))).toBeGreaterThan(9 * meanOf(left(belief, 200)));
    // The stated tail has passed as well.
    expect(left({ ...belief, tail: Float64Array.of(170, 180) }, 200).tail).toBeUndefined();
  });
});
