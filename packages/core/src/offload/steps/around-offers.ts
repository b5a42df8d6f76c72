import { leastTrust } from "../../words/base/index.ts";
import { type EndpointInfo, mostMicrosOf, type Offer, runMicros } from "../../wire/endpoint/index.ts";
import { meanOf, shift, sum } from "../../words/estimate/index.ts";
import { endCut, type Segment, stepModels } from "../../words/model/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type BucketTable, segmentMeanMs } from "../../decide/table/index.ts";

/**
 * Offers of this endpoint for a pipeline with models that run elsewhere only: the parts that run here, and the models as other endpoints
 * offer them (`forwarded`). Each cut gets one offer for each endpoint that has the next such model. The later models are taken from the
 * fastest endpoint of each.
 */
export function aroundOffers(
  self: EndpointInfo,
  { description, here, table, speeds }: KnownModel,
  forwarded: readonly Offer[],
  queueMs: number,
): readonly Offer[] {
  if (!here) return [];
  const offers: Offer[] = [];
  for (const [position, { name, buckets }] of table.variants.entries()) {
    const variant = description.variants.find((one) => one.name === name);
    const agreementRatio = variant && variant.agreementRatio > 0 ? variant.agreementRatio : 1;
    const parts = variant ? stepModels(variant.body).filter(({ run }) => run.elsewhere) : [];
    const promises = parts.map(({ from, to }) =>
      forwarded.filter(({ segment }) => {
        return segment.variant === name && segment.from === from && segment.to === to;
      }),
    );
    for (const [at, bucket] of buckets.entries()) {
      const slowness = speeds[position]?.[at]?.mean() ?? 1;
      for (const [cut, { id }] of bucket.cuts.entries()) {
        const left = parts.flatMap((part, index) => {
          const from = bucket.index.get(part.from);
          const to = bucket.index.get(part.to);
          const by = promises[index] ?? [];
          return from !== undefined && to !== undefined && from >= cut ? [{ from, to, by }] : [];
        });
        const [next, ...later] = left;
        if (!next || bucket.reach[cut] !== next.from) continue;
        const ms = hereMs(bucket, cut, left) * slowness;
        const rest = later.map(({ by }) => quickest(by));
        for (const first of next.by) {
          const segment = { ...first.segment, from: id, to: endCut };
          const offer = joined(self, segment, bucket, ms, queueMs, [first, ...rest]);
          if (!offer) continue;
          // Each part states its own loss, in addition to that of the variant.
          const agrees = rest.map((part) => (part?.agreementRatio ?? 0) / agreementRatio);
          offers.push({
            ...offer,
            agreementRatio: agrees.reduce((all, one) => all * one, offer.agreementRatio),
          });
        }
      }
    }
  }
  return offers;
}

/** Run time here from a cut to the end, around the models of others, on the profile's machine. */
function hereMs(
  bucket: BucketTable,
  cut: number,
  others: readonly { readonly from: number; readonly to: number }[],
): number {
  let at = cut;
  let ms = 0;
  for (const { from, to } of others) {
    ms += segmentMeanMs(bucket, at, from);
    at = to;
  }
  return ms + segmentMeanMs(bucket, at, bucket.cuts.length - 1);
}

function quickest(offers: readonly Offer[]): Offer | undefined {
  let best: Offer | undefined;
  for (const one of offers) if (!best || meanOf(one.completionMs) < meanOf(best.completionMs)) best = one;
  return best;
}

/** Joins offers into one; undefined if one is missing or there are none. Rules apply to all endpoints on the route. */
export function joinedOffers(parts: readonly (Offer | undefined)[]): Offer | undefined {
  let whole: Offer | undefined;
  for (const part of parts) {
    if (!part) return undefined;
    whole = whole
      ? {
          ...whole,
          path: [...new Set([...whole.path, ...part.path])],
          zones: [...new Set([...whole.zones, ...part.zones])],
          trust: leastTrust(whole.trust, part.trust),
          completionMs: sum(whole.completionMs, part.completionMs),
          queueMs: whole.queueMs + part.queueMs,
          energyMillijoules: whole.energyMillijoules + part.energyMillijoules,
          costMicros: whole.costMicros + part.costMicros,
          mostMicros: mostMicrosOf(whole) + mostMicrosOf(part),
          ...(whole.unpriced === true || part.unpriced === true ? { unpriced: true as const } : {}),
          expiresAtMs: Math.min(whole.expiresAtMs, part.expiresAtMs),
        }
      : part;
  }
  return whole;
}

/** The same, including the parts that run here. */
function joined(
  self: EndpointInfo,
  segment: Segment,
  bucket: BucketTable,
  runMs: number,
  queueMs: number,
  parts: readonly (Offer | undefined)[],
): Offer | undefined {
  const whole = joinedOffers(parts);
  if (!whole) return undefined;
  const { rates } = self;
  // Each forwarded part includes the price of a request.
  const aroundMicros = runMicros(rates, runMs, rates.activeWatts * runMs) - runMicros(rates, 0, 0);
  return {
    ...whole,
    segment,
    completionMs: shift(whole.completionMs, runMs + queueMs),
    queueMs: whole.queueMs + queueMs,
    energyMillijoules: whole.energyMillijoules + rates.activeWatts * runMs,
    costMicros: whole.costMicros + aroundMicros,
    mostMicros: mostMicrosOf(whole) + 4 * aroundMicros,
    upTo: bucket.upTo,
    codecs: self.codecs,
  };
}
