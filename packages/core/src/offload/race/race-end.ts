import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { InferenceResponse } from "../../wire/endpoint/index.ts";
import type { HeldCrossing } from "../steps/index.ts";
import type { Leg, Plan } from "../../decide/plan/index.ts";

/** How a plan ended. */
export type RaceEnd =
  | {
      readonly kind: "answered";
      readonly leg: Leg;
      readonly response: InferenceResponse;
      /** The plan, with the legs that were added to it. */
      readonly plan: Plan;
    }
  /** A head here is done: what crosses is known now, and the plan is made again from there. */
  | { readonly kind: "crossing"; readonly held: HeldCrossing }
  | {
      readonly kind: "failed";
      readonly error: LongshoreError;
      readonly failed: readonly { readonly endpoint: EndpointId; readonly error: LongshoreError }[];
      /** The crossing that is here. */
      readonly held: HeldCrossing;
    };

/** Called once with the outcome. */
export interface Settling {
  readonly resolve: (end: RaceEnd) => void;
  readonly reject: (error: LongshoreError) => void;
}

/** Why a leg is lost that another one was quicker than. */
export const overtaken = "another leg answered first";
