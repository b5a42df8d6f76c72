export { envelopeBytes } from "./options.ts";
export { makePlan } from "./make-plan.ts";
export * from "./plan.ts";
export * from "./policy.ts";
export * from "./request.ts";
export * from "./table/endpoint-table.ts";
export { type LinkTable, linkTable, linkTableOf } from "./table/link-table.ts";
export {
  bucketFor,
  type BucketTable,
  type ModelTable,
  modelTable,
  type VariantTable,
} from "./table/model-table.ts";
export {
  type CellTable,
  type RouteBlock,
  routeBlocks,
  type RouteTable,
  routeTable,
} from "./table/route-table.ts";
export * from "./view.ts";
