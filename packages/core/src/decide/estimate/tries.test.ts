import { describe, expect, it } from "vitest";
import { certain, estimateOf } from "../../words/estimate/index.ts";
import { tries, type TryPrices, tryQuestion, type TryStanding, weighTry } from "./tries.ts";

const about = { observedAtMs: 0, origin: "measured" as const };
const standing: TryStanding = {
  remoteMs: estimateOf([40, 45, 50, 60, 95, 900], about),
  localMs: 100,
  waitMs: 0,
  passedMs: 0,
  leftMs: Infinity,
  untilNextMs: new Float64Array(0),
};
const free: TryPrices = { extraRun: 0.3, late: 5, missed: 20, surcharge: 0 };
/** Told almost at once. */
const near = 0;
const goes = (change: Partial<TryStanding>, prices: TryPrices = free): boolean => {
  const { expectedMs, stayMs } = weighTry({ ...standing, ...change }, prices, near);
  return expectedMs < stayMs;
};

describe("weighTry", () => {
  it("stays when remote is surely slower, goes when it is surely faster", () => {
    expect(goes({ remoteMs: certain(150) })).toBe(false);
    expect(goes({ remoteMs: certain(50) })).toBe(true);
  });

  it("charges staying for an answer that would be later than usual because the device is busy", () => {
    const queued = weighTry({ ...standing, localMs: 160, waitMs: 60 }, free, near);
    expect(queued.stayMs).toBeGreaterThan(160);
    expect(weighTry({ ...standing, localMs: 120, waitMs: 20 }, free, near).stayMs).toBe(120);
  });

  it("tries nothing in doubt while no second run may start", () => {
    expect(goes({})).toBe(true);
    expect(goes({}, { ...free, extraRun: Infinity })).toBe(false);
  });
});

describe("tryQuestion", () => {
  it("takes for late what the deadline says, else what is longer than a run here usually is", () => {
    const waiting = { ...standing, localMs: 130, waitMs: 30, passedMs: 20 };
    expect(tryQuestion(waiting, free)).toMatchObject({ lateAfterMs: 110, latePrice: 5 });
    const bound = tryQuestion({ ...waiting, leftMs: 150 }, free);
    expect(bound).toMatchObject({ lateAfterMs: 150, latePrice: 20, next: { slackMs: 70 } });
  });
});

describe("tries", () => {
  const usual = { runMs: 100, deadlineMs: Infinity, extraRun: false };

  it("learns nothing of tries beside a run that takes no time", () => {
    const books = tries();
    const { bet } = weighTry({ ...standing, localMs: 0 }, books.prices, near);
    expect(bet.doubt).toBe(0);
    books.ended({ ...usual, tookMs: 0, runMs: 0, bet: { ...bet, doubt: 0.2 } });
    expect(books.prices.surcharge).toBe(0);
  });

  it("stops trying in doubt where tries cost more than expected, and goes on where the belief is sure", () => {
    const books = tries();
    for (let count = 0; count < 50 && goes({}, books.prices); count++) {
      const { bet } = weighTry(standing, books.prices, near);
      books.ended({ ...usual, tookMs: 125, extraRun: true, bet });
    }
    expect(goes({}, books.prices)).toBe(false);
    expect(goes({ remoteMs: certain(60) }, books.prices)).toBe(true);
  });

  it("makes late answers dearer when they come too often, and missed deadlines apart from them", () => {
    const books = tries();
    const before = books.prices;
    books.ended({ ...usual, tookMs: 140 });
    expect(books.prices.late).toBeGreaterThan(before.late);
    expect(books.prices.missed).toBe(before.missed);
    books.ended({ ...usual, tookMs: 140, deadlineMs: 130 });
    expect(books.prices.missed).toBeGreaterThan(before.missed);
    for (let count = 0; count < 20_000; count++) books.ended({ ...usual, tookMs: 90 });
    expect(books.prices.late).toBe(0);
  });

  it("lets no second run start when all were spent, until requests without one earned it", () => {
    const books = tries({ burst: 2, debt: 0 });
    books.spend();
    expect(books.allows).toBe(false);
    expect(books.prices.extraRun).toBe(Infinity);
    for (let count = 0; count < 8; count++) books.ended({ ...usual, tookMs: 90 });
    expect(books.allows).toBe(true);
  });
});
