export { cutTable, type CutTable, type ListedSets, listSets, specOf } from "./cuts.ts";
export { extractSegment, withOutputs } from "./extract-segment.ts";
export { plainOutputs } from "./plain-outputs.ts";
export { plainSha256 } from "./sha256.ts";
export {
  onnxSource,
  type OnnxSource,
  type OnnxSourceOptions,
  type OpenGraph,
  segmentOf,
  signatureOf,
  weightBytes,
} from "./source.ts";
export { type SplitGraph, splitGraph } from "./split-graph.ts";
