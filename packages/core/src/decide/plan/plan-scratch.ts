import { estimateSize, tailSize } from "../../words/estimate/index.ts";
import { type BeliefRoom, beliefRoom, type NumberRoom, numberRoom } from "../table/index.ts";

/** Where decisions work, one at a time: what one of them leaves behind is room for the next, and nothing else. */
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

/** Room that starts with what a decision over a model of few cuts and ten endpoints takes. */
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
