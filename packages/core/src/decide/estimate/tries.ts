/**
 * Staying here against sending away, in one currency: expected loss in milliseconds (`loss.ts`), the price of what a run here keeps
 * waiting (`device-price.ts`), and the price of second runs (`run-budget.ts`).
 */
import { idleDevice, type DevicePrice } from "./device-price.ts";
import type { Estimate } from "../../words/estimate/index.ts";
import { type Loss, lossFor, lossOf, type LossOptions } from "./loss.ts";
import { missedPrice } from "./missed-price.ts";
import { runBudget, type RunBudgetOptions } from "./run-budget.ts";
import { planSecondRun, type SecondRunQuestion } from "./second-run.ts";

/** How requests are weighed and second runs are rationed. */
export interface TryOptions extends RunBudgetOptions, LossOptions {}

/** What is charged for now, in units of a run here. */
export interface TryPrices {
  /** Of a run beside a remote one. */
  readonly secondRun: number;
  /** Of an answer that is later than its call allows. */
  readonly missed: number;
}

/** Above this price, in runs, the budget is overdrawn by a run and more. */
const dearPrice = 1.8;

/** Whether second runs are so dear that none begins at another server only because the first is overdue. */
export function isDear({ secondRun }: TryPrices): boolean {
  return secondRun > dearPrice;
}

/** A request that may run here or elsewhere, as it stands now. */
export interface TryStanding {
  /** Until the remote answer. */
  readonly remoteMs: Estimate;
  /** Until an answer from here if it started now, and what of that is the wait for the device. */
  readonly localMs: number;
  readonly waitMs: number;
  /** Since the request came. */
  readonly passedMs: number;
  /** Until its deadline; Infinity without one. */
  readonly leftMs: number;
  /** What a run here keeps waiting; default nothing. */
  readonly device?: DevicePrice | undefined;
  /** Of a request under way: as it was when it came. Default: by what a run here would take now. */
  readonly loss?: Loss | undefined;
}

/** What a request was weighed by when it was sent: its guard goes on with it. */
export interface Bet {
  readonly loss: Loss;
  /** The chance that a run here was expected to begin beside it. */
  readonly begins: number;
}

/** A try against staying here. */
export interface WeighedTry {
  /** When a second run would begin, from now; Infinity: never. */
  readonly waitMs: number;
  /** Expected loss of sending and of staying in milliseconds, prices included. */
  readonly expectedMs: number;
  readonly stayMs: number;
  readonly bet: Bet;
}

/** What a second run is planned by: all of them are charged before the request is sent, those in vain once it is under way. */
export function secondRunQuestion(
  standing: TryStanding,
  prices: TryPrices,
  charged: SecondRunQuestion["charged"],
  options: LossOptions = {},
): SecondRunQuestion {
  const { remoteMs, localMs, waitMs, passedMs, leftMs, device = idleDevice, loss } = standing;
  const runMs = localMs - waitMs;
  return {
    remoteMs,
    runMs,
    freeMs: waitMs,
    passedMs,
    loss: loss ?? lossFor(passedMs + localMs, runMs, options),
    price: prices.secondRun,
    charged,
    device,
    missedMs: leftMs < Infinity ? prices.missed * runMs : 0,
    deadlineMs: leftMs,
  };
}

/** Weighs sending against running here. */
export function weighTry(standing: TryStanding, prices: TryPrices, options: LossOptions = {}): WeighedTry {
  const asked = secondRunQuestion(standing, prices, "all", options);
  const { waitMs, cost, begins } = planSecondRun(asked);
  const { localMs, passedMs } = standing;
  const { loss, device, freeMs, missedMs = 0, deadlineMs = Infinity } = asked;
  const ownMs = lossOf(loss, passedMs + localMs) - passedMs + (localMs > deadlineMs ? missedMs : 0);
  return {
    waitMs,
    expectedMs: cost,
    stayMs: ownMs + device.heldMs(localMs) - device.heldMs(freeMs),
    bet: { loss, begins },
  };
}

/** How a request ended that was sent to the endpoint, or could have been. */
export interface TryOutcome {
  /** Undefined where it failed or was given up, which says nothing of how long answers take. */
  readonly tookMs: number | undefined;
  /** From its beginning; Infinity without one. */
  readonly deadlineMs: number;
}

/** The books of trying one endpoint. */
export interface Tries {
  readonly options: LossOptions;
  prices(nowMs: number): TryPrices;
  /** A second run begins; what it costs is its chance to be in vain, 1 where that is not known. */
  spend(inVainRatio: number, nowMs: number): void;
  /** Told once for each request that could have run twice, those that stayed included. */
  ended(outcome: TryOutcome, nowMs: number): void;
}

/** Books without entries. */
export function tries(options: TryOptions = {}): Tries {
  const budget = runBudget(options);
  const missed = missedPrice();
  return {
    options,
    prices: (nowMs) => ({ secondRun: budget.price(nowMs), missed: missed.value }),
    spend: (ratio, nowMs) => budget.spend(ratio, nowMs),
    ended({ tookMs, deadlineMs }, nowMs) {
      budget.earn(nowMs);
      if (deadlineMs < Infinity && tookMs !== undefined) missed.note(tookMs > deadlineMs);
    },
  };
}
