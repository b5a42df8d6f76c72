import { leastTrust } from "../../words/base/index.ts";
import { type Estimate, estimateSize } from "../../words/estimate/index.ts";
import { read, readFeatures, type Reader } from "../protocol/index.ts";
import type { EndpointInfo, MissingEndpoint, Offer } from "../endpoint/index.ts";
import { readSegment } from "./account-json.ts";

const { fields, list, readNumber, optional, readText, readWord } = read;

/**
 * Offers as they travel. Instants become durations, since clocks differ: `expiresInMs`, and the age of the figures. An
 * estimate is its 16 values.
 */
interface OfferJson {
  readonly segment: Offer["segment"];
  readonly path: readonly string[];
  readonly zones: readonly string[];
  readonly trust: Offer["trust"];
  readonly completionMs: readonly number[];
  readonly ageMs: number;
  readonly queueMs: number;
  readonly loadMs?: number;
  readonly energyMillijoules: number;
  readonly costMicros: number;
  readonly mostMicros?: number;
  readonly unpriced?: boolean;
  readonly agreementRatio: number;
  readonly accuracyRatio?: number;
  readonly upTo: Offer["upTo"];
  readonly codecs: readonly string[];
  readonly expiresInMs: number;
  readonly origin: Offer["origin"];
}

/** The longest that any offer is believed, whatever its own expiry. */
const maxExpiryMs = 600_000;

/** The most missing endpoints that a reply names: they differ in zones or trust, and a fleet has few of these. */
export const mostMissing = 64;

const name = readText(512);
const positive = readNumber(0);

const estimate: Reader<readonly number[]> = (value, where) => {
  const values = list(positive, estimateSize)(value, where);
  if (values.length !== estimateSize || values.some((item, index) => item < (values[index - 1] ?? 0))) {
    read.refuseField(where, `${estimateSize} numbers in ascending order`);
  }
  return values;
};

const offeredZones = list(name, 64);
const offeredTrust = readWord("none", "listed", "operated", "vouched");

const offer: Reader<OfferJson> = fields({
  segment: readSegment,
  path: list(name, 16),
  zones: offeredZones,
  trust: offeredTrust,
  completionMs: estimate,
  ageMs: positive,
  queueMs: positive,
  loadMs: optional(positive),
  energyMillijoules: positive,
  costMicros: positive,
  mostMicros: optional(positive),
  unpriced: optional(read.readFlag),
  agreementRatio: readNumber(0, 1),
  accuracyRatio: optional(readNumber(0, 1)),
  upTo: readFeatures,
  codecs: list(name, 64),
  expiresInMs: positive,
  origin: readWord("promised", "inferred"),
});

/** An offer as JSON value, for the moment `nowMs` on the sender's clock. */
export function offerJson(from: Offer, nowMs: number): OfferJson {
  const { completionMs, expiresAtMs, ownName: _here, ...rest } = from;
  const age = nowMs - completionMs.observedAtMs;
  return {
    ...rest,
    completionMs: [...completionMs.values],
    // A belief without an observation, or without a clock, is as old as an offer can be.
    ageMs: Number.isFinite(age) ? Math.max(0, age) : maxExpiryMs,
    expiresInMs: Math.min(maxExpiryMs, Math.max(0, expiresAtMs - nowMs)),
  };
}

/** Reads the offers that a server sent. Throws `invalid-input` naming the field. */
export function parseOffers(value: unknown, nowMs: number): readonly Offer[] {
  return list(offer, 1024)(value, "offers").map(({ ageMs, expiresInMs, completionMs, unpriced, ...rest }) => {
    const told: Estimate = {
      values: Float64Array.from(completionMs),
      observedAtMs: nowMs - ageMs,
      origin: "told",
    };
    const expiresAtMs = nowMs + Math.min(maxExpiryMs, expiresInMs);
    return { ...rest, ...(unpriced === true ? { unpriced } : {}), completionMs: told, expiresAtMs };
  });
}

const missing: Reader<MissingEndpoint> = fields({ zones: offeredZones, trust: offeredTrust });

/** Reads the endpoints that the offers of a server lack for now; none if it states none. Throws `invalid-input` naming the field. */
export function parseMissing(value: unknown, info: EndpointInfo): readonly MissingEndpoint[] {
  if (value === undefined) return [];
  return list(missing, mostMissing)(value, "missing").map(({ zones, trust }) => ({
    zones: [...new Set([info.zone, ...zones])],
    trust: leastTrust(info.trust, trust),
  }));
}

/**
 * An offer as the requester may believe it. The directory says where a server is and how far it is trusted; the server's own
 * statements can only narrow that. The path begins with the name by which the requester knows the server; the other one is
 * kept.
 */
export function narrowedOffer(told: Offer, info: EndpointInfo): Offer {
  const [ownName = info.id, ...further] = told.path;
  return {
    ...told,
    path: [info.id, ...further],
    ...(ownName === info.id ? {} : { ownName }),
    zones: [...new Set([info.zone, ...told.zones])],
    trust: leastTrust(info.trust, told.trust),
  };
}
