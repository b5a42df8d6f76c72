import type { Account } from "../../wire/endpoint/index.ts";
import type { Charged } from "../frames/index.ts";
import type { Tries } from "../../decide/estimate/index.ts";
import type { Plan } from "../../decide/plan/index.ts";

/** A leg that ran or started in vain. */
export interface LostLeg {
  readonly leg: string;
  readonly endpoint: string;
  readonly why: string;
}

/** The resources that a request has used so far, over all plans and legs. */
export interface Tally {
  readonly plans: Plan[];
  /** Accounts of the legs that contributed. */
  readonly accounts: Account[];
  readonly lostLegs: LostLeg[];
  sentBytes: number;
  receivedBytes: number;
  /** Energy of this device. */
  millijoules: number;
  measured: boolean;
  costMicros: number;
  /** CO2 in micrograms; NaN once that of a part is not known. */
  carbonMicrograms: number;
  /** Whether any part ran on this device. */
  ranHere: boolean;
  /** The budgets that paid for second runs, both those after a late first run and those raced from the start. */
  spent: readonly Tries[] | undefined;
  /** Its share of the backlog, with `throughput` as the objective. */
  charged: Charged | undefined;
}

/** Adds the use of another try of the same request. */
export function addTally(tally: Tally, other: Tally): void {
  tally.plans.push(...other.plans);
  tally.accounts.push(...other.accounts);
  tally.lostLegs.push(...other.lostLegs);
  tally.sentBytes += other.sentBytes;
  tally.receivedBytes += other.receivedBytes;
  tally.millijoules += other.millijoules;
  tally.measured &&= other.measured;
  tally.costMicros += other.costMicros;
  tally.carbonMicrograms += other.carbonMicrograms;
  tally.ranHere ||= other.ranHere;
}

/** Starts empty. */
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
    carbonMicrograms: 0,
    ranHere: false,
    spent: undefined,
    charged: undefined,
  };
}
