/**
 * Words, beliefs, decisions and wire of Longshore: what device, edge, cloud and gateway share. Uses web-platform globals
 * only; clock, randomness, sockets and disk are handed in.
 *
 * @module
 */
export * from "./base/index.ts";
export {
  type CheckOptions,
  difference,
  type GoldenInputs,
  type GoldenPair,
  goldenFile,
  goldenText,
  parseGolden,
  sameBody,
  type Tolerance,
} from "./check/index.ts";
export * from "./codec/index.ts";
export * from "./directory/index.ts";
export * from "./endpoint/index.ts";
export {
  isObjective,
  type Objective,
  type ReadObjective,
  readObjective,
  type Stages,
  type SumTerm,
} from "./goal/index.ts";
export * from "./estimate/index.ts";
export { exactJson, type Parameters, parseFields } from "./json/index.ts";
export * from "./model/index.ts";
export * from "./offload/index.ts";
export * from "./offloader/index.ts";
export { type Battery, type DeviceParts, type RadioState, radioState } from "./places/index.ts";
export * from "./package/index.ts";
export { portsUnlike, stepsAround } from "./parts/index.ts";
export * from "./plan/index.ts";
export * from "./policy/index.ts";
export * from "./rollout/index.ts";
export { unknownSequence } from "./sequence/index.ts";
export * from "./protocol/index.ts";
export {
  bucketFor,
  type BucketTable,
  type CellTable,
  type EndpointTable,
  endpointTable,
  type EndpointView,
  type LinkTable,
  linkTable,
  linkTableOf,
  type ModelTable,
  modelTable,
  type RouteBlock,
  routeBlocks,
  type RouteTable,
  routeTable,
  type VariantTable,
  withLoads,
} from "./table/index.ts";
export * from "./signed/index.ts";
export type { FrameLimits, FrameOutcome } from "./stream/index.ts";
export * from "./tensor/index.ts";
