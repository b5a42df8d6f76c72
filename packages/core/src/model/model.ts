import type { DataClass, Json } from "../base/index.ts";
import type { TensorSpec } from "../tensor/index.ts";

/** `sha256:` and 64 hexadecimal digits, over what a version consists of. Equal digests, equal answers. */
export type Digest = string;

/** A short safe name (`[a-z0-9._-]`, at most 64) of a legal place to stop. Tensor names never appear in it. */
export type CutId = string;

/** The cut before anything ran (the app's bytes) and the cut after everything (the answer). */
export const startCut = "start";
export const endCut = "end";

/** A tensor at the door of a model, with what people and media codecs need to know about it. */
export interface PortSpec extends TensorSpec {
  /** What BYTES (or samples) mean, so that inputs can be checked, converted and coded. */
  readonly media?: "image" | "audio" | "text";
}

/** One step of a pipeline: a transform, or a model, run once or once for each element of `forEach`. */
export interface Step {
  /** `[a-z0-9-]`, unique in its pipeline. */
  readonly id: string;
  readonly run:
    | { readonly model: string; readonly version?: string }
    | { readonly transform: string; readonly parameters: Json };
  /** Port of the step to where its value comes from: `<step>.<output>` or the name of a pipeline input. */
  readonly inputs: Readonly<Record<string, string>>;
  /**
   * A ragged (or batched) value: the step runs once for each of its elements. Other inputs that are ragged were collected over
   * the same elements and are taken apart with it; all others go to each run whole.
   */
  readonly forEach?: string;
  /** The operator approved that what leaves this step no longer reveals its input: it carries this class instead. */
  readonly declassifiesTo?: DataClass;
}

/** What a version consists of: one ONNX graph, or steps. */
export type Body =
  | { readonly kind: "graph"; readonly file: string }
  | {
      readonly kind: "pipeline";
      /** In topological order. */
      readonly steps: readonly Step[];
      /** Output name of the pipeline to the value that it is. */
      readonly outputs: Readonly<Record<string, string>>;
    };

/** Another body, or other parameters, of one version. */
export interface Variant {
  readonly name: string;
  readonly body: Body;
  /** Task accuracy against known answers, 0..1; undefined when nobody measured it. */
  readonly accuracyRatio?: number;
  /** Agreement of its answers with the default variant's, 0..1; the default variant has 1. */
  readonly agreementRatio: number;
  /** Tiers that may hold it; undefined means any. */
  readonly tiers?: readonly ("device" | "edge" | "cloud")[];
  /** Resident memory of a loaded instance, in bytes, when known. */
  readonly memoryBytes?: number;
}

/** State that a model carries from one request of a sequence to the next. */
export interface SequenceState {
  /** Input of the graph that takes the state, output that gives the next one, and the shape at the beginning. */
  readonly input: string;
  readonly output: string;
  readonly datatype: TensorSpec["datatype"];
  readonly shape: readonly number[];
}

/** How requests may share a run. */
export interface Batching {
  /** 0: the graph has no batch axis and requests never share a run. */
  readonly maxBatchSize: number;
  readonly preferredSizes?: readonly number[];
  readonly maxQueueDelayMs?: number;
}

/** How many loaded copies, on what. */
export interface InstanceGroup {
  readonly count: number;
  /** Runtime name, such as `onnxruntime` or `onnxruntime-web`; undefined takes the place's default. */
  readonly runtime?: string;
}

/** A version of a model as a place knows it: everything of model.yaml or config.pbtxt, completed from the files. */
export interface ModelDescription {
  readonly name: string;
  readonly version: string;
  readonly digest: Digest;
  readonly inputs: readonly PortSpec[];
  readonly outputs: readonly PortSpec[];
  /** The first is the default. */
  readonly variants: readonly Variant[];
  readonly batching: Batching;
  readonly instances: readonly InstanceGroup[];
  readonly sequence?: { readonly states: readonly SequenceState[]; readonly maxIdleMs: number };
  /** Class of the inputs unless the caller names a stricter one. */
  readonly dataClass?: DataClass;
  /** Labels by output name. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  /** Users bring any ONNX; only what the operator vouches for runs outside a sandbox. */
  readonly trusted: boolean;
}
