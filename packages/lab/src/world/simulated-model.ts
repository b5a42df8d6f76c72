import type { Features, InferenceRequest, ModelDescription, Profile, Tensors } from "@longshore/core";

/** A model that a simulated endpoint serves. */
export interface SimulatedModel {
  readonly description: ModelDescription;
  readonly profile: Profile;
  /** The computed answer; default: blank tensors of the right shapes. */
  readonly compute?: (request: InferenceRequest) => Tensors | Promise<Tensors>;
  /** Features of a request's input, for the profile's buckets; default: its bytes. */
  readonly featuresOf?: (request: InferenceRequest) => Features;
  /** Of a pipeline, in order, for endpoints that work them one by one; default: it runs whole. */
  readonly steps?: readonly StepTime[];
}

/** A step of a pipeline, as measured in an undisturbed run of the whole. */
export interface StepTime {
  /** As cuts after it (`detect`) and inside it (`detect.c4`) name it. */
  readonly id: string;
  /** The graph that it runs; undefined for a transform. */
  readonly graph: string | undefined;
  readonly tookMs: number;
  /** Elements that it runs for, one by one; 1 for any other. */
  readonly runs: number;
  /** Of those, how many are worked on together (see `StepWork`). */
  readonly together?: number;
}
