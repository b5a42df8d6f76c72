export {
  type Reply,
  type SequenceLimits,
  type SequenceRequest,
  type SequenceStore,
  sequenceStore,
  type Turn,
} from "./sequence-store.ts";
export { copied, fingerprint, zeroState } from "./state.ts";
