import { describe, expect, it } from "vitest";
import { retryBudget } from "./retry-budget.ts";

describe("the budget of retries and second runs", () => {
  const spend = (budget: ReturnType<typeof retryBudget>, nowMs: number): number => {
    let taken = 0;
    while (budget.take(nowMs)) taken++;
    return taken;
  };

  it("lets a server die under a hundred requests, and then a fifth of those that come", () => {
    const budget = retryBudget();
    expect(spend(budget, 0)).toBe(100);
    for (let request = 0; request < 50; request++) budget.requested();
    expect(spend(budget, 0)).toBe(10);
  });

  it("gives a quiet endpoint ten a second, and saves no more than a hundred", () => {
    const budget = retryBudget();
    spend(budget, 0);
    expect(spend(budget, 1000)).toBe(10);
    expect(spend(budget, 3_600_000)).toBe(100);
  });

  it("has what was given back to take again", () => {
    const budget = retryBudget();
    spend(budget, 0);
    budget.back();
    expect(spend(budget, 0)).toBe(1);
  });
});
