import type { EndpointId, LongshoreError } from "../base/index.ts";
import type { InferenceResponse } from "../endpoint/index.ts";
import type { Held } from "../parts/index.ts";
import { latestOf, type Leg, type LegId, type Plan, waitsFor } from "../plan/index.ts";
import type { Tensors } from "../tensor/index.ts";
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

/** How far a plan has come. */
export interface Standing {
  /** With the legs of those that were made beside it. */
  plan: Plan;
  readonly started: Set<LegId>;
  readonly outputs: Map<LegId, Tensors>;
  readonly failed: Map<LegId, { readonly endpoint: EndpointId; readonly error: LongshoreError }>;
}

/** A plan of which nothing has begun. */
export function standingOf(plan: Plan): Standing {
  return { plan, started: new Set(), outputs: new Map(), failed: new Map() };
}

/** Whether what a leg waits for has failed. */
export function waitedFor({ starts, takes }: Leg, { outputs, failed }: Standing): boolean {
  if (takes !== "request" && !outputs.has(takes)) return false;
  return starts.some((one) => one.on === "failed" && failed.has(one.leg));
}

/** What starts in place of a leg that is late. One that waits for a failure starts when nothing is to be hoped for any more, too. */
export function backUpOf(leg: Leg, standing: Standing): Leg | undefined {
  const waiting = standing.plan.legs.filter(({ id }) => !standing.started.has(id));
  return (
    waiting.find((one) => latestOf(one, leg) !== undefined) ??
    waiting.find((one) => waitsFor(one, leg) || waitedFor(one, standing))
  );
}

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
