export {
  addSpread,
  copyBelief,
  copyBetween,
  judge,
  meanReading,
  meanValue,
  overdueMs,
  readBelief,
  readBetween,
  type Reading,
  hardlyMore,
  inTimeMs,
  readingOf,
} from "./beliefs.ts";
export {
  type EndpointTable,
  endpointTable,
  type EndpointView,
  copyTail,
  emptyMs,
  extraRunPriceAt,
  pricesAt,
  serviceRatioAt,
  sharedMsAt,
  waitMsAt,
  withAvailable,
  withFailing,
  withLoads,
} from "./endpoint-table.ts";
export {
  type LinkTable,
  linkTable,
  linkTableOf,
  sizeCount,
  sizeFraction,
  sizeIndex,
  metSize,
  type MetSize,
  sizePosition,
  transferSizes,
} from "./link-table.ts";
export {
  bucketFor,
  type BucketTable,
  bucketWithCut,
  type ModelTable,
  modelTable,
  addSegment,
  segmentMeanMs,
  segmentMs,
  tierBit,
  type VariantTable,
} from "./model-table.ts";
export { guessedProfile, inferredOffers } from "./inferred.ts";
export { type BeliefRoom, beliefRoom, type NumberRoom, numberRoom } from "./number-room.ts";
export {
  type CellTable,
  promisedMs,
  type RouteBlock,
  routeBlocks,
  type RouteTable,
  routeTable,
} from "./route-table.ts";
