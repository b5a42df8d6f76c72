export { type EndpointTable, endpointTable, type EndpointView, withLoads } from "./endpoint-table.ts";
export {
  type LinkTable,
  linkTable,
  linkTableOf,
  sizeCount,
  type SizePosition,
  sizePosition,
  transferSizes,
} from "./link-table.ts";
export {
  bucketFor,
  type BucketTable,
  bucketWithCut,
  type ModelTable,
  modelTable,
  segmentMs,
  tierBit,
  type VariantTable,
} from "./model-table.ts";
export { addValues, judge, meanPlane, meanReading, type Reading, readingOf, rowValues } from "./planes.ts";
export { type CellTable, type RouteBlock, routeBlocks, type RouteTable, routeTable } from "./route-table.ts";
