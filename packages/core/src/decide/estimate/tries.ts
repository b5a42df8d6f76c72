/**
 * Compares staying here with sending away in one unit: expected loss in milliseconds (`loss.ts`), the price of a run here for later
 * requests (`device-price.ts`), and the price of second runs (`run-budget.ts`).
 */
import { idleDevice, type DevicePrice } from "./device-price.ts";
import type { Estimate } from "../../words/estimate/index.ts";
import { type Loss, lossFor, lossOf, type LossOptions } from "./loss.ts";
import { type MissedPrice, missedPrice } from "./missed-price.ts";
import { type RunBudget, runBudget, type RunBudgetOptions } from "./run-budget.ts";
import { planSecondRun, type SecondRunQuestion } from "./second-run.ts";

/** Weights of the loss and the budget of second runs. */
export interface TryOptions extends RunBudgetOptions, LossOptions {}

/** Current prices, in runs here. */
export interface TryPrices {
  /** Of a run beside a remote one. */
  readonly secondRun: number;
  /** Of an answer after its deadline. */
  readonly missed: number;
}

/** Above this price, in runs, the budget is overdrawn by more than a run. */
const dearPrice = 1.8;

/** Whether second runs are so expensive that none begins at another server only because the first is overdue. */
export function isDear({ secondRun }: TryPrices): boolean {
  return secondRun > dearPrice;
}

/** Current state of a request that may run here or elsewhere. */
export interface TryStanding {
  /** Until the remote answer. */
  readonly remoteMs: Estimate;
  /** Until an answer from here if it started now, and the share of that which waits for the device. */
  readonly localMs: number;
  readonly waitMs: number;
  /** Since the request arrived. */
  readonly passedMs: number;
  /** Until its deadline; Infinity without one. */
  readonly leftMs: number;
  /** Price of a run here for later requests; default none. */
  readonly device?: DevicePrice | undefined;
  /** Runs that wait behind a run here; see `SecondRunQuestion`. */
  readonly waiting?: SecondRunQuestion["waiting"];
  /** The loss of a request under way, as computed at its arrival. Default: computed from a run here now. */
  readonly loss?: Loss | undefined;
}

/** The loss and the expected second run of a request, as computed when it was sent. Its guard keeps using them. */
export interface Bet {
  readonly loss: Loss;
  /** Expected chance that a run here begins beside it. */
  readonly begins: number;
}

/** Comparison of sending with staying here. */
export interface WeighedTry {
  /** When a second run would begin, from now; Infinity for never. */
  readonly waitMs: number;
  /** Expected loss of sending and of staying in milliseconds, prices included. */
  readonly expectedMs: number;
  readonly stayMs: number;
  readonly bet: Bet;
}

/** Inputs of the plan for a second run. All runs are charged before the request is sent, only those in vain once it is under way. */
export function secondRunQuestion(
  standing: TryStanding,
  prices: TryPrices,
  charged: SecondRunQuestion["charged"],
  options: LossOptions = {},
): SecondRunQuestion {
  const { remoteMs, localMs, waitMs, passedMs, leftMs, device = idleDevice, loss, waiting } = standing;
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
    waiting,
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

/** How a request ended that was sent to the endpoint or could have been. */
export interface TryOutcome {
  /** Undefined if it failed or was cancelled, which says nothing about answer times. */
  readonly tookMs: number | undefined;
  /** From its arrival; Infinity without one. */
  readonly deadlineMs: number;
}

/** Records of the requests to one endpoint. */
export interface Tries {
  readonly options: LossOptions;
  prices(nowMs: number): TryPrices;
  /** Records the start of a second run. It costs its chance of being in vain, 1 if unknown. */
  spend(inVainRatio: number, nowMs: number): void;
  /** Call once for each request that could have run twice, including those that stayed. */
  ended(outcome: TryOutcome, nowMs: number): void;
}

/** Starts without records. */
export function tries(options: TryOptions = {}): Tries {
  return new TryBooks(options);
}

class TryBooks implements Tries {
  readonly options: TryOptions;
  readonly #budget: RunBudget;
  readonly #missed: MissedPrice = missedPrice();

  constructor(options: TryOptions) {
    this.options = options;
    this.#budget = runBudget(options);
  }

  prices(nowMs: number): TryPrices {
    return { secondRun: this.#budget.price(nowMs), missed: this.#missed.value };
  }

  spend(inVainRatio: number, nowMs: number): void {
    this.#budget.spend(inVainRatio, nowMs);
  }

  ended({ tookMs, deadlineMs }: TryOutcome, nowMs: number): void {
    this.#budget.earn(nowMs);
    if (deadlineMs < Infinity && tookMs !== undefined) this.#missed.note(tookMs > deadlineMs);
  }
}
