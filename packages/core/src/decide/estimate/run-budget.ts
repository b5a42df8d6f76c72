/** How second runs are rationed. */
export interface RunBudgetOptions {
  /** Share of requests for which a whole second run may be spent, on average; default 0.1. */
  readonly targetRatio?: number;
  /** Second runs that may follow each other directly after a quiet time; default 8. */
  readonly burst?: number;
  /** Price increase for a whole second run above target, in runs; default 0.2. */
  readonly step?: number;
  /** Initial price of a run and maximum of the long-run price, in runs; defaults 0.3 and 2. */
  readonly initialPrice?: number;
  readonly maxPrice?: number;
  /** Time within which a debt is forgiven, in milliseconds; default 20,000. */
  readonly forgiveMs?: number;
}

/**
 * A budget in the form of a price. Each second run spends its chance of being in vain, and each request earns a little. The long-run price
 * follows the spending, and an overdrawn account raises it at once. The budget never forbids a run: a run that keeps an answer from being
 * seconds late is worth more than any price. A debt from an uninformed start is forgiven after `forgiveMs`, so that later requests keep
 * their guard despite the cost of the first ones.
 */
export interface RunBudget {
  /** Price of a run beside a remote one, in runs here. */
  price(nowMs: number): number;
  /** Records the start of a second run that counts `ratio`. */
  spend(ratio: number, nowMs: number): void;
  /** Records the end of a request that could have run twice. */
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
