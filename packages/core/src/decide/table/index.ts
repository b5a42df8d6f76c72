export {
  addSpread,
  copyBelief,
  copyBetween,
  hardlyMore,
  inTimeMs,
  judge,
  meanReading,
  meanValue,
  overdueMs,
  readBelief,
  readBetween,
  type Reading,
  readingOf,
} from "./beliefs.ts";
export {
  copyTail,
  endpointTable,
  type EndpointTable,
  type EndpointView,
  pricesAt,
  serviceRatioAt,
  sharedMsAt,
  waitMsAt,
  withAvailable,
  withFailing,
  withLoads,
  withoutExploration,
} from "./endpoint-table.ts";
export { guessedMs, guessedProfile, inferredOffers, isGuess } from "./inferred.ts";
export {
  linkTable,
  type LinkTable,
  linkTableOf,
  metSize,
  type MetSize,
  sizeCount,
  sizeFraction,
  sizeIndex,
  sizePosition,
  transferSizes,
} from "./link-table.ts";
export {
  addSegment,
  bucketFor,
  type BucketTable,
  bucketWithCut,
  modelTable,
  type ModelTable,
  segmentMeanMs,
  segmentMs,
  tierBit,
  type VariantTable,
} from "./model-table.ts";
export { beliefPool, type BeliefPool, numberPool, type NumberPool } from "./number-pool.ts";
export {
  type CellTable,
  promisedMs,
  type RouteBlock,
  routeBlocks,
  routeTable,
  type RouteTable,
} from "./route-table.ts";
