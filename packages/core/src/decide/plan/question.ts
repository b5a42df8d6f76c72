import type { PlanRequest } from "./request.ts";
import type { PlanScratch } from "./plan-scratch.ts";
import type { Goal } from "../goal/index.ts";
import type { ModelView, View } from "./view.ts";

/** What one decision reads from its first step to its last, and where it works. */
export interface Question {
  readonly request: PlanRequest;
  readonly view: View;
  readonly model: ModelView;
  /** What is made small, and by which numbers completions are judged. */
  readonly goal: Goal;
  /** Until the deadline. */
  readonly remainingMs: number;
  /** What is believed to take longer is left out: the same, or nothing is. */
  readonly allowedMs: number;
  /** Charged, in micros, for a candidate without a known price: see `unknownMicros`. 0 where no candidate has one. */
  readonly unpricedMicros: number;
  readonly scratch: PlanScratch;
}
