import { type EndpointId, leastTrust, trustRank } from "../../words/base/index.ts";
import {
  byOwnNames,
  type EndpointInfo,
  mostMicrosOf,
  mostMoveMicros,
  moveMicros,
  type Offer,
} from "../../wire/endpoint/index.ts";
import { meanOf, shift, sum } from "../../words/estimate/index.ts";
import type { BucketTable } from "../../decide/table/index.ts";
import { envelopeBytes } from "../../decide/plan/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { EndpointState } from "./endpoint-state.ts";

/** Agreement that a codec chosen on the way must keep. */
const leastAgreement = 0.995;

/**
 * An offer that was not renewed is passed on for this long after it expired. This is one round of polling, so that rounds at different
 * intervals leave no gap. After that the endpoint's state is unknown and it is promised to no caller.
 */
const graceMs = 5000;

/** When a request arrives, the predicted maximal cost may exceed the cost at the time of the offer by this factor. */
const grownRatio = 1.25;

/**
 * The offers of this endpoint for forwarding a request: another endpoint's offer, plus the transfer both ways and the belief about the
 * endpoint. The path grows at the front, and the zones and trust of both apply, so that the caller can tell the paths apart. Paths that
 * lead back to the caller, or through this endpoint, are left out.
 */
export function forwardedOffers(
  self: EndpointInfo,
  endpoint: EndpointState,
  offers: readonly Offer[],
  known: KnownModel,
  been: readonly EndpointId[],
  nowMs: number,
  /** Charge for failed runs of the model there, in milliseconds; Infinity while runs are paused for failures. */
  failingMs = 0,
): readonly Offer[] {
  if (failingMs === Infinity || endpoint.health.unavailable(nowMs) !== undefined) return [];
  const view = endpoint.reading.view(nowMs);
  const composed: Offer[] = [];
  for (const offer of offers.map(byOwnNames)) {
    if (offer.segment.digest !== known.description.digest || offer.expiresAtMs + graceMs < nowMs) continue;
    if (offer.path.some((one) => one === self.id || been.includes(one))) continue;
    const bytes = crossingBytes(known, offer);
    const { rates } = endpoint.endpoint.info;
    const movedMicros = moveMicros(rates, bytes.up + envelopeBytes.up, bytes.down + envelopeBytes.down);
    const mostMoved = mostMoveMicros(rates, bytes.up + envelopeBytes.up, bytes.down + envelopeBytes.down);
    const fee = self.rates.microsPerRequest ?? 0;
    const { belief: link } = endpoint.link;
    const travel = link
      ? sum(
          link.transferMs(bytes.up + envelopeBytes.up, "up", nowMs),
          link.transferMs(bytes.down + envelopeBytes.down, "down", nowMs),
        )
      : undefined;
    const waitMs = view.queueMs + view.penaltyMs + failingMs;
    const service = shift(offer.completionMs, -offer.queueMs);
    const corrected = {
      ...service,
      values: service.values.map((value) => Math.max(0, value) * view.serviceRatio + waitMs),
    };
    composed.push({
      ...offer,
      path: [self.id, ...offer.path],
      zones: [...new Set([self.zone, endpoint.endpoint.info.zone, ...offer.zones])],
      trust: leastTrust(self.trust, leastTrust(endpoint.endpoint.info.trust, offer.trust)),
      completionMs: travel ? sum(corrected, travel) : corrected,
      queueMs: waitMs,
      costMicros: offer.costMicros + movedMicros + fee,
      mostMicros: grownRatio * (mostMicrosOf(offer) * Math.max(1, view.serviceRatio) + mostMoved) + fee,
      ...(rates.unpriced === true || offer.unpriced === true ? { unpriced: true as const } : {}),
      // The sender's codecs end here. The next hop chooses its own.
      codecs: self.codecs,
      expiresAtMs: Math.min(offer.expiresAtMs, nowMs + 5000),
    });
  }
  return composed;
}

/**
 * The offers of this endpoint together with another: the part up to a cut here, the rest as the other endpoint offers it on the path that
 * `forwarded` describes. For each path and segment the fastest cut is chosen. The time of the part here is the time of its tail minus the
 * time of the remaining tail, as this endpoint promises both.
 */
export function splitOffers(
  own: readonly Offer[],
  forwarded: readonly Offer[],
  known: KnownModel,
): readonly Offer[] {
  const best = new Map<string, Offer>();
  for (const rest of forwarded) {
    const after = own.find((offer) => offersSame(offer, rest, rest.segment.from));
    const bucket = bucketOf(known, rest);
    const at = bucket?.index.get(rest.segment.from);
    if (!after || !bucket || at === undefined || at === 0) continue;
    for (const before of own) {
      if (!offersSame(before, rest, before.segment.from)) continue;
      if ((bucket.index.get(before.segment.from) ?? at) >= at) continue;
      const offer = joined(before, after, rest);
      const key = [...rest.path, rest.segment.variant, before.segment.from, featuresKey(rest)].join(" ");
      const rival = best.get(key);
      if (!rival || meanOf(offer.completionMs) < meanOf(rival.completionMs)) best.set(key, offer);
    }
  }
  return [...best.values()];
}

