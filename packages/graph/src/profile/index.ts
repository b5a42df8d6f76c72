export { type Agreement, bestClassAgreement, tensorAgreement } from "./agreement.ts";
export type { GraphFinder } from "./choose-cuts.ts";
export {
  halfTolerance,
  roundingTolerance,
  singleTolerance,
  type OutputTolerance,
  toleranceOf,
  toleranceText,
  worstDifference,
} from "./compare.ts";
export { type GraphCosts, graphCosts } from "./graph-costs.ts";
export { guesses, guessInputs } from "./guess-inputs.ts";
export { profileModel, type ProfileNote, type ProfileOptions } from "./profile-model.ts";
export { withSeededWeights } from "./seeded-weights.ts";
export { type CutSketch, promising, sketchCuts, typesFor } from "./sketch.ts";
export type { QualityLadder } from "./quality.ts";
export type { ProfileBucket, ProfileTarget } from "./target.ts";
export {
  artifactOfModel,
  type CutCheck,
  findInputs,
  type SplitCheck,
  splitsRight,
  findRowInputs,
  verifySplit,
} from "./verify-split.ts";
