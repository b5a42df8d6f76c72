import type {
  Call,
  Cut,
  Features,
  InferenceRequest,
  InferenceResponse,
  ModelKnowledge,
  Tensors,
} from "@longshore/core";

/** The target of a profile: the engine here, or any endpoint that runs segments and lists cuts. */
export interface ProfileTarget {
  describe(model: string, version: string | undefined, call: Call): Promise<ModelKnowledge | undefined>;
  /** All legal cuts, `start` and `end` included, in topological order. */
  cuts(model: string, version: string, variant: string, call: Call): Promise<readonly Cut[]>;
  infer(request: InferenceRequest, call: Call): Promise<InferenceResponse>;
}

/** Inputs of about one size. */
export interface ProfileBucket {
  /** The bucket reaches up to these features. */
  readonly upTo: Features;
  /** Features of a typical sample. */
  readonly typical: Features;
  /** Real inputs, at least one; all are run in every round. A few suffice for times, more make agreement firmer. */
  readonly samples: readonly Tensors[];
}

/** The names of the segments of one profile: the model version and one of its variants. */
export interface ProfiledVariant {
  readonly model: string;
  readonly version: string;
  readonly digest: string;
  readonly variant: string;
}
