export * from "./runtime.ts";
export { providersInOrder, onnxProviders, onProcessor, providerName } from "./providers.ts";
export { padAxes } from "./padding.ts";
export {
  batchKey,
  followRows,
  joinFeeds,
  paddedRows,
  rowBytesOf,
  rowsOf,
  rowsOut,
  rowsOutNow,
  runJoined,
  splitOutputs,
} from "./batch.ts";
