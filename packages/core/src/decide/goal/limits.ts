import type { Aim } from "./objective.ts";

/** What a decision must keep and what it should make small. Undefined limits nothing. */
export interface PlanLimits extends Aim {
  readonly maxDeviceMillijoules?: number | undefined;
  readonly maxCostMicros?: number | undefined;
  readonly minAccuracyRatio?: number | undefined;
  readonly variant?: string | undefined;
}

/**
 * Limits of one of several requests that a caller demanded the same of, numbered by `at`: a key stands for one request, so each has
 * its own, which is the same whenever that one is sent again.
 */
export function limitsAt<L extends { readonly idempotencyKey?: string }>(limits: L, at: number): L {
  const { idempotencyKey: key } = limits;
  return key === undefined ? limits : { ...limits, idempotencyKey: `${key}.${at}` };
}
