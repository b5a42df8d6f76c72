import type { TensorSpec } from "../tensor/index.ts";
import { type CutId, type Digest, endCut, startCut } from "./model.ts";

/** The data that the crossing tensors of a cut reveal. Features can be inverted: for rules they count like the input. */
export type Reveals = "input" | "features" | "answer";

/**
 * A legal point to stop. `start` and `end` are cuts, a cut between pipeline steps is called by the step it follows, and
 * a cut inside a step's graph `<step>.c<n>` (in a bare graph `c<n>`).
 */
export interface Cut {
  readonly id: CutId;
  /** Tensors alive there; a tensor that is used several times crosses once. */
  readonly crossing: readonly TensorSpec[];
  readonly reveals: Reveals;
}

/** The part of a model between two cuts, so that whole, head, tail and middle are one type. */
export interface Segment {
  readonly model: string;
  readonly version: string;
  readonly digest: Digest;
  readonly variant: string;
  readonly from: CutId;
  readonly to: CutId;
}

/** The right that the sender of a segment must have: a part of a model needs another right than the whole. */
export function rightToRun(from: CutId, to: CutId): "infer" | "segment:infer" {
  return from === startCut && to === endCut ? "infer" : "segment:infer";
}

/** A text for a segment, stable enough for keys and messages: `ocr/1/640:start..end`. */
export function segmentKey(segment: Segment): string {
  return `${segment.model}/${segment.version}/${segment.variant}:${segment.from}..${segment.to}`;
}
