export { reachability } from "./reachability.ts";
export { type Checks, createChecks, type Opinion, type AnsweredRequest } from "./checks.ts";
export { type PendingAnswer, confirmed, type NextEndpoint } from "./confirmed.ts";
export { goldenFile, type GoldenInputs, type GoldenPair, goldenText, parseGolden } from "./golden.ts";
export type { CheckOptions } from "./options.ts";
export { readiness } from "./readiness.ts";
export { comparableAnswer } from "./comparable-answer.ts";
export { difference, sameBody, similarBody, type Tolerance, toleranceFor } from "./same-answer.ts";
