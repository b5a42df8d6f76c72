export { heldSequences, type HeldSequences, type HeldStep } from "./held-sequences.ts";
export { sequencePosition } from "./sequence-position.ts";
export { stepFrom } from "./step-from.ts";
export { type SequenceStep, StepLine } from "./step-line.ts";
export { unknownSequence, lostSequence } from "./unknown-sequence.ts";
