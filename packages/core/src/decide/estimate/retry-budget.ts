/** Budget for runs beyond the first of each request. Retries and second runs share it. */
export interface RetryBudget {
  /** Records a request. */
  requested(): void;
  /** Takes one run; false when the budget is empty. */
  take(nowMs: number): boolean;
  /** Returns the last run: no endpoint could run it. */
  back(): void;
}

/** Retries earned by each request. */
const perRequest = 0.2;
/** Retries earned in each second. */
const perSecond = 10;
/** Maximum of saved retries, and the initial number. */
const mostSaved = 100;

/**
 * If every endpoint fails, unlimited retries multiply the load at the worst time. As in Finagle's retry budgets, a fifth of the requests
 * may be retried, plus some each second so that an endpoint with little traffic is not held back. A server that dies under a hundred
 * requests loses none of them.
 */
export function retryBudget(): RetryBudget {
  let saved = mostSaved;
  let atMs = -Infinity;
  return {
    requested() {
      saved = Math.min(mostSaved, saved + perRequest);
    },
    take(nowMs) {
      if (atMs > -Infinity) saved = Math.min(mostSaved, saved + ((nowMs - atMs) / 1000) * perSecond);
      atMs = nowMs;
      // Fifths do not add up exactly.
      if (saved < 1 - 1e-9) return false;
      saved -= 1;
      return true;
    },
    back() {
      saved = Math.min(mostSaved, saved + 1);
    },
  };
}
