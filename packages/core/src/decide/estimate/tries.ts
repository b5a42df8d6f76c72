/**
 * The books of trying one endpoint: what a second run beside it costs, what a late answer costs, and what tries in doubt cost
 * beyond what was expected of them. Who decides by them does so through `weighTry` and `tryQuestion`.
 */
import type { Estimate } from "../../words/estimate/index.ts";
import { guardedTry, type GuardedTry, type GuardQuestion, nextHereRatio } from "./guard.ts";
import { hedgeBudget, type HedgeBudgetOptions } from "./hedge-budget.ts";
import { tryLedger } from "./try-ledger.ts";

/** What is charged for now, in units of a local run. */
export interface TryPrices {
  /** Of a run on both sides; Infinity while none may start. */
  readonly extraRun: number;
  /** Of an answer that is later than usual, and of one that is later than its call allows. */
  readonly late: number;
  readonly missed: number;
  /** For each unit of doubt (`doubtOf`); below 0 where tries gain. */
  readonly surcharge: number;
}

/** A request that may run here or elsewhere, as it stands now. */
export interface TryStanding {
  /** Until the remote answer. */
  readonly remoteMs: Estimate;
  /** Until an answer from here if it started now, and what of that is the wait for its endpoint. */
  readonly localMs: number;
  readonly waitMs: number;
  /** Since the request came. */
  readonly passedMs: number;
  /** Until its deadline; Infinity without one. */
  readonly leftMs: number;
  /** Times until the next request, equally likely; see `Arrivals`. */
  readonly untilNextMs: Float64Array;
}

/** An answer without a deadline that takes longer than so many local runs is late. */
const lateRatio = 1.3;
/** Price of a run that may not start, in local runs. */
const forbidden = 1e6;
/** Share of the late price that counts when the endpoint is chosen; all of it counts once under way. */
const startLateRatio = 0.7;
/** After a round trip, acknowledgements of so long tell how a transfer goes. */
const ackMs = 30;
/** Local runs that a try counts for at most, however long it took. */
const mostRuns = 3;
/** A promised deadline is dear from the first request on: few answers may be late, so little is learned from late ones. */
const deadlines = { lateTargetRatio: 0.002, initialLatePrice: 30, maxLatePrice: 60 };

/** What a guard weighs about a request, at these prices; of an answer that is late, so much of the price counts. */
export function tryQuestion(
  standing: TryStanding,
  prices: TryPrices,
  lateShareRatio = 1,
): GuardQuestion & { readonly latePrice: number; readonly lateAfterMs: number } {
  const { remoteMs, localMs, waitMs, passedMs, leftMs, untilNextMs } = standing;
  const runMs = localMs - waitMs;
  const allowedMs = leftMs < Infinity ? leftMs + passedMs : lateRatio * runMs;
  return {
    remoteMs,
    localMs,
    extraRunPrice: Math.min(forbidden, prices.extraRun),
    latePrice: lateShareRatio * (leftMs < Infinity ? prices.missed : prices.late),
    lateAfterMs: allowedMs - passedMs,
    next: { inMs: untilNextMs, hereRatio: nextHereRatio, slackMs: Math.max(0, allowedMs - runMs) },
  };
}

/** What a try was thought of when it began: what the books compare with its end. */
export interface Bet {
  /** See `doubtOf`. */
  readonly doubt: number;
  /** In milliseconds, prices included. */
  readonly expectedMs: number;
  /** Prices in local runs. */
  readonly extraRunPrice: number;
  readonly latePrice: number;
}

/** A try against staying here. */
export interface WeighedTry extends GuardedTry {
  /** What staying is expected to cost in milliseconds, prices included. */
  readonly stayMs: number;
  readonly bet: Bet;
}

/** Weighs beginning remotely against running here, where the round trip takes `roundTripMs`. */
export function weighTry(standing: TryStanding, prices: TryPrices, roundTripMs: number): WeighedTry {
  const asked = tryQuestion(standing, prices, startLateRatio);
  const { extraRunPrice, latePrice, lateAfterMs } = asked;
  const { surcharge } = prices;
  const { waitMs, cost, doubt, expectedMs } = guardedTry(asked, { toldMs: roundTripMs + ackMs, surcharge });
  const { localMs } = standing;
  return {
    waitMs,
    cost,
    doubt,
    expectedMs,
    stayMs: localMs + (localMs > lateAfterMs ? latePrice * localMs : 0),
    bet: { doubt, expectedMs, extraRunPrice, latePrice },
  };
}

/** How a request ended that was sent to the endpoint, or could have been. */
export interface TryOutcome {
  /** Undefined where it failed or was given up, which says nothing of how long answers take. */
  readonly tookMs: number | undefined;
  /** One run here. */
  readonly runMs: number;
  /** From its beginning; Infinity without one. */
  readonly deadlineMs: number;
  /** It ran on both sides. */
  readonly extraRun: boolean;
  /** Where it was sent: what was thought of that. */
  readonly bet?: Bet | undefined;
}

/** See above. */
export interface Tries {
  readonly prices: TryPrices;
  /** Whether an extra run may start at all. */
  readonly allows: boolean;
  /** Told when an extra run starts, before the request ends. */
  spend(): void;
  /** Told once for each request that could have run twice, those that stayed included. */
  ended(outcome: TryOutcome): void;
}

/** Books without entries. */
export function tries(options: HedgeBudgetOptions = {}): Tries {
  const budget = hedgeBudget(options);
  const bound = hedgeBudget(deadlines);
  const ledger = tryLedger();
  return {
    get prices() {
      return {
        extraRun: budget.allows ? budget.price : Infinity,
        late: budget.latePrice,
        missed: bound.latePrice,
        surcharge: ledger.surcharge,
      };
    },
    get allows() {
      return budget.allows;
    },
    spend: budget.spend,
    ended({ tookMs, runMs, deadlineMs, extraRun, bet }) {
      const hasDeadline = deadlineMs < Infinity;
      const isLate =
        tookMs === undefined ? undefined : tookMs > (hasDeadline ? deadlineMs : lateRatio * runMs);
      budget.note({ extraRun, late: isLate === undefined ? undefined : !hasDeadline && isLate });
      if (hasDeadline) bound.note({ extraRun: false, late: isLate });
      // What takes no time here is no measure of what tries cost.
      if (tookMs === undefined || !bet || !(runMs > 0)) return;
      const took = Math.min(mostRuns, tookMs / runMs);
      const paid = took + (extraRun ? bet.extraRunPrice : 0) + (isLate ? bet.latePrice : 0);
      ledger.note(bet.doubt, bet.expectedMs / runMs, paid);
    },
  };
}
