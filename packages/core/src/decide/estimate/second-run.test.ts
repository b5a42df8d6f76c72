import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backlogValues, type DevicePrice, devicePrice, idleDevice } from "./device-price.ts";
import { certain, type Estimate, estimateOf, estimateSize } from "../../words/estimate/index.ts";
import { lossFor, lossOf } from "./loss.ts";
import { costOfAnswer, planSecondRun, pointOf, pointWeights, type SecondRunQuestion } from "./second-run.ts";
import { type TryPrices, type TryStanding, weighTry } from "./tries.ts";

const about = { observedAtMs: 0, origin: "measured" as const };
const ms = (max: number): fc.Arbitrary<number> => fc.double({ min: 0, max, noNaN: true });
/** Beliefs, half of them with a tail that goes on where the 16 values end. */
const remote = fc
  .tuple(
    fc.array(ms(3000), { minLength: 1, maxLength: 40 }),
    fc.option(fc.array(ms(2000), { minLength: 4, maxLength: 4 })),
  )
  .map(([values, steps]): Estimate => {
    const believed = estimateOf(values, about);
    if (!steps) return believed;
    let last = believed.values[estimateSize - 2] ?? 0;
    return { ...believed, tail: Float64Array.from(steps, (step) => (last += step)) };
  });
const device = fc
  .tuple(fc.array(ms(2000), { maxLength: 20 }), ms(1))
  .map(([gaps, ratio]): DevicePrice => devicePrice(gaps, backlogValues(gaps, 300, ratio), 300, ratio));
const standing = fc
  .record({ remoteMs: remote, runMs: fc.double({ min: 1, max: 800, noNaN: true }), waitMs: ms(900), device })
  .map(({ remoteMs, runMs, waitMs, device: price }): TryStanding => ({
    remoteMs,
    localMs: waitMs + runMs,
    waitMs,
    passedMs: 0,
    leftMs: Infinity,
    device: price,
  }));
const prices = fc.record({ secondRun: ms(4), missed: ms(60) });

/** The cost of one moment, written down from its definition. */
function costAt(question: SecondRunQuestion, waitMs: number): number {
  const { remoteMs, runMs, freeMs, price, charged, device: held } = question;
  const weights = pointWeights(remoteMs);
  const endMs = waitMs + runMs;
  let total = 0;
  for (let index = 0; index < weights.length; index++) {
    const r = pointOf(remoteMs, index);
    const runs = r > waitMs;
    const paid = charged === "all" ? runs : runs && r <= endMs;
    total +=
      (weights[index] ?? 0) *
      (costOfAnswer(question, runs ? Math.min(r, endMs) : r) +
        (paid ? price * runMs : 0) +
        (runs ? held.heldMs(endMs) - held.heldMs(freeMs) : 0));
  }
  return total;
}

describe("lossOf", () => {
  it("is the time, and grows by the weight where a run here would have been sooner by more than the tolerance", () => {
    const loss = lossFor(400, 400);
    expect([lossOf(loss, 300), lossOf(loss, 440)]).toEqual([300, 440]);
    expect(lossOf(loss, 540)).toBe(540 + 5 * 100);
    expect(lossOf(lossFor(400, 400, { lateWeight: 1, toleranceRatio: 0 }), 540)).toBe(540 + 140);
  });
});

describe("planSecondRun", () => {
  it("no moment of a fine grid costs less", () => {
    fc.assert(
      fc.property(
        standing,
        prices,
        fc.constantFrom("all" as const, "in-vain" as const),
        ({ remoteMs, localMs, waitMs: freeMs, device: price = idleDevice }, { secondRun }, charged) => {
          const runMs = localMs - freeMs;
          const loss = lossFor(localMs, runMs);
          const question = {
            remoteMs,
            runMs,
            freeMs,
            passedMs: 0,
            loss,
            price: secondRun,
            charged,
            device: price,
          };
          const { waitMs, cost } = planSecondRun(question);
          expect(cost).toBeCloseTo(costAt(question, waitMs), 4);
          const never = costAt(question, Infinity);
          expect(never).toBeGreaterThanOrEqual(cost - 1e-6 * (1 + Math.abs(never)));
          // The charge for a run in vain only falls between two points where the answer comes after the run.
          if (charged === "in-vain") return;
          for (let moment = freeMs; moment <= 4000; moment += 97) {
            const other = costAt(question, moment);
            expect(other).toBeGreaterThanOrEqual(cost - 1e-6 * (1 + Math.abs(other)));
          }
        },
      ),
    );
  });

  it("begins at once where the answer is surely later than a run, and never where it is sooner", () => {
    const question = {
      runMs: 100,
      freeMs: 0,
      passedMs: 0,
      loss: lossFor(100, 100),
      price: 0.5,
      charged: "in-vain",
      device: idleDevice,
    } as const;
    expect(planSecondRun({ ...question, remoteMs: certain(900) }).waitMs).toBe(0);
    expect(planSecondRun({ ...question, remoteMs: certain(50) }).waitMs).toBe(Infinity);
    // Not before the device is free.
    expect(planSecondRun({ ...question, remoteMs: certain(900), freeMs: 70 }).waitMs).toBe(70);
  });
});

