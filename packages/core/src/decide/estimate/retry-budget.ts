/** What runs at other endpoints beyond the first of each request: retries and second runs share it. */
export interface RetryBudget {
  /** A request came. */
  asked(): void;
  /** Takes one run; false when there is none left. */
  take(nowMs: number): boolean;
  /** What was taken last was not run: there was nowhere to run it. */
  back(): void;
}

/** Retries earned by each request. */
const perRequest = 0.2;
/** Retries earned in each second. */
const perSecond = 10;
/** The most retries that are saved; also the number at the start. */
const mostSaved = 100;

/**
 * Where everything fails, trying again elsewhere makes several requests of each one, just when there are too many. As in
 * Finagle's retry budgets, a fifth of the requests may be tried again, and some each second so that a quiet endpoint is not
 * held back; a server that dies under a hundred requests loses none of them.
 */
export function retryBudget(): RetryBudget {
  let saved = mostSaved;
  let atMs = -Infinity;
  return {
    asked() {
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
