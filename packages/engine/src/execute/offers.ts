import {
  type BucketProfile,
  type CutId,
  endCut,
  type EndpointInfo,
  type Estimate,
  type Features,
  LongshoreError,
  type Offer,
  type OfferQuery,
  type Segment,
  startCut,
  type Variant,
} from "@longshore/core";
import {
  certain,
  estimateSize,
  guessedMs,
  inferredOffer,
  meanOf,
  sum,
  runMicros,
} from "@longshore/core/internal";
import type { LoadedVersion } from "../repository/index.ts";
import { bucketsFor, profiledEstimate, type Speeds } from "./speed.ts";

/** How long an offer holds, in milliseconds: queues change faster than machines. */
const holdsMs = 5000;
/** An offer without a profile holds for inputs like those seen so far, whose features were not measured. */
const anyFeatures: Features = { bytes: Infinity };

export interface OfferParts {
  readonly info: EndpointInfo;
  readonly speeds: Speeds;
  readonly nowMs: number;
  /** Expected wait now of the tail that begins at a cut. Throws `unknown-cut` for one that is none here. */
  readonly queueMs: (variant: string, from: CutId) => Promise<number>;
  /** Expected time until a segment is loaded. */
  readonly loadMs: (segment: Segment) => number;
}

/** Tells whether an endpoint of this tier serves a variant. */
export function servedHere({ tiers }: Variant, { tier }: EndpointInfo): boolean {
  return tiers === undefined || tiers.includes(tier);
}

/**
 * A promise for every tail that can be a good choice: from the profile, scaled by how fast this endpoint has shown itself
 * to be; without a profile, for what was run here before. Until then an offer is made only while the model is not loaded. It tells the time
 * of the load; its run is a guess.
 */
export async function makeOffers(
  { description, profile }: LoadedVersion,
  query: OfferQuery,
  parts: OfferParts,
): Promise<readonly Offer[]> {
  const { name: model, version, digest } = description;
  const offers: Offer[] = [];
  for (const variant of description.variants) {
    if (!servedHere(variant, parts.info)) continue;
    const tail = (from: CutId): Segment => ({
      model,
      version,
      digest,
      variant: variant.name,
      from,
      to: endCut,
    });
    const profiled = profile?.variants.find((one) => one.variant === variant.name);
    if (profile && profiled) {
      const accuracy = variant.accuracyRatio ?? profiled.accuracyRatio;
      const ratio = parts.speeds.ratio({ digest, variant: variant.name }, profile);
      for (const bucket of bucketsFor(profiled, query.features)) {
        for (const { from, serviceMs } of tails(bucket, ratio)) {
          const offer = await offerOf(tail(from), serviceMs, bucket.upTo, variant, accuracy, parts).catch(
            unknownCut,
          );
          if (offer) offers.push(offer);
        }
      }
      continue;
    }
    const observed = parts.speeds.observed({ digest, variant: variant.name });
    if (observed.length === 0) {
      const whole = tail(startCut);
      // Reads the graphs, whose size tells the time of the load. If they cannot be read, the request itself gets the error.
      const read = await parts.queueMs(variant.name, startCut).then(
        () => true,
        () => false,
      );
      const loadMs = read ? parts.loadMs(whole) : 0;
      const { agreementRatio } = variant;
      if (loadMs > 0)
        offers.push({
          ...inferredOffer(parts.info, whole, certain(guessedMs), parts.nowMs),
          agreementRatio,
          loadMs,
        });
    }
    for (const { from, serviceMs } of observed) {
      const { accuracyRatio } = variant;
      const offer = await offerOf(tail(from), serviceMs, anyFeatures, variant, accuracyRatio, parts).catch(
        unknownCut,
      );
      if (offer) offers.push(offer);
    }
  }
  return offers;
}

/**
 * A profile may name cuts that do not exist here. If the graph itself is not here, only the cuts whose heads its package lists
 * are known. A segment that ends at a model of other endpoints is no offer of this one.
 */
function unknownCut(thrown: unknown): undefined {
  if (LongshoreError.is(thrown) && (thrown.reason === "unknown-cut" || thrown.reason === "no-endpoint"))
    return;
  throw thrown;
}

function tails(
  bucket: BucketProfile,
  ratio: Estimate,
): readonly { readonly from: CutId; readonly serviceMs: Estimate }[] {
  return bucket.cuts
    .filter(({ cut, tailMs }) => cut.id !== endCut && tailMs.length > 0)
    .map(({ cut, tailMs }) => ({ from: cut.id, serviceMs: times(profiledEstimate(tailMs), ratio) }));
}

/** Value by value, as sums are: slow runs come on slow moments, so that tails are promised carefully. */
function times(a: Estimate, ratio: Estimate): Estimate {
  const values = new Float64Array(estimateSize);
  for (let index = 0; index < estimateSize; index++)
    values[index] = (a.values[index] ?? 0) * (ratio.values[index] ?? 1);
  return { values, observedAtMs: ratio.observedAtMs, origin: ratio.origin };
}

async function offerOf(
  segment: Segment,
  serviceMs: Estimate,
  upTo: Features,
  variant: Variant,
  accuracyRatio: number | undefined,
  { info, nowMs, queueMs: queueOf, loadMs: loadOf }: OfferParts,
): Promise<Offer> {
  const queueMs = await queueOf(segment.variant, segment.from);
  const meanMs = meanOf(serviceMs);
  const loadMs = loadOf(segment);
  const { rates } = info;
  const microsOf = (runMs: number): number => runMicros(rates, runMs, runMs * rates.activeWatts);
  const longestMs = Math.max(meanMs, serviceMs.values[estimateSize - 1] ?? meanMs);
  return {
    segment,
    path: [info.id],
    zones: [info.zone],
    trust: info.trust,
    completionMs: sum(serviceMs, certain(queueMs, { observedAtMs: nowMs, origin: "measured" })),
    queueMs,
    ...(loadMs > 0 ? { loadMs } : {}),
    energyMillijoules: meanMs * rates.activeWatts,
    costMicros: microsOf(meanMs),
    // Without this a reader takes it that the whole price grows with the time of the run.
    ...((rates.microsPerRequest ?? 0) > 0 ? { mostMicros: microsOf(longestMs) } : {}),
    agreementRatio: variant.agreementRatio,
    ...(accuracyRatio === undefined ? {} : { accuracyRatio }),
    upTo,
    codecs: info.codecs,
    expiresAtMs: nowMs + holdsMs,
    origin: "promised",
  };
}
