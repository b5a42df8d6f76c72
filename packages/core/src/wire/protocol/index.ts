export { readAnswerFrames, writeAnswerFrame } from "./answer-frames.ts";
export { callFromHeaders, callHeaders, traceFromHeaders, traceHeaders } from "./call-headers.ts";
export {
  bodyCheck,
  type BodyCheck,
  checksumAfter,
  checksumDamage,
  checksumHeader,
  checksumText,
  type Crc32,
  crc32Of,
  createTableCrc32,
  noChecksum,
} from "./checksum.ts";
export { checkCredentialTarget, credentialHeaders, type Credentials } from "./credentials.ts";
export { digestFrom, exactly, printable, shaped } from "./exactly.ts";
export { type HeadLines, readHeadLines } from "./head-lines.ts";
export {
  readInferReplyHead,
  readInferReplyInSteps,
  writeInferReply,
  writeInferReplyInSteps,
} from "./infer-reply.ts";
export { type InferReplyMessage } from "./infer-messages.ts";
export {
  eachOnce,
  readInferHeadInSteps,
  readInferRequest,
  readInferRequestInSteps,
  writeInferRequest,
} from "./infer-request.ts";
export { type InferRequestMessage, type RequestedOutput } from "./infer-messages.ts";
export { cutFrom, parseDescription, parseProfile, readFeatures, tensorSpecFrom } from "./knowledge-json.ts";
export { knownHeads, type KnownHeads, knownReplyHeads } from "./known-heads.ts";
export { defaultWireLimits, type WireLimits } from "./limits.ts";
export { encodedInSteps, headerLengthOf } from "./message.ts";
export {
  accountHeader,
  accountParameter,
  becauseParameter,
  acknowledgedHeader,
  acknowledgeHeader,
  agreementHeader,
  answersHeader,
  answersType,
  binaryOutputsParameter,
  binaryType,
  digestHeader,
  headerLengthHeader,
  idempotencyHeader,
  jsonType,
  loadHeader,
  orcaFormatHeader,
  orcaHeader,
  rightsHeader,
  rowsSuffix,
  statePrefix,
  tenantHeader,
  tookHeader,
} from "./names.ts";
export { noHeaders } from "./no-headers.ts";
export { packTensors, unpackTensors } from "./pack.ts";
export { flagParameter, wholeParameter, withoutParameters } from "./parameters.ts";
export { parseJson } from "./parse-json.ts";
export * as read from "./read-json.ts";
export type { Reader } from "./read-json.ts";
export {
  customParameters,
  isCustomParameter,
  emptyFinalParameter,
  scheduledCall,
  scheduleParameters,
} from "./request-parameters.ts";
export { probePath, type RouteEntry, wireRoutes } from "./route-table.ts";
export { allowedMethods, maxProbeBytes, modelPath, parseRoute, pathPattern, segmentPath } from "./route.ts";
export { type ModelAddress, type Route } from "./route-table.ts";
export { maxModels, type ModelFigures, serverFigures, type ServerFigures } from "./server-figures.ts";
export { readWireError, internalErrorText, withoutAddresses, writeWireError } from "./wire-error.ts";
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
export { writtenHeads, type WrittenHeads } from "./written-heads.ts";
