import type { Segment } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { SegmentPlan } from "../run/index.ts";
import type { ServeParts } from "./serve-request.ts";
import { programOf } from "./variants.ts";

/** The graphs that a segment runs on. Undefined before the first request, which starts reading them, and for other content. */
export function graphsOf(
  { life, plans, info }: Pick<ServeParts, "life" | "plans" | "info">,
  { model, version, digest, variant, from, to }: Segment,
): SegmentPlan["models"] | undefined {
  const call = housekeepingCall("graphs-of");
  const lease = life.acquire(model, version, call);
  if (lease instanceof Promise) {
    // The request itself gets the error.
    lease.then(
      (one) => one[Symbol.dispose](),
      () => undefined,
    );
    return undefined;
  }
  using held = lease;
  const { loaded } = held;
  if (digest !== "" && digest !== loaded.description.digest) return undefined;
  const plan = plans.get(programOf(loaded, variant, info), from, to, undefined, call);
  if (plan instanceof Promise) {
    plan.catch(() => undefined);
    return undefined;
  }
  return plan.models;
}
