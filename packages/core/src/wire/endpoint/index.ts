export { answersOf } from "./answers.ts";
export { isArriving, untilRead } from "./arriving-answer.ts";
export { byOwnNames } from "./by-own-names.ts";
export {
  type ConnectionAdmission,
  createConnectionGuard,
  defaultConnectionLimits,
  sourceOf,
} from "./connection-guard.ts";
export {
  type Accelerator,
  type Account,
  type BatchReport,
  type CostRates,
  type Endpoint,
  type EndpointCapabilities,
  type EndpointInfo,
  type Explanation,
  type IncomingTensor,
  type InferenceRequest,
  type InferenceResponse,
  type LoadReport,
  type ModelKnowledge,
  type MissingEndpoint,
  type ModelListing,
  nextStep,
  type Offer,
  type OfferQuery,
  type Progress,
  type SegmentPattern,
  type SequencePosition,
  type SequenceQuery,
  type SequenceStanding,
  type StageTime,
  type Tier,
  type WireForm,
} from "./endpoint.ts";
export { inferredOffer } from "./inferred-offer.ts";
export { areHere, bytesOfInputs, inputBytes, inputsHere, readInputs, renamedInput } from "./inputs.ts";
export {
  checkRates,
  inMicros,
  mostMicrosOf,
  mostMoveMicros,
  mostPrice,
  moveMicros,
  outMicros,
  pricedOffers,
  ratesOf,
  runMicros,
  type StatedRates,
} from "./price.ts";
export { kindFacts } from "./kind-facts.ts";
export { type EndpointChanges, wrapEndpoint } from "./wrap-endpoint.ts";
