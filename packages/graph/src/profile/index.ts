export { halfTolerance, singleTolerance, type Tolerance, worstDifference } from "./compare.ts";
export { guesses, guessInputs } from "./guess-inputs.ts";
export { withSeededWeights } from "./seeded-weights.ts";
export { type CutSketch, promising, sketchCuts, typesFor } from "./sketch.ts";
export { artifactOfModel, type CutCheck, findInputs, type SplitCheck, verifySplit } from "./verify-split.ts";