/** Whether an offer is for the tail that begins at `from`, of the same variant and inputs as another offer. */
function offersSame(offer: Offer, other: Offer, from: string): boolean {
  const { segment } = offer;
  return (
    segment.from === from &&
    segment.to === other.segment.to &&
    segment.variant === other.segment.variant &&
    featuresKey(offer) === featuresKey(other)
  );
}

function featuresKey({ upTo: { bytes, size, items } }: Offer): string {
  return `${bytes} ${size ?? ""} ${items ?? ""}`;
}

function joined(before: Offer, after: Offer, rest: Offer): Offer {
  const here = shift(before.completionMs, -before.queueMs);
  const left = shift(after.completionMs, -after.queueMs);
  const part = {
    ...here,
    values: here.values.map((value, at) => Math.max(0, value - (left.values[at] ?? 0)) + before.queueMs),
  };
  return {
    ...rest,
    segment: { ...rest.segment, from: before.segment.from },
    completionMs: sum(part, rest.completionMs),
    queueMs: before.queueMs + rest.queueMs,
    ...loading((before.loadMs ?? 0) + (rest.loadMs ?? 0)),
    energyMillijoules:
      Math.max(0, before.energyMillijoules - after.energyMillijoules) + rest.energyMillijoules,
    costMicros: Math.max(0, before.costMicros - after.costMicros) + rest.costMicros,
    mostMicros: mostMicrosOf(before) + mostMicrosOf(rest),
    expiresAtMs: Math.min(before.expiresAtMs, rest.expiresAtMs),
  };
}

function loading(loadMs: number): Pick<Offer, "loadMs"> {
  return loadMs > 0 ? { loadMs } : {};
}

/** Bytes of the inputs and outputs of an offer's segment, in the smallest encoding that keeps the answers. */
function crossingBytes(known: KnownModel, offer: Offer): { readonly up: number; readonly down: number } {
  const { segment } = offer;
  const bucket = bucketOf(known, offer);
  const from = bucket?.index.get(segment.from);
  const to = bucket?.index.get(segment.to);
  if (!bucket || from === undefined || to === undefined) return { up: 0, down: 0 };
  let up = bucket.rawBytes[from] ?? 0;
  for (let coding = bucket.firstCoding[from] ?? 0; coding < (bucket.firstCoding[from + 1] ?? 0); coding++) {
    const one = bucket.codings[coding];
    if (one && one.agreementRatio >= leastAgreement && one.bytes < up) up = one.bytes;
  }
  return { up, down: bucket.rawBytes[to] ?? 0 };
}

function bucketOf(known: KnownModel, { segment, upTo }: Offer): BucketTable | undefined {
  const variant = known.table.variants.find((one) => one.name === segment.variant);
  return variant?.buckets.find((one) => one.upTo === upTo || sameFeatures(one, upTo)) ?? variant?.buckets[0];
}

function sameFeatures(bucket: BucketTable, upTo: Offer["upTo"]): boolean {
  const { bytes, size, items } = bucket.upTo;
  return bytes === upTo.bytes && size === upTo.size && items === upTo.items;
}

/**
 * Removes offers that another offer for the same segment and inputs dominates: not slower, through no other zones, not less trusted. Few
 * remain: one for each path that some rule could require.
 */
export function undominated(offers: readonly Offer[]): readonly Offer[] {
  const groups = new Map<string, Offer[]>();
  for (const offer of offers) {
    const { variant, from, to } = offer.segment;
    const key = `${variant} ${from} ${to} ${featuresKey(offer)}`;
    const group = groups.get(key);
    if (group) group.push(offer);
    else groups.set(key, [offer]);
  }
  return [...groups.values()].flatMap((group) =>
    group.filter(
      (offer, index) => !group.some((rival, at) => at !== index && beats(rival, at, offer, index)),
    ),
  );
}

function beats(rival: Offer, rivalAt: number, offer: Offer, at: number): boolean {
  const mine = meanOf(offer.completionMs);
  const theirs = meanOf(rival.completionMs);
  if (theirs > mine || trustRank(rival.trust) < trustRank(offer.trust)) return false;
  if ((rival.loadMs ?? 0) > (offer.loadMs ?? 0)) return false;
  if (!rival.zones.every((zone) => offer.zones.includes(zone))) return false;
  if (rival.costMicros > offer.costMicros || (rival.unpriced === true && offer.unpriced !== true))
    return false;
  const alike =
    theirs === mine &&
    rival.trust === offer.trust &&
    rival.zones.length === offer.zones.length &&
    rival.costMicros === offer.costMicros;
  return !alike || rivalAt < at;
}
