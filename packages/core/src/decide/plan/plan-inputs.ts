import type { PlanRequest } from "./request.ts";
import type { PlanScratch } from "./plan-scratch.ts";
import type { Goal } from "../goal/index.ts";
import type { ModelView, View } from "./view.ts";

/** The inputs of one decision, and its scratch memory. */
export interface PlanInputs {
  readonly request: PlanRequest;
  readonly view: View;
  readonly model: ModelView;
  /** The objective, and the numbers by which completions are judged. */
  readonly goal: Goal;
  /** Until the deadline. */
  readonly remainingMs: number;
  /** Candidates that are believed to take longer are left out; Infinity: none. */
  readonly allowedMs: number;
  /** Charge for a candidate without a known price, in micros; see `unknownMicros`. 0 if no candidate has a price. */
  readonly unpricedMicros: number;
  /** Charge for a candidate whose CO2 is not known, in micrograms; 0 if that of no candidate is. */
  readonly unknownMicrograms: number;
  readonly scratch: PlanScratch;
}
