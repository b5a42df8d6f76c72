import type { Account } from "../../wire/endpoint/index.ts";
import type { Charged } from "../frames/index.ts";
import type { Tries } from "../../decide/estimate/index.ts";
import type { Plan } from "../../decide/plan/index.ts";

/** A leg that ran, or began to, in vain. */
export interface LostLeg {
  readonly leg: string;
  readonly endpoint: string;
  readonly why: string;
}

/** What a request used so far, whichever plan and leg used it. */
export interface Tally {
  readonly plans: Plan[];
  /** Accounts of the legs that contributed. */
  readonly accounts: Account[];
  readonly lostLegs: LostLeg[];
  sentBytes: number;
  receivedBytes: number;
  /** Of this device. */
  millijoules: number;
  measured: boolean;
  costMicros: number;
  /** Whether any of it ran on this device. */
  ranHere: boolean;
  /** The books that second runs were paid from, which were started because the first was late, or raced. */
  spent: readonly Tries[] | undefined;
  /** Its share of the backlog, where throughput is the objective. */
  charged: Charged | undefined;
}

/** Adds what another try of the same request used. */
export function addTally(tally: Tally, other: Tally): void {
  tally.plans.push(...other.plans);
  tally.accounts.push(...other.accounts);
  tally.lostLegs.push(...other.lostLegs);
  tally.sentBytes += other.sentBytes;
  tally.receivedBytes += other.receivedBytes;
  tally.millijoules += other.millijoules;
  tally.measured &&= other.measured;
  tally.costMicros += other.costMicros;
  tally.ranHere ||= other.ranHere;
}

/** Nothing used yet. */
export function newTally(): Tally {
  return {
    plans: [],
    accounts: [],
    lostLegs: [],
    sentBytes: 0,
    receivedBytes: 0,
    millijoules: 0,
    measured: true,
    costMicros: 0,
    ranHere: false,
    spent: undefined,
    charged: undefined,
  };
}
