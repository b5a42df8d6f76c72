export type { Hash } from "./answer-key.ts";
export { cachedEndpoint, type CacheParts } from "./cached-endpoint.ts";
export { onceEndpoint, type OnceParts } from "./once-endpoint.ts";
