import type { EndpointId } from "../../words/base/index.ts";
import type { InferenceResponse } from "../../wire/endpoint/index.ts";
import type { Leg, Plan } from "../../decide/plan/index.ts";
import type { Tally } from "../account/index.ts";

/** How one request was answered. */
export interface Outcome {
  readonly response: InferenceResponse;
  readonly leg: Leg;
  readonly plan: Plan;
  readonly tally: Tally;
  /** The endpoint that gave the same answer, if confirmation was required and the answer was not computed here. */
  readonly confirmedBy?: EndpointId;
}
