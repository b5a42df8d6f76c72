export { type AnswerFrame, readAnswerFrames, writeAnswerFrame } from "./answer-frames.ts";
export * from "./call-headers.ts";
export * from "./credentials.ts";
export { digestFrom, exactly, printable, shaped } from "./exactly.ts";
export { type HeadLines, readHeadLines } from "./head-lines.ts";
export * from "./infer-reply.ts";
export * from "./infer-request.ts";
export * from "./knowledge-json.ts";
export { knownHeads, type KnownHeads, knownReplyHeads } from "./known-heads.ts";
export * from "./limits.ts";
export { encodedInSteps, headerLengthOf, type Message } from "./message.ts";
export * from "./names.ts";
export { noHeaders } from "./no-headers.ts";
export * from "./pack.ts";
export * from "./parameters.ts";
export { parseJson } from "./parse-json.ts";
export type { Reader } from "./read-json.ts";
/** Readers for JSON from elsewhere; a namespace, since their names are short. */
export * as read from "./read-json.ts";
export * from "./request-parameters.ts";
export * from "./route.ts";
export { probePath, type RouteEntry, wireRoutes } from "./route-table.ts";
export { maxModels, type ModelFigures, type ServerFigures, serverFigures } from "./server-figures.ts";
export * from "./wire-error.ts";
export {
  checkAwaited,
  checkLeast,
  checkTensorBytes,
  plainTensor,
  type SharedPart,
  sharedPartOf,
  sharedPartParameters,
  type WireTensor,
} from "./wire-tensor.ts";
export { type WrittenHeads, writtenHeads } from "./written-heads.ts";
