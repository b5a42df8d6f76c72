import type { PlanLimits } from "../../goal/index.ts";

/** Removes candidates below the required accuracy, and those without a measured accuracy if one is required. */
export function accuracyRemoves(accuracyRatio: number | undefined, limits: PlanLimits): boolean {
  return limits.minAccuracyRatio !== undefined && !((accuracyRatio ?? NaN) >= limits.minAccuracyRatio);
}

/** The sentence for `lost`. */
export function accuracyDetail(limits: PlanLimits): string {
  return `its accuracy is below ${limits.minAccuracyRatio ?? 0} or was never measured`;
}
