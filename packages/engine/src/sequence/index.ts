export { type SequenceStore, sequenceStore, type Turn } from "./sequence-store.ts";
export { fingerprint, zeroState } from "./state.ts";
