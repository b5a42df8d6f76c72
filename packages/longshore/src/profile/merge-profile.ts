import type { Profile, VariantProfile } from "@longshore/core";

/** Mean time of a whole variant in its first bucket, in milliseconds; undefined when it was not measured. */
export function wholeMs(variant: VariantProfile | undefined): number | undefined {
  const times = variant?.buckets[0]?.cuts[0]?.tailMs ?? [];
  return times.length === 0 ? undefined : times.reduce((sum, one) => sum + one, 0) / times.length;
}

function scaled(variant: VariantProfile, ratio: number): VariantProfile {
  const times = (values: readonly number[]): readonly number[] => values.map((value) => value * ratio);
  return {
    ...variant,
    buckets: variant.buckets.map((bucket) => ({
      ...bucket,
      cuts: bucket.cuts.map((cut) => ({
        ...cut,
        headMs: times(cut.headMs),
        tailMs: times(cut.tailMs),
        codings: cut.codings.map((coding) => ({
          ...coding,
          encodeMs: coding.encodeMs * ratio,
          decodeMs: coding.decodeMs * ratio,
          ...(coding.encodeSpreadMs && { encodeSpreadMs: times(coding.encodeSpreadMs) }),
          ...(coding.decodeSpreadMs && { decodeSpreadMs: times(coding.decodeSpreadMs) }),
        })),
      })),
    })),
  };
}

/**
 * A profile with variants that were measured later. Knowledge of others stays: their files are the same, even though the
 * version has another digest with one more file in it. Times of the later measurement are scaled so that the variant that both
 * know, `common`, took as long in both: the machine may have been another one, or busier.
 */
export function mergeProfile(known: Profile | undefined, later: Profile, common: string): Profile {
  if (!known) return later;
  const [before, after] = [known, later].map(({ variants }) =>
    wholeMs(variants.find((one) => one.variant === common)),
  );
  if (before === undefined || after === undefined || after <= 0) return later;
  const added = later.variants.filter((one) => one.variant !== common);
  const names = new Set(added.map((one) => one.variant));
  return {
    ...later,
    measuredOn: known.measuredOn,
    variants: [
      ...known.variants.filter((one) => !names.has(one.variant)),
      ...added.map((one) => scaled(one, before / after)),
    ],
  };
}

/**
 * The measurements of some variants, with the knowledge of the others beside it. Their times are scaled by the present time of
 * a variant that both know, if there is one.
 */
export function withOthers(known: Profile | undefined, measured: Profile): Profile {
  if (!known) return measured;
  const now = new Map(measured.variants.map((one) => [one.variant, one]));
  const ratios = known.variants.map((one) => (wholeMs(now.get(one.variant)) ?? 0) / (wholeMs(one) ?? 0));
  const ratio = ratios.find((one) => one > 0 && one < Infinity) ?? 1;
  const names = new Set(known.variants.map((one) => one.variant));
  return {
    ...measured,
    variants: [
      ...known.variants.map((one) => now.get(one.variant) ?? scaled(one, ratio)),
      ...measured.variants.filter((one) => !names.has(one.variant)),
    ],
  };
}
