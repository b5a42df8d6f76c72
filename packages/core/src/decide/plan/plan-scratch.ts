import { estimateSize, tailSize } from "../../words/estimate/index.ts";
import { type BeliefRoom, beliefRoom, type NumberRoom, numberRoom } from "../table/index.ts";

/** Reusable memory of decisions, which run one at a time. A decision must not read what an earlier one left. */
export interface PlanScratch {
  /** Beliefs of 16 values each, gone when the decision is made. */
  readonly beliefs: NumberRoom;
  /** Tails of such beliefs. */
  readonly tails: NumberRoom;
  /** Columns with a number for each option or route, gone as well. */
  readonly columns: NumberRoom;
  /** Beliefs that the plan keeps. */
  readonly kept: BeliefRoom;
}

/** Starts with the memory of a decision over a model with few cuts and ten endpoints. */
export function planScratch(): PlanScratch {
  return {
    beliefs: numberRoom(estimateSize),
    tails: numberRoom(tailSize),
    columns: numberRoom(64),
    kept: beliefRoom(beliefsInBlock),
  };
}

/** As many as a few plans keep: a plan that is kept for long keeps no more than 8 kB alive. */
const beliefsInBlock = 64;
