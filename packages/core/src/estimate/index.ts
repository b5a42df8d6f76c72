export { acknowledgeStep, probeHeadBytes, probeStep, tinyBytes } from "./acknowledge-step.ts";
export { type Arrivals, arrivals } from "./arrivals.ts";
export { type DeviceSpeed, deviceSpeed } from "./device-speed.ts";
export * from "./duration-belief.ts";
export * from "./estimate.ts";
export * from "./guard.ts";
export * from "./hedge-budget.ts";
export { type Lateness, lateness } from "./lateness.ts";
export * from "./link-belief.ts";
export { type LinkHint, type LinkKind } from "./link-hint.ts";
export * from "./link.ts";
export {
  linkModel,
  linkModelDefaults,
  type CompletionTable,
  type LinkModel,
  type LinkModelParameters,
  type OutageKind,
  packetBytes,
} from "./rate-model.ts";
export * from "./radio.ts";
export { type RetryBudget, retryBudget } from "./retry-budget.ts";
export * from "./speed-belief.ts";
export {
  type Bet,
  tries,
  type Tries,
  type TryOutcome,
  type TryPrices,
  tryQuestion,
  type TryStanding,
  type WeighedTry,
  weighTry,
} from "./tries.ts";
