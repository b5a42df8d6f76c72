import { estimateSize, tailSize } from "../../words/estimate/index.ts";
import { type BeliefPool, beliefPool, type NumberPool, numberPool } from "../table/index.ts";

/** Reusable memory of decisions, which run one at a time. A decision must not read what an earlier one left. */
export interface PlanScratch {
  /** Beliefs of 16 values each, gone when the decision is made. */
  readonly beliefs: NumberPool;
  /** Tails of such beliefs. */
  readonly tails: NumberPool;
  /** Columns with a number for each option or route, gone as well. */
  readonly columns: NumberPool;
  /** Beliefs that the plan keeps. */
  readonly kept: BeliefPool;
}

/** Starts with the memory of a decision over a model with few cuts and ten endpoints. */
export function planScratch(): PlanScratch {
  return {
    beliefs: numberPool(estimateSize),
    tails: numberPool(tailSize),
    columns: numberPool(64),
    kept: beliefPool(beliefsInBlock),
  };
}

/** As many as a few plans keep: a plan that is kept for long keeps no more than 8 kB alive. */
const beliefsInBlock = 64;
