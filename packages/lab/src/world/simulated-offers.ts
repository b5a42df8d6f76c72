import {
  type BucketProfile,
  endCut,
  type EndpointInfo,
  estimateOf,
  type Features,
  type ModelDescription,
  type Offer,
  type Segment,
  startCut,
} from "@longshore/core";
import { meanOf, runMicros, scale, shift } from "@longshore/core/internal";
import { bucketOf, profiledSegmentMs } from "./profile-times.ts";
import type { SimulatedModel } from "./simulated-model.ts";

/** The whole of a model as a segment, in its default variant unless another is named. */
export function wholeSegment(description: ModelDescription, variant?: string): Segment {
  const { name: model, version, digest, variants } = description;
  const chosen = variant ?? variants[0]?.name ?? "default";
  return { model, version, digest, variant: chosen, from: startCut, to: endCut };
}

/** The promises of an endpoint at a moment. */
export interface OfferTerms {
  readonly info: EndpointInfo;
  readonly nowMs: number;
  /** Expected wait of a segment that comes now, in milliseconds. */
  readonly queueMs: (bucket: BucketProfile, segment: Pick<Segment, "from" | "to">) => number;
  /** Promised time over profiled time. */
  readonly slowness: number;
}

/** How long a promise holds, in milliseconds. */
const offersLastMs = 5000;

/** Offers for every head and tail of the profile's cuts, the whole included, in every variant that the tier may hold. */
export function offersOf(
  model: SimulatedModel,
  features: Features | undefined,
  terms: OfferTerms,
): readonly Offer[] {
  const { info, nowMs, slowness } = terms;
  const { description, profile } = model;
  const offers: Offer[] = [];
  for (const variant of description.variants) {
    if (variant.tiers !== undefined && !variant.tiers.includes(info.tier)) continue;
    const all = profile.variants.find((one) => one.variant === variant.name)?.buckets ?? [];
    const buckets = features && all.length > 0 ? [bucketOf(profile, variant.name, features)] : all;
    for (const bucket of buckets) {
      const inner = bucket.cuts.map(({ cut }) => cut.id).filter((id) => id !== startCut && id !== endCut);
      const ends = [
        { from: startCut, to: endCut },
        ...inner.flatMap((id) => [
          { from: startCut, to: id },
          { from: id, to: endCut },
        ]),
      ];
      for (const { from, to } of ends) {
        const run = scale(
          estimateOf(profiledSegmentMs(bucket, { from, to }), { observedAtMs: nowMs, origin: "told" }),
          slowness,
        );
        const runMs = meanOf(run);
        const queueMs = terms.queueMs(bucket, { from, to });
        offers.push({
          segment: { ...wholeSegment(description, variant.name), from, to },
          path: [info.id],
          zones: [info.zone],
          trust: info.trust,
          completionMs: shift(run, queueMs),
          queueMs,
          energyMillijoules: info.rates.activeWatts * runMs,
          costMicros: runMicros(info.rates, runMs, info.rates.activeWatts * runMs),
          agreementRatio: variant.agreementRatio,
          ...(variant.accuracyRatio === undefined ? {} : { accuracyRatio: variant.accuracyRatio }),
          upTo: bucket.upTo,
          codecs: info.codecs,
          expiresAtMs: nowMs + offersLastMs,
          origin: "promised",
        });
      }
    }
  }
  return offers;
}
