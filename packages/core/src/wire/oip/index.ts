export { declaredInputs, isForeignDigest, sameSignature } from "./foreign.ts";
export { leastReportedRatio, loadHeaders, readLoadHeaders, soundLoad } from "./load-headers.ts";
export { type LoadSource, metricsLoad, type MetricsPage } from "./load-source.ts";
export { mostMissing, narrowedOffer, offerJson, parseOffers } from "./offer-json.ts";
export { oipClient } from "./oip-client.ts";
export { oipEndpoint } from "./create-oip-endpoint.ts";
export type { OipEndpointParts } from "./parts.ts";
export { readServerTiming } from "./wire.ts";
export { readSequence, sealParameter, splitState, stateTensors } from "./sequence-parameters.ts";
