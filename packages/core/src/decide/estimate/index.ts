export { arrivals, type Arrivals } from "./arrivals.ts";
export { deviceSpeed, type DeviceSpeed } from "./device-speed.ts";
export { durationBelief, type DurationBelief } from "./duration-belief.ts";
export { doubtOf, guardMoment, guardPlan } from "./guard.ts";
export { type HedgeBudgetOptions } from "./hedge-budget.ts";
export { lateness, type Lateness } from "./lateness.ts";
export { linkBelief, type LinkBelief, type LinkBeliefOptions } from "./link-belief.ts";
export type { LinkHint, LinkKind } from "./link-hint.ts";
export { bytesMillijoules, exchangeMillijoules, type Radio, radios, radioTimeMillijoules } from "./radio.ts";
export { linkModel, type LinkModel, packetBytes } from "./rate-model.ts";
export { retryBudget, type RetryBudget } from "./retry-budget.ts";
export { type SpeedBelief } from "./speed-belief.ts";
export {
  type Bet,
  tries,
  type Tries,
  type TryPrices,
  tryQuestion,
  type TryStanding,
  weighTry,
} from "./tries.ts";
