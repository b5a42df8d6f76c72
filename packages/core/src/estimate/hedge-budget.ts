/** How extra runs are rationed. */
export interface HedgeBudgetOptions {
  /** Share of requests that may run twice, on average; default 0.13. */
  readonly targetRatio?: number;
  /** Share that is never exceeded beyond a burst; default 0.15. */
  readonly limitRatio?: number;
  /** Extra runs that may come in a row after a quiet time; default 10, of which a new budget has half. */
  readonly burst?: number;
  /** Change of the price for one whole extra run above target, in units of a local run; default 0.1. */
  readonly step?: number;
  /** Price before anything was seen, in units of a local run; default 0.3. */
  readonly initialPrice?: number;
  /** The price never goes above this; default 3. */
  readonly maxPrice?: number;
  /** Share of answers that may be late; default 0.002. */
  readonly lateTargetRatio?: number;
  /** Late price before anything was seen, in units of a local run; default 5. */
  readonly initialLatePrice?: number;
  /** Change of the late price for one late answer, in units of a local run; default 2. */
  readonly lateStep?: number;
  /** The late price never goes above this, in units of a local run; default 11. */
  readonly maxLatePrice?: number;
}

/**
 * A budget that prices extra runs, so that the guard spends them where they gain most. The price goes up with each extra
 * run and down with each request without one, which drives the share to the target; a token bucket at the limit refuses
 * what the price did not prevent. The price of late answers is driven in the same way.
 */
export interface HedgeBudget {
  /** Price of an extra run, in units of a local run. */
  readonly price: number;
  /** Price of a late answer, in units of a local run. */
  readonly latePrice: number;
  /** Whether an extra run may start at all. */
  readonly allows: boolean;
  /** Told once for each request that could have run twice. */
  note(outcome: { readonly extraRun: boolean; readonly late: boolean }): void;
  /** Told when an extra run starts, before the request ends. */
  spend(): void;
}

/** A fresh budget. */
export function hedgeBudget(options: HedgeBudgetOptions = {}): HedgeBudget {
  const {
    targetRatio = 0.13,
    limitRatio = 0.15,
    burst = 10,
    step = 0.1,
    initialPrice = 0.3,
    maxPrice = 3,
    lateTargetRatio = 0.002,
    initialLatePrice = 5,
    lateStep = 2,
    maxLatePrice = 11,
  } = options;
  let price = initialPrice;
  let latePrice = initialLatePrice;
  // A new budget begins with half a burst, so that short lives keep the limit, too, within a few runs.
  let tokens = burst / 2;
  return {
    get price() {
      return price;
    },
    get latePrice() {
      return latePrice;
    },
    get allows() {
      return tokens >= 1;
    },
    spend() {
      tokens -= 1;
    },
    note({ extraRun, late }) {
      tokens = Math.min(burst, tokens + limitRatio);
      price = Math.min(maxPrice, Math.max(0, price + step * ((extraRun ? 1 : 0) - targetRatio)));
      // Late answers are rare, so each one weighs as much as its share makes many good ones.
      latePrice = Math.min(
        maxLatePrice,
        Math.max(0, latePrice + lateStep * ((late ? 1 : 0) - lateTargetRatio)),
      );
    },
  };
}
