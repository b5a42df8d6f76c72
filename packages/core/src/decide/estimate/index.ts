export { arrivals, type Arrivals } from "./arrivals.ts";
export { deviceSpeed, type DeviceSpeed } from "./device-speed.ts";
export { durationBelief, type DurationBelief, type DurationBeliefOptions } from "./duration-belief.ts";
export {
  doubtOf,
  type GuardAnswer,
  guardedTry,
  type GuardedTry,
  guardMoment,
  guardPlan,
  type GuardQuestion,
  nextHereRatio,
  type NextRequest,
  type TryFacts,
} from "./guard.ts";
export { hedgeBudget, type HedgeBudget, type HedgeBudgetOptions } from "./hedge-budget.ts";
export { lateness, type Lateness } from "./lateness.ts";
export { linkBelief, type LinkBelief, type LinkBeliefOptions } from "./link-belief.ts";
export type { LinkHint, LinkKind } from "./link-hint.ts";
export { bytesMillijoules, exchangeMillijoules, type Radio, radios, radioTimeMillijoules } from "./radio.ts";
export {
  type CompletionTable,
  linkModel,
  type LinkModel,
  linkModelDefaults,
  type LinkModelParameters,
  type OutageKind,
  packetBytes,
} from "./rate-model.ts";
export { retryBudget, type RetryBudget } from "./retry-budget.ts";
export { speedBelief, type SpeedBelief, type SpeedBeliefOptions } from "./speed-belief.ts";
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
