export type { ProbeDue } from "./arrivals.ts";
export { deviceDemand, type DeviceDemand } from "./device-demand.ts";
export { type DevicePrice, idleDevice, strained } from "./device-price.ts";
export { deviceSpeed, type DeviceSpeed } from "./device-speed.ts";
export { doubtOf } from "./doubt.ts";
export { durationBelief, type DurationBelief } from "./duration-belief.ts";
export { type BeliefMemory, beliefsFrom, type BeliefState, KeptBeliefs } from "./kept-beliefs.ts";
export { lateness, type Lateness } from "./lateness.ts";
export { linkBelief, type LinkBelief, type LinkBeliefOptions } from "./link-belief.ts";
export type { LinkHint, LinkKind } from "./link-hint.ts";
export { type Loss, lossFor, lossOf, type LossOptions } from "./loss.ts";
export {
  bytesMillijoules,
  drawsNothing,
  exchangeMillijoules,
  type Radio,
  radios,
  radioTimeMillijoules,
} from "./radio.ts";
export { linkModel, type LinkModel, packetBytes } from "./rate-model.ts";
export { retryBudget, type RetryBudget } from "./retry-budget.ts";
export { planSecondRun, type SecondRunPlan, type SecondRunQuestion } from "./second-run.ts";
export { type SpeedBelief } from "./speed-belief.ts";
export { tcpSlowStartMs } from "./tcp-slow-start.ts";
export {
  type Bet,
  isDear,
  secondRunQuestion,
  tries,
  type Tries,
  type TryOptions,
  type TryPrices,
  type WeighedTry,
  weighTry,
} from "./tries.ts";
