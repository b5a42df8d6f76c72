import { certain } from "../../estimate/index.ts";
import { endCut, type ModelDescription, startCut } from "../../model/index.ts";
import type { EndpointInfo, Offer } from "../endpoint.ts";

/** For how long what a server counted holds, in milliseconds: it is asked for again about as often. */
const holdsMs = 5000;

/** An offer for the whole model that follows from what its runs have taken so far. */
export function toldOffer(
  info: EndpointInfo,
  { name, version, digest, variants }: ModelDescription,
  runMs: number,
  nowMs: number,
): Offer {
  return {
    segment: {
      model: name,
      version,
      digest,
      variant: variants[0]?.name ?? "default",
      from: startCut,
      to: endCut,
    },
    path: [info.id],
    zones: [info.zone],
    trust: info.trust,
    completionMs: certain(runMs, { observedAtMs: nowMs, origin: "told" }),
    queueMs: 0,
    energyMillijoules: info.rates.activeWatts * runMs,
    costMicros: (info.rates.microsPerSecond / 1000) * runMs,
    agreementRatio: 1,
    upTo: { bytes: Infinity },
    codecs: info.codecs,
    expiresAtMs: nowMs + holdsMs,
    origin: "inferred",
  };
}
