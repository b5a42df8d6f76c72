/** How extra runs are rationed. */
export interface HedgeBudgetOptions {
  /** Share of requests that may run twice, on average; default 0.135. */
  readonly targetRatio?: number;
  /** Share that is never exceeded beyond a burst and the debt; default 0.14. */
  readonly limitRatio?: number;
  /** Extra runs that may come in a row after a quiet time; default 12. A new budget has 2 of them, so that short lives keep the limit, too. */
  readonly burst?: number;
  /** Extra runs that may be borrowed when much depends on them, at `debtPrice` at least; default 3. */
  readonly debt?: number;
  /** Least price of a borrowed run, in units of a local run; default 1.5. */
  readonly debtPrice?: number;
  /** Change of the price for one whole extra run above target, in units of a local run; default 0.2. */
  readonly step?: number;
  /** Price before anything was seen, in units of a local run; default 0.3. */
  readonly initialPrice?: number;
  /** The price never goes above this; default 3. */
  readonly maxPrice?: number;
  /** Share of answers that may be late; default 0.0065. */
  readonly lateTargetRatio?: number;
  /** Late price before anything was seen, in units of a local run; default 8. */
  readonly initialLatePrice?: number;
  /** Change of the late price for one late answer, in units of a local run; default 2. */
  readonly lateStep?: number;
  /** The late price never goes above this, in units of a local run; default 20. */
  readonly maxLatePrice?: number;
}

/**
 * A budget that prices extra runs, so that the guard spends them where they gain most. The price goes up with each extra
 * run and down with each request without one, which drives the share to the target; a token bucket at the limit refuses
 * what the price did not prevent. A little debt is allowed at a price: the one run that keeps an answer from being seconds
 * late is worth more than the rule. The price of late answers is driven in the same way.
 */
export interface HedgeBudget {
  /** Price of an extra run, in units of a local run. */
  readonly price: number;
  /** Price of a late answer, in units of a local run. */
  readonly latePrice: number;
  /** Whether an extra run may start at all. */
  readonly allows: boolean;
  /** Told once for each request that could have run twice; `late` is undefined where it has no answer. */
  note(outcome: { readonly extraRun: boolean; readonly late: boolean | undefined }): void;
  /** Told when an extra run starts, before the request ends. */
  spend(): void;
}

/** A fresh budget. */
export function hedgeBudget(options: HedgeBudgetOptions = {}): HedgeBudget {
  const {
    targetRatio = 0.135,
    limitRatio = 0.14,
    burst = 12,
    debt = 3,
    debtPrice = 1.5,
    step = 0.2,
    initialPrice = 0.3,
    maxPrice = 3,
    lateTargetRatio = 0.0065,
    initialLatePrice = 8,
    lateStep = 2,
    maxLatePrice = 20,
  } = options;
  let price = initialPrice;
  let latePrice = initialLatePrice;
  let tokens = Math.min(2, burst / 2);
  return {
    get price() {
      return tokens >= 1 ? price : Math.max(price, debtPrice);
    },
    get latePrice() {
      return latePrice;
    },
    get allows() {
      return tokens >= 1 - debt;
    },
    spend() {
      // What a deadline needs is spent although nothing is left; later requests need not earn back more than was to be lent.
      tokens = Math.max(-debt, tokens - 1);
    },
    note({ extraRun, late }) {
      tokens = Math.min(burst, tokens + limitRatio);
      price = Math.min(maxPrice, Math.max(0, price + step * ((extraRun ? 1 : 0) - targetRatio)));
      if (late === undefined) return;
      // Late answers are rare, so each one weighs as much as its share makes many good ones.
      latePrice = Math.min(
        maxLatePrice,
        Math.max(0, latePrice + lateStep * ((late ? 1 : 0) - lateTargetRatio)),
      );
    },
  };
}
