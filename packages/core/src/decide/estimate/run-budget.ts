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
  return new PricedBudget(options);
}

class PricedBudget implements RunBudget {
  readonly #options: RunBudgetOptions;
  #dual: number;
  #tokens = 1;
  #atMs = NaN;

  constructor(options: RunBudgetOptions) {
    this.#options = options;
    this.#dual = options.initialPrice ?? 0.3;
  }

  price(nowMs: number): number {
    this.#pass(nowMs);
    return this.#dual + Math.max(0, 1 - this.#tokens);
  }

  spend(ratio: number, nowMs: number): void {
    const { maxPrice = 2, step = 0.2 } = this.#options;
    this.#pass(nowMs);
    this.#tokens -= ratio;
    this.#dual = Math.min(maxPrice, this.#dual + step * ratio);
  }

  earn(nowMs: number): void {
    const { burst = 8, targetRatio = 0.1, step = 0.2 } = this.#options;
    this.#pass(nowMs);
    this.#tokens = Math.min(burst, this.#tokens + targetRatio);
    this.#dual = Math.max(0, this.#dual - step * targetRatio);
  }

  #pass(nowMs: number): void {
    const { initialPrice = 0.3, forgiveMs = 20_000 } = this.#options;
    const passedMs = nowMs - this.#atMs;
    if (passedMs > 0) {
      if (this.#tokens < 0) this.#tokens *= Math.exp((-2 * passedMs) / forgiveMs);
      if (this.#dual > initialPrice)
        this.#dual =
          initialPrice + (this.#dual - initialPrice) * Math.exp((-2 * passedMs) / (10 * forgiveMs));
    }
    if (!(passedMs < 0)) this.#atMs = nowMs;
  }
}
