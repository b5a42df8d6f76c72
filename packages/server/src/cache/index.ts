export type { KeyHash } from "./answer-key.ts";
export { answerCache, type AnswerCache, cachedEndpoint } from "./cached-endpoint.ts";
export { onceEndpoint, type OnceParts } from "./once-endpoint.ts";
