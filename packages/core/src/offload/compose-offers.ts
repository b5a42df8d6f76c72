import { type EndpointId, leastTrust, trustRank } from "../base/index.ts";
import type { EndpointInfo, Offer } from "../endpoint/index.ts";
import { meanOf, shift, sum } from "../estimate/index.ts";
import type { BucketTable } from "../table/index.ts";
import { envelopeBytes } from "../plan/index.ts";
import type { KnownModel } from "../places/index.ts";
import type { Place } from "../places/index.ts";

/** Agreement that a codec chosen on the way must keep. */
const leastAgreement = 0.995;

/**
 * What this place promises by passing a request on: another place's offer, plus the way there and back and what is believed
 * of the place. The path gets longer at the front and the zones and trust of both hold, so that whoever asked can tell the
 * ways apart; a way that comes back to the asker, or through here, is none.
 */
export function forwardedOffers(
  self: EndpointInfo,
  place: Place,
  offers: readonly Offer[],
  known: KnownModel,
  been: readonly EndpointId[],
  nowMs: number,
): readonly Offer[] {
  if (place.health.unavailable(nowMs) !== undefined) return [];
  const view = place.view(nowMs);
  const composed: Offer[] = [];
  for (const offer of offers) {
    if (offer.segment.digest !== known.description.digest) continue;
    if (offer.path.some((one) => one === self.id || been.includes(one))) continue;
    const bytes = crossingBytes(known, offer);
    const travel = place.link
      ? sum(
          place.link.transferMs(bytes.up + envelopeBytes.up, "up", nowMs),
          place.link.transferMs(bytes.down + envelopeBytes.down, "down", nowMs),
        )
      : undefined;
    const waitMs = view.queueMs + view.penaltyMs;
    const service = shift(offer.completionMs, -offer.queueMs);
    const corrected = {
      ...service,
      values: service.values.map((value) => Math.max(0, value) * view.serviceRatio + waitMs),
    };
    composed.push({
      ...offer,
      path: [self.id, ...offer.path],
      zones: [...new Set([self.zone, place.endpoint.info.zone, ...offer.zones])],
      trust: leastTrust(self.trust, leastTrust(place.endpoint.info.trust, offer.trust)),
      completionMs: travel ? sum(corrected, travel) : corrected,
      queueMs: waitMs,
      costMicros:
        offer.costMicros + (place.endpoint.info.rates.microsPerMegabyte * (bytes.up + bytes.down)) / 1e6,
      // The asker's codecs end here; the next hop gets codecs of its own.
      codecs: self.codecs,
      expiresAtMs: Math.min(offer.expiresAtMs, nowMs + 5000),
    });
  }
  return composed;
}

/** Bytes of what an offer's segment takes and gives, in the smallest coding that keeps the answers. */
function crossingBytes(
  known: KnownModel,
  { segment, upTo }: Offer,
): { readonly up: number; readonly down: number } {
  const variant = known.table.variants.find((one) => one.name === segment.variant);
  const bucket: BucketTable | undefined =
    variant?.buckets.find((one) => one.upTo === upTo || sameFeatures(one, upTo)) ?? variant?.buckets[0];
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

function sameFeatures(bucket: BucketTable, upTo: Offer["upTo"]): boolean {
  const { bytes, size, items } = bucket.upTo;
  return bytes === upTo.bytes && size === upTo.size && items === upTo.items;
}

/**
 * Leaves out offers that another one for the same segment and inputs beats: no slower, through no other zones, trusted no
 * less. What is left is few: one for each way that some rule could demand.
 */
export function undominated(offers: readonly Offer[]): readonly Offer[] {
  const groups = new Map<string, Offer[]>();
  for (const offer of offers) {
    const { variant, from, to } = offer.segment;
    const { bytes, size, items } = offer.upTo;
    const key = `${variant} ${from} ${to} ${bytes} ${size ?? ""} ${items ?? ""}`;
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
  if (!rival.zones.every((zone) => offer.zones.includes(zone))) return false;
  if (rival.costMicros > offer.costMicros) return false;
  const alike =
    theirs === mine &&
    rival.trust === offer.trust &&
    rival.zones.length === offer.zones.length &&
    rival.costMicros === offer.costMicros;
  return !alike || rivalAt < at;
}
