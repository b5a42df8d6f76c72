export { checkSeal, type SealKey, sealState } from "./seal.ts";
export { lines, type LinePosition } from "./line.ts";
export { type SequenceRequest, type SequenceStore, sequenceStore } from "./sequence-store.ts";
export { type HeldState, initialState } from "./state.ts";
