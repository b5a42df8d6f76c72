/** How second runs are rationed. */
export interface RunBudgetOptions {
  /** Share of requests for which a whole second run may be spent, on average; default 0.1. */
  readonly targetRatio?: number;
  /** Second runs that may come in a row after a quiet time; default 8. */
  readonly burst?: number;
  /** Change of the price for a whole second run above target, in runs; default 0.2. */
  readonly step?: number;
  /** The price of a run at the start, and the most that the long-run price comes to, in runs; defaults 0.3 and 2. */
  readonly initialPrice?: number;
  readonly maxPrice?: number;
  /** What is overdrawn is forgiven within this time, in milliseconds; default 20,000. */
  readonly forgiveMs?: number;
}

/**
 * A budget that is a price. Each second run spends what it was likely to be in vain, each request earns a little; the long-run price
 * follows what was spent, and an overdrawn account adds to it at once. It never forbids: the run that keeps an answer from being
 * seconds late is worth more than any price. A debt from a start in the dark is forgiven after `forgiveMs`, so that later requests
 * are not left without a guard for what the first ones cost.
 */
export interface RunBudget {
  /** Of a run beside a remote one, in runs here. */
  price(nowMs: number): number;
  /** A second run begins: `ratio` of it counts. */
  spend(ratio: number, nowMs: number): void;
  /** A request ended that could have run twice. */
  earn(nowMs: number): void;
}

/** A fresh budget. */
export function runBudget(options: RunBudgetOptions = {}): RunBudget {
  const {
    targetRatio = 0.1,
    burst = 8,
    step = 0.2,
    initialPrice = 0.3,
    maxPrice = 2,
    forgiveMs = 20_000,
  } = options;
  let dual = initialPrice;
  let tokens = 1;
  let atMs = NaN;
  function pass(nowMs: number): void {
    const passedMs = nowMs - atMs;
    if (passedMs > 0) {
      if (tokens < 0) tokens *= Math.exp((-2 * passedMs) / forgiveMs);
      if (dual > initialPrice)
        dual = initialPrice + (dual - initialPrice) * Math.exp((-2 * passedMs) / (10 * forgiveMs));
    }
    if (!(passedMs < 0)) atMs = nowMs;
  }
  return {
    price(nowMs) {
      pass(nowMs);
      return dual + Math.max(0, 1 - tokens);
    },
    spend(ratio, nowMs) {
      pass(nowMs);
      tokens -= ratio;
      dual = Math.min(maxPrice, dual + step * ratio);
    },
    earn(nowMs) {
      pass(nowMs);
      tokens = Math.min(burst, tokens + targetRatio);
      dual = Math.max(0, dual - step * targetRatio);
    },
  };
}
