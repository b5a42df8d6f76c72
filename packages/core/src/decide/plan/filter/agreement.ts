import type { PlanLimits } from "../../goal/index.ts";
import type { VariantTable } from "../../table/index.ts";

/**
 * How far a variant's answers count as agreeing. A request for accuracy, or for this very variant, asks for its answers and not for those
 * of the default variant. A difference is then no error, and only the effect of codecs counts.
 */
export function agreementOfVariant(
  variant: VariantTable,
  standard: VariantTable | undefined,
  limits: PlanLimits,
): number {
  if (limits.variant === variant.name) return 1;
  const wantsAccuracy = limits.objective === "accuracy" || limits.minAccuracyRatio !== undefined;
  const better = (variant.accuracyRatio ?? -1) >= (standard?.accuracyRatio ?? Infinity);
  return wantsAccuracy && better ? 1 : variant.agreementRatio;
}

/** Removes lossy codings and variants that agree too little with the exact answer of the default variant. */
export function agreementRemoves(agreementRatio: number, limits: PlanLimits): boolean {
  return !(agreementRatio >= (limits.minAgreementRatio ?? 0));
}

/** The sentence for `lost`. */
export function agreementDetail(limits: PlanLimits): string {
  return `its answers agree less than ${limits.minAgreementRatio ?? 0} with the exact ones`;
}
