export { DeferredWork } from "./deferred-work.ts";
export {
  type Call,
  childCall,
  type DataClass,
  demandedRank,
  type EndpointId,
  housekeepingCall,
  isTrustLevel,
  leastTrust,
  narrowerRules,
  ownCall,
  type OwnCall,
  type Rules,
  SpareControllers,
  type TenantId,
  type TraceContext,
  type TrustLevel,
  trustLevels,
  trustRank,
  type ZoneId,
  zoneWithin,
} from "./call.ts";
export { Chain, type Chained } from "./chain.ts";
export { type Clock, sleep } from "./clock.ts";
export {
  atDeadline,
  checkCall,
  checkFresh,
  type EndingCall,
  pastDeadline,
  untilDeadline,
  untilEnded,
  withTime,
} from "./deadline.ts";
export { dropOldest } from "./drop-oldest.ts";
export { abortError, deadlinePassed, LongshoreError, type Stage } from "./error.ts";
export { type Late, type LongshoreEvent, type Observer, observers, silentObserver } from "./events.ts";
export { connectionWords } from "./connection-words.ts";
export { type Failed, failureEvent } from "./failure-event.ts";
export { fanOut } from "./fan-out.ts";
export type { Json } from "./json.ts";
export { type Sample, samplesOf } from "./metrics-text.ts";
export { Once } from "./once.ts";
export { PassingMap } from "./passing-map.ts";
export {
  exponential,
  gaussian,
  newSpanId,
  newTraceId,
  type Random,
  randomId,
  seededRandom,
} from "./random.ts";
export { type Code, isReason, type Reason, type ReasonFacts, reasons } from "./reasons.ts";
export { allSteps, copiedAtOnce, inSteps, steppedCopy, turnWhileWanted } from "./steps.ts";
export { UnderWay } from "./under-way.ts";
export { untilAborted, waitAtMost } from "./until-aborted.ts";
export { neverAborted, whenAborted } from "./when-aborted.ts";
export type { Writable } from "./writable.ts";
