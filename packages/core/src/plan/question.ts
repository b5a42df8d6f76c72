import type { PlanRequest } from "./request.ts";
import type { NumberRoom, Reading } from "../table/index.ts";
import type { ModelView, View } from "./view.ts";

/** What one decision reads from its first step to its last, and where it works. */
export interface Question {
  readonly request: PlanRequest;
  readonly view: View;
  readonly model: ModelView;
  /** The number by which completions are judged. */
  readonly reading: Reading;
  /** Until the deadline. */
  readonly remainingMs: number;
  /** Room for what is gone when the decision is made, and for the beliefs that its plan keeps. */
  readonly scratch: NumberRoom;
  readonly kept: NumberRoom;
}
