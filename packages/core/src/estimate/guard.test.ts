import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { certain, type Estimate, estimateOf } from "./estimate.ts";
import { doubtOf, guardedChoice, guardMoment, guardPlan, type GuardQuestion } from "./guard.ts";
import { tryLedger } from "./try-ledger.ts";

const about = { observedAtMs: 0, origin: "measured" as const };
const remote = fc
  .array(fc.double({ min: 0, max: 3000, noNaN: true }), { minLength: 1, maxLength: 40 })
  .map((values): Estimate => estimateOf(values, about));

/** The cost of one guard, written down from its definition. */
function costAt(question: GuardQuestion, waitMs: number): number {
  const { remoteMs, localMs, extraRunPrice, latePrice = 0, lateAfterMs = Infinity } = question;
  let total = 0;
  for (const r of remoteMs.values) {
    const extra = r > waitMs;
    const finish = extra ? Math.min(r, waitMs + localMs) : r;
    total +=
      finish + (extra ? extraRunPrice * localMs : 0) + (finish > lateAfterMs ? latePrice * localMs : 0);
  }
  return total / 16;
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

  it("a bias makes it wait where starting now is only a little better", () => {
    const remoteMs = estimateOf([80, 130, 160, 400], about);
    expect(guardMoment({ remoteMs, localMs: 100, extraRunPrice: 0.1 })).toBe(0);
    expect(guardMoment({ remoteMs, localMs: 100, extraRunPrice: 0.1, biasMs: 300 })).toBeGreaterThan(0);
  });
});

describe("guardedChoice", () => {
  const told = { toldMs: 20 };

  it("stays when remote is surely slower, goes when it is surely faster", () => {
    const slow = { remoteMs: certain(150), localMs: 100, extraRunPrice: 0.3 };
    expect(guardedChoice(slow, told)).toEqual({ where: "local" });
    const quick = { remoteMs: certain(50), localMs: 100, extraRunPrice: 0.3 };
    const sure = { where: "remote", waitMs: Infinity, cost: 50, doubt: 0, expected: 50 };
    expect(guardedChoice(quick, told)).toEqual(sure);
  });

  it("bets on a link that is often faster when it is told soon how it goes, and not on a hopeless one", () => {
    const open = { remoteMs: estimateOf([40, 45, 50, 60, 95, 900], about), localMs: 100, extraRunPrice: 0.6 };
    expect(guardedChoice(open, told).where).toBe("remote");
    const hopeless = { remoteMs: estimateOf([300, 400, 900], about), localMs: 100, extraRunPrice: 0 };
    expect(guardedChoice(hopeless, told).where).toBe("local");
  });

  it("gains nothing by being told where no second run may be started", () => {
    const remoteMs = estimateOf([50, 60, 80, 95, 110, 900], about);
    expect(guardedChoice({ remoteMs, localMs: 100, extraRunPrice: 1e6 }, told).where).toBe("local");
  });

  it("stops trying in doubt where tries cost more than expected, and goes on where the belief is sure", () => {
    const ledger = tryLedger();
    const open = { remoteMs: estimateOf([40, 45, 50, 60, 95, 900], about), localMs: 100, extraRunPrice: 0.6 };
    for (let count = 0; count < 50; count++) {
      const choice = guardedChoice(open, { ...told, surcharge: ledger.surcharge });
      if (choice.where === "local") break;
      ledger.note(choice.doubt, choice.expected / 100, 1.6);
    }
    const { surcharge } = ledger;
    expect(guardedChoice(open, { ...told, surcharge }).where).toBe("local");
    const sure = { remoteMs: certain(60), localMs: 100, extraRunPrice: 0.6 };
    expect(guardedChoice(sure, { ...told, surcharge }).where).toBe("remote");
  });

  it("doubts most where both places are as likely to be quicker, and not at all where one surely is", () => {
    expect(doubtOf(certain(50), 100)).toBe(0);
    expect(doubtOf(certain(500), 100)).toBe(0);
    expect(doubtOf(estimateOf([50, 150], about), 100)).toBeGreaterThan(0.15);
  });
});
