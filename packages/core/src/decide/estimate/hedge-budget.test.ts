import { expect, it } from "vitest";
import { seededRandom } from "../../words/base/index.ts";
import { hedgeBudget } from "./hedge-budget.ts";

it("drives the share of extra runs to its target when each gain is drawn at random", () => {
  const random = seededRandom(31);
  const budget = hedgeBudget();
  let extras = 0;
  const count = 20_000;
  for (let index = 0; index < count; index++) {
    const extraRun = budget.allows && random.next() * 1.5 > budget.price;
    if (extraRun) {
      budget.spend();
      extras += 1;
    }
    budget.note({ extraRun, late: false });
  }
  expect(extras / count).toBeGreaterThan(0.125);
  expect(extras / count).toBeLessThan(0.145);
});

it("refuses what goes beyond the limit and its burst, whatever the price says", () => {
  const budget = hedgeBudget({ maxPrice: 0, burst: 5, limitRatio: 0.15, debt: 2, debtPrice: 0 });
  let extras = 0;
  for (let index = 0; index < 1000; index++) {
    const extraRun = budget.allows;
    if (extraRun) {
      budget.spend();
      extras += 1;
    }
    budget.note({ extraRun, late: false });
  }
  expect(extras).toBeLessThanOrEqual(155);
  expect(extras).toBeGreaterThanOrEqual(150);
});

it("lends a few runs at a price when nothing is left", () => {
  const budget = hedgeBudget({ burst: 2, limitRatio: 0.01, initialPrice: 0.1, debt: 3, debtPrice: 1.5 });
  budget.spend();
  expect(budget.allows).toBe(true);
  expect(budget.price).toBe(1.5);
  for (let run = 0; run < 3; run++) budget.spend();
  expect(budget.allows).toBe(false);
});

it("owes no more than it lends, however often a deadline needs a run all the same", () => {
  const budget = hedgeBudget({ limitRatio: 0.5, debt: 3 });
  for (let run = 0; run < 100; run++) budget.spend();
  for (let count = 0; count < 2; count++) budget.note({ extraRun: false, late: false });
  expect(budget.allows).toBe(true);
});

it("makes late answers dearer when they come too often, and cheaper when they do not", () => {
  const budget = hedgeBudget();
  const before = budget.latePrice;
  budget.note({ extraRun: false, late: true });
  expect(budget.latePrice).toBeGreaterThan(before);
  for (let index = 0; index < 20_000; index++) budget.note({ extraRun: false, late: false });
  expect(budget.latePrice).toBe(0);
});