describe("weighTry", () => {
  const free: TryPrices = { secondRun: 0, missed: 0 };

  it("does not send where staying is at least as good at every quantile and a run here keeps nobody waiting", () => {
    fc.assert(
      fc.property(standing, prices, (one, price) => {
        const alone = { ...one, device: idleDevice };
        const least = Math.min(...one.remoteMs.values, ...(one.remoteMs.tail ?? []));
        const slow = { ...alone, localMs: Math.min(one.localMs, least), waitMs: 0 };
        if (!(slow.localMs > 0)) return;
        const { expectedMs, stayMs } = weighTry(slow, price);
        expect(expectedMs).toBeGreaterThanOrEqual(stayMs - 1e-9 * (1 + stayMs));
      }),
    );
  });

  it("more delay never lowers the planned loss, so a better link never raises it", () => {
    fc.assert(
      fc.property(
        standing,
        prices,
        fc.array(ms(500), { minLength: 20, maxLength: 20 }),
        (one, price, delays) => {
          let more = 0;
          const values = one.remoteMs.values.map((value, index) => value + (more += delays[index] ?? 0));
          const tail = one.remoteMs.tail?.map((value, index) => value + (more += delays[16 + index] ?? 0));
          const slower = { ...one, remoteMs: { ...about, values, ...(tail ? { tail } : {}) } };
          const before = weighTry(one, price).expectedMs;
          expect(weighTry(slower, price).expectedMs).toBeGreaterThanOrEqual(
            before - 1e-6 * (1 + Math.abs(before)),
          );
        },
      ),
    );
  });

  it("grades lateness: a sure short delay here is no worse than a doubtful long one elsewhere", () => {
    const doubtful = estimateOf([100, 100, 100, 7000], about);
    const standing1 = { remoteMs: doubtful, localMs: 150, waitMs: 50, passedMs: 0, leftMs: Infinity };
    const { expectedMs, stayMs } = weighTry(standing1, { secondRun: 1, missed: 0 });
    expect(stayMs).toBe(150);
    expect(expectedMs).toBeGreaterThan(stayMs);
  });

  it("charges staying for what it keeps waiting", () => {
    const gaps = [50, 60, 70];
    const busy = devicePrice(gaps, backlogValues(gaps, 100, 0.8), 100, 0.8);
    const asked = { remoteMs: certain(120), localMs: 100, waitMs: 0, passedMs: 0, leftMs: Infinity };
    expect(weighTry(asked, free).stayMs).toBe(100);
    const queued = weighTry({ ...asked, device: busy }, free);
    expect(queued.stayMs).toBeGreaterThan(150);
    expect(queued.expectedMs).toBeLessThan(queued.stayMs);
  });

  it("charges what misses a deadline", () => {
    const bound = { remoteMs: certain(120), localMs: 200, waitMs: 0, passedMs: 0, leftMs: 150 };
    const { expectedMs, stayMs } = weighTry(bound, { secondRun: 0, missed: 20 });
    expect(stayMs).toBe(200 + 20 * 200);
    expect(expectedMs).toBe(120);
  });
});

describe("a second run in front of requests that wait for their turn", () => {
  const question = (runs: number): SecondRunQuestion => ({
    remoteMs: certain(600),
    runMs: 100,
    freeMs: 0,
    passedMs: 0,
    loss: { lateAfterMs: 10, lateWeight: 5 },
    price: 0.2,
    charged: "in-vain",
    device: idleDevice,
    waiting: { runs, ms: runs * 100 },
  });

  it("begins where nobody waits, and where it costs them less than the late answer", () => {
    expect(planSecondRun(question(0)).waitMs).toBe(0);
    expect(planSecondRun(question(4)).waitMs).toBe(0);
  });

  it("does not begin where it makes more of them late than it saves", () => {
    expect(planSecondRun(question(12)).waitMs).toBeGreaterThan(0);
  });

  it("costs more the more of them there are, up to not beginning at all", () => {
    const costs = [0, 1, 2, 4, 12, 60].map((runs) => planSecondRun(question(runs)).cost);
    expect(costs).toEqual(costs.toSorted((one, other) => one - other));
    expect(costs.at(-1)).toBe(600 + 5 * 590);
  });
});
