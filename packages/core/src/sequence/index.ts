export * from "./held-sequences.ts";
export * from "./step-line.ts";
export * from "./step-from.ts";
export { sequencePosition } from "./sequence-position.ts";
export * from "./unknown-sequence.ts";
