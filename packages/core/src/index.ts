/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Words, beliefs, decisions and wire of Longshore: what device, edge, cloud and gateway share. Uses web-platform globals only;
 * clock, randomness, sockets and disk are handed in.
 *
 * This list is what an app, an endpoint, a transport, a codec or a directory of one's own needs. The parts that only packages
 * of this repository use are in `@longshore/core/internal`.
 *
 * @module
 */
export {
  type Call,
  type Clock,
  type Code,
  type DataClass,
  type EndpointId,
  type Json,
  LongshoreError,
  type LongshoreEvent,
  type Observer,
  observers,
  type Random,
  type Reason,
  type ReasonFacts,
  reasons,
  type Rules,
  seededRandom,
  silentObserver,
  type Stage,
  type TenantId,
  type TraceContext,
  type TrustLevel,
  type ZoneId,
} from "./words/base/index.ts";
export {
  bytesElements,
  bytesTensor,
  type Datatype,
  datatypes,
  float32Tensor,
  float32View,
  give,
  numbersOf,
  numericTensor,
  numericView,
  type OutputData,
  type OutputJson,
  type Outputs,
  type OutputTensor,
  type Tensor,
  tensorOf,
  type Tensors,
  tensorsOf,
  type TensorSpec,
  textElements,
  typedView,
  type TypedViews,
} from "./words/tensor/index.ts";
export type { Parameters } from "./words/json/index.ts";
export { type Estimate, estimateOf } from "./words/estimate/index.ts";
export {
  type Batching,
  type BatchIsolation,
  type Body,
  type BucketProfile,
  type CodingProfile,
  type Cut,
  type CutId,
  type CutProfile,
  type Digest,
  endCut,
  type Features,
  type Input,
  type Inputs,
  type InstanceGroup,
  type ModelDescription,
  type ModelPorts,
  type NamedInputs,
  type PaddingBuckets,
  type PortSpec,
  type Priorities,
  type Profile,
  type ProfileMachine,
  type QueuePolicy,
  type Reveals,
  type Segment,
  type SequenceState,
  startCut,
  type Step,
  type ValueRange,
  type Variant,
  type VariantProfile,
} from "./words/model/index.ts";
export {
  type Codec,
  type CodecId,
  type CodecSet,
  codecSet,
  type Compressor,
  type DeflateOptions,
  type Encoded,
  fp16Codec,
  int8ChannelCodec,
  int8ChannelDeflateCodec,
  int8Codec,
  int8DeflateCodec,
  rawCodec,
  uint8Codec,
} from "./words/codec/index.ts";
export { type Credentials, defaultWireLimits, type WireLimits } from "./wire/protocol/index.ts";
export { type BodyOptions, emptyBody, readBody, type WireBody } from "./wire/body/index.ts";
export {
  type Handler,
  type Link,
  type LinkLearner,
  type Peer,
  type Surface,
  type Transport,
  type WireRequest,
  type WireResponse,
} from "./wire/transport/index.ts";
export type {
  Accelerator,
  Account,
  BatchReport,
  CostRates,
  Endpoint,
  EndpointCapabilities,
  EndpointInfo,
  IncomingTensor,
  InferenceRequest,
  InferenceResponse,
  LoadReport,
  ModelKnowledge,
  ModelListing,
  Offer,
  OfferQuery,
  Progress,
  SegmentPattern,
  SequencePosition,
  StageTime,
  Tier,
  WireForm,
} from "./wire/endpoint/index.ts";
export { oipEndpoint, type OipEndpointParts } from "./wire/oip/index.ts";
export type { KeyRing, Signature, Signed } from "./fleet/signed/index.ts";
export {
  createDirectory,
  type Directory,
  type DirectoryEntry,
  type DirectoryMemory,
  type DirectoryParts,
  type DirectoryRecord,
  type DirectorySnapshot,
  type KeptDirectory,
  type MemorySource,
  memorySource,
  type RecordSink,
  type RecordSource,
  type Statement,
} from "./fleet/directory/index.ts";
export {
  type Bet,
  type LinkBelief,
  linkBelief,
  type LinkModel,
  linkModel,
  type Loss,
  type LossOptions,
  type Radio,
  type TryOptions,
} from "./decide/estimate/index.ts";
export type { Objective, Only, SumTerm } from "./decide/goal/index.ts";
export {
  type DataClassRule,
  type Policy,
  type PolicyFacts,
  standardPolicy,
  tablePolicy,
} from "./decide/policy/index.ts";
export {
  type DirectoryAge,
  type FilterName,
  type Infeasible,
  isInfeasible,
  type Leg,
  type LegId,
  type LostCandidate,
  type Plan,
  type Predicted,
  type Travels,
  type Trigger,
} from "./decide/plan/index.ts";
export type { Battery, DeviceParts } from "./offload/endpoints/index.ts";
export type { CheckOptions, GoldenInputs, GoldenPair, Tolerance } from "./offload/check/index.ts";
export type { UpkeepOptions } from "./offload/knowledge/index.ts";
export type { FrameLimits, FrameOutcome } from "./offload/frames/index.ts";
export type {
  Answer,
  Availability,
  FrameResult,
  Limits,
  Offloader,
  ProgressNote,
  Result,
  Sequence,
  StepLimits,
  StreamLimits,
} from "./offload/offloader/index.ts";
export type { OffloadDefaults, OffloadParts } from "./offload/race/index.ts";
export {
  createOffloader,
  type OffloadEndpoint,
  offloadEndpoint,
  type OffloadEndpointParts,
} from "./offload/face/index.ts";
