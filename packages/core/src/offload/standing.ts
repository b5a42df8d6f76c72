import type { EndpointId, LongshoreError } from "../base/index.ts";
import type { InferenceResponse } from "../endpoint/index.ts";
import type { Held } from "../parts/index.ts";
import { latestOf, type Leg, type Plan } from "../plan/index.ts";
import type { Job } from "./job.ts";
import type { Loop } from "./loop.ts";
import { guardFor, type GuardTimes } from "../places/index.ts";

/** How a plan ended. */
export type RaceEnd =
  | {
      readonly kind: "answered";
      readonly leg: Leg;
      readonly response: InferenceResponse;
      /** With the legs of those that were made beside it. */
      readonly plan: Plan;
    }
  /** A head here is done: what crosses is known now, and the plan is made anew from there. */
  | { readonly kind: "crossing"; readonly held: Held }
  | {
      readonly kind: "failed";
      readonly error: LongshoreError;
      readonly failed: readonly { readonly endpoint: EndpointId; readonly error: LongshoreError }[];
      /** The crossing that is here. */
      readonly held: Held;
    };

/** When a back-up may start that watches a leg. */
export function timesFor(leg: Leg, backUp: Leg, { legs }: Plan, loop: Loop): GuardTimes {
  const here = backUp.endpoint === loop.local?.info.id;
  const tail = legs.find((one) => one.takes === leg.id);
  return guardFor(loop, leg, { backUp, here, tail, latestMs: latestOf(backUp, leg) });
}

/** Whether what was sent to this place is still on its way here. */
export function isWaiting({ asked }: Job, { arriving }: Held): boolean {
  return arriving !== undefined && asked?.wire?.complete?.() === false;
}

/** Whether what was sent on cannot be sent anywhere else: it is not kept here. */
export function isGone({ asked }: Job, { arriving }: Held): boolean {
  return arriving !== undefined && asked?.wire?.again?.() === false;
}
