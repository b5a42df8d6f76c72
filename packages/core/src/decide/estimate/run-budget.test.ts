import { expect, it } from "vitest";
import { seededRandom } from "../../words/base/index.ts";
import { runBudget } from "./run-budget.ts";

it("drives what is spent to its share, by its price alone", () => {
  const budget = runBudget({ targetRatio: 0.1 });
  const random = seededRandom(3);
  let spent = 0;
  for (let count = 0; count < 5000; count++) {
    const atMs = count * 500;
    if (random.next() * 1.5 > budget.price(atMs)) {
      budget.spend(1, atMs);
      spent++;
    }
    budget.earn(atMs);
  }
  expect(spent / 5000).toBeGreaterThan(0.06);
  expect(spent / 5000).toBeLessThan(0.14);
});

it("rises when it is overdrawn, is never infinite, and forgives a start in the dark after the stated time", () => {
  const budget = runBudget({ forgiveMs: 20_000 });
  const before = budget.price(0);
  for (let count = 0; count < 10; count++) budget.spend(1, 0);
  const dear = budget.price(0);
  expect(dear).toBeGreaterThan(before + 8);
  expect(dear).toBeLessThan(20);
  expect(budget.price(5_000)).toBeLessThan(dear);
  expect(budget.price(20_000)).toBeLessThan(0.4 * dear);
});
