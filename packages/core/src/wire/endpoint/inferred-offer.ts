import { type Estimate, meanOf } from "../../words/estimate/index.ts";
import type { Segment } from "../../words/model/index.ts";
import type { EndpointInfo, Offer } from "./endpoint.ts";
import { runMicros } from "./price.ts";

/** For how long it holds, in milliseconds: offers are refreshed about as often. */
const holdsMs = 5000;

/**
 * Power of a run at a server of our own that has not told its energy yet, in watts: what such a server assumes itself where nothing is
 * measured. Of other servers nothing is assumed.
 */
const assumedWatts = 6;

/** An offer of an endpoint that promises none itself, for a segment that is believed to run so long there. */
export function inferredOffer(info: EndpointInfo, segment: Segment, tookMs: Estimate, nowMs: number): Offer {
  const runMs = meanOf(tookMs);
  const { activeWatts } = info.rates;
  const millijoules = runMs * (activeWatts === 0 && info.offers ? assumedWatts : activeWatts);
  return {
    segment,
    path: [info.id],
    zones: [info.zone],
    trust: info.trust,
    completionMs: tookMs,
    queueMs: 0,
    energyMillijoules: millijoules,
    costMicros: runMicros(info.rates, runMs, millijoules),
    agreementRatio: 1,
    upTo: { bytes: Infinity },
    codecs: info.codecs,
    expiresAtMs: nowMs + holdsMs,
    origin: "inferred",
  };
}
