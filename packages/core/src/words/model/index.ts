export { checkSingle, checkVariant } from "./check-asked.ts";
export { type Cut, type Reveals, rightToRun, type Segment, segmentKey } from "./cut.ts";
export { type Features, featuresWithin } from "./features.ts";
export { collected, eachInputs, portSpecs, stepInputs } from "./for-each.ts";
export {
  type Input,
  type Inputs,
  isSingleInput,
  type NamedInputs,
  singlePort,
  takeInputs,
  takeTensors,
} from "./inputs.ts";
export {
  type Batching,
  type BatchIsolation,
  type Body,
  type CutId,
  type Digest,
  endCut,
  type InstanceGroup,
  type ModelDescription,
  type ModelPorts,
  type PaddedAxis,
  type PaddingBuckets,
  type PortSpec,
  type Priorities,
  type QueuePolicy,
  type SequenceState,
  startCut,
  type Step,
  type Variant,
} from "./model.ts";
export {
  type BucketProfile,
  type CodingProfile,
  type CutProfile,
  isSideTensor,
  type Profile,
  type ProfileMachine,
  referenceOf,
  type ValueRange,
  type VariantProfile,
} from "./profile.ts";
export { needsOthers, type StepModel, stepModels } from "./step-model.ts";
