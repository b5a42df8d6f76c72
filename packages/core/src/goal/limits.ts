import type { Aim } from "./objective.ts";

/** What a decision must keep and what it should make small. Undefined limits nothing. */
export interface PlanLimits extends Aim {
  readonly maxDeviceMillijoules?: number | undefined;
  readonly maxCostMicros?: number | undefined;
  readonly minAccuracyRatio?: number | undefined;
  readonly variant?: string | undefined;
}
