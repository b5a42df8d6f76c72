import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  certain,
  type Estimate,
  estimateOf,
  estimateSize,
  shift,
  tailWeights,
} from "../../words/estimate/index.ts";
import { doubtOf, guardedTry, guardMoment, guardPlan, type GuardQuestion } from "./guard.ts";

const about = { observedAtMs: 0, origin: "measured" as const };
const times = fc.array(fc.double({ min: 0, max: 3000, noNaN: true }), { minLength: 1, maxLength: 40 });
/** Beliefs, half of them with a tail that goes on where the 16 values end. */
const remote = fc
  .tuple(
    times,
    fc.option(fc.array(fc.double({ min: 0, max: 2000, noNaN: true }), { minLength: 4, maxLength: 4 })),
  )
  .map(([values, steps]): Estimate => {
    const believed = estimateOf(values, about);
    if (!steps) return believed;
    let last = believed.values[estimateSize - 2] ?? 0;
    return { ...believed, tail: Float64Array.from(steps, (step) => (last += step)) };
  });

/** The cost of one guard, written down from its definition. */
function costAt(question: GuardQuestion, waitMs: number): number {
  const { remoteMs, localMs, extraRunPrice, latePrice = 0, lateAfterMs = Infinity } = question;
  const { values, tail } = remoteMs;
  const points = [...values].map((r) => ({ r, weight: 1 / 16 }));
  if (tail) points.splice(15, 1, ...[...tail].map((r, index) => ({ r, weight: tailWeights[index] ?? 0 })));
  let total = 0;
  for (const { r, weight } of points) {
    const extra = r > waitMs;
    const finish = extra ? Math.min(r, waitMs + localMs) : r;
    const late = finish > lateAfterMs ? latePrice * localMs : 0;
    total += weight * (finish + (extra ? extraRunPrice * localMs : 0) + late);
  }
  return total;
}

describe("guardMoment", () => {
  it("no moment of a fine grid costs less", () => {
    fc.assert(
      fc.property(
        remote,
        fc.double({ min: 1, max: 1000, noNaN: true }),
        fc.double({ min: 0, max: 2, noNaN: true }),
        fc.double({ min: 0, max: 5, noNaN: true }),
        fc.double({ min: 10, max: 3000, noNaN: true }),
        (remoteMs, localMs, extraRunPrice, latePrice, lateAfterMs) => {
          const question = { remoteMs, localMs, extraRunPrice, latePrice, lateAfterMs };
          const { waitMs, cost } = guardPlan(question);
          expect(cost).toBeCloseTo(costAt(question, waitMs), 6);
          for (let moment = 0; moment <= 4000; moment += 37) {
            expect(costAt(question, moment)).toBeGreaterThanOrEqual(cost - 1e-6);
          }
          expect(costAt(question, Infinity)).toBeGreaterThanOrEqual(cost - 1e-6);
        },
      ),
    );
  });

  it("starts at once when the remote side is surely slower than a run here", () => {
    expect(guardMoment({ remoteMs: certain(900), localMs: 100, extraRunPrice: 0.5 })).toBe(0);
  });

  it("never starts when the remote answer is surely on its way", () => {
    expect(guardMoment({ remoteMs: certain(50), localMs: 100, extraRunPrice: 0.1 })).toBe(Infinity);
    expect(guardMoment({ remoteMs: certain(0), localMs: 100, extraRunPrice: 0 })).toBe(Infinity);
  });

  it("waits for the fast answers and no longer when a tenth stalls", () => {
    const values = Array.from({ length: 160 }, (_, index) => (index < 144 ? 50 + index / 4 : 5000));
    const waitMs = guardMoment({ remoteMs: estimateOf(values, about), localMs: 200, extraRunPrice: 0.5 });
    expect(waitMs).toBeGreaterThan(75);
    expect(waitMs).toBeLessThan(95);
  });

  it("a higher price never starts more runs, a late price never fewer in time", () => {
    fc.assert(
      fc.property(
        remote,
        fc.double({ min: 10, max: 500, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (remoteMs, localMs, price) => {
          const extras = (extraRunPrice: number): number => {
            const waitMs = guardMoment({ remoteMs, localMs, extraRunPrice });
            return remoteMs.values.filter((value) => value > waitMs).length;
          };
          expect(extras(price + 0.5)).toBeLessThanOrEqual(extras(price));
        },
      ),
    );
  });

  it("starts a second run in time for what is late once in a hundred times, when that is dear", () => {
    const usual = estimateOf([40, 45, 50, 55], about);
    const rare = { ...usual, tail: Float64Array.of(56, 58, 60, 900) };
    const question = { localMs: 100, extraRunPrice: 0.5, latePrice: 20, lateAfterMs: 170 };
    expect(guardMoment({ ...question, remoteMs: usual })).toBe(Infinity);
    expect(guardMoment({ ...question, remoteMs: rare })).toBe(60);
    expect(guardMoment({ ...question, remoteMs: shift(rare, 5) })).toBe(65);
  });
});

describe("guardedTry", () => {
  const told = { toldMs: 20 };

  it("is expected to take what a sure belief says, and nothing is in doubt", () => {
    const quick = { remoteMs: certain(50), localMs: 100, extraRunPrice: 0.3 };
    expect(guardedTry(quick, told)).toEqual({ waitMs: Infinity, cost: 50, doubt: 0, expectedMs: 50 });
    expect(guardedTry({ ...quick, remoteMs: certain(150) }, told).expectedMs).toBeGreaterThan(100);
  });

  it("bets on a link that is often faster when it is told soon how it goes, and not on a hopeless one", () => {
    const open = { remoteMs: estimateOf([40, 45, 50, 60, 95, 900], about), localMs: 100, extraRunPrice: 0.6 };
    expect(guardedTry(open, told).expectedMs).toBeLessThan(100);
    const hopeless = { remoteMs: estimateOf([300, 400, 900], about), localMs: 100, extraRunPrice: 0 };
    expect(guardedTry(hopeless, told).expectedMs).toBeGreaterThanOrEqual(100);
  });

  it("gains nothing by being told where no second run may be started", () => {
    const remoteMs = estimateOf([50, 60, 80, 95, 110, 900], about);
    expect(guardedTry({ remoteMs, localMs: 100, extraRunPrice: 1e6 }, told).expectedMs).toBeGreaterThan(100);
  });

  it("doubts most where both endpoints are as likely to be quicker, and not at all where one surely is", () => {
    expect(doubtOf(certain(50), 100)).toBe(0);
    expect(doubtOf(certain(500), 100)).toBe(0);
    expect(doubtOf(estimateOf([50, 150], about), 100)).toBeGreaterThan(0.15);
  });
});
