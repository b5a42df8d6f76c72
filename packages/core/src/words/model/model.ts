import type { DataClass, Json } from "../base/index.ts";
import type { TensorSpec } from "../tensor/index.ts";

/** `sha256:` and 64 hexadecimal digits, over what a version consists of. Equal digests, equal answers. */
export type Digest = string;

/** A short safe name (`[a-z0-9._-]`, at most 64) of a legal point to stop. Tensor names never appear in it. */
export type CutId = string;

/** The cut before anything ran (the app's bytes) and the cut after everything (the answer). */
export const startCut = "start";
export const endCut = "end";

/** An input or output of a model, with the facts that people and media codecs need about it. */
export interface PortSpec extends TensorSpec {
  /** The meaning of BYTES (or samples), so that inputs can be checked, converted and coded. */
  readonly media?: "image" | "audio" | "text";
  /** For an output of unknown rank: `shape` is [] and says nothing. Absent: with [] it is a scalar. */
  readonly openRank?: boolean;
  /** A request may leave out this input, or an answer this output. Default false. */
  readonly optional?: boolean;
}

/** The inputs and outputs of a model, under its own names. */
export interface ModelPorts {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** It may give several answers to a request. Default false. */
  readonly decoupled?: boolean;
}

/** One step of a pipeline: a transform, or a model, run once or once for each element of `forEach`. */
export interface Step {
  /** `[a-z0-9-]`, unique in its pipeline. */
  readonly id: string;
  readonly run:
    | {
        readonly model: string;
        readonly version?: string;
        /** No endpoint that has the pipeline has this model as a part of it: another one runs it, under its own name. */
        readonly elsewhere?: ModelPorts;
      }
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

/** The content of a version: one ONNX graph, or steps. */
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
  /** Task accuracy against known answers, 0..1; undefined if it was not measured. */
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

/**
 * Which requests may share a run: none (`exclusive`), those of one tenant (`tenant`), or all (`shared`). Beside others a row
 * can tell of them - dynamic quantisation takes its scale from the whole batch - so `shared` holds only for a graph that has
 * passed the test of batch invariance, and is `tenant` for any other.
 */
export type BatchIsolation = "exclusive" | "tenant" | "shared";

/** The treatment of a request that waits (Triton's `ModelQueuePolicy`). */
export interface QueuePolicy {
  /** After its time in the queue: refused (`evicted`), or served after all that are still in time. */
  readonly timeoutAction: "reject" | "delay";
  /** The longest wait, in milliseconds; 0 for any. */
  readonly timeoutMs: number;
  /** Whether a request may set a shorter wait. */
  readonly mayShorten: boolean;
  /** Requests of this class that may wait; 0 for as many as the endpoint takes. */
  readonly maxQueued: number;
}

/** Classes of urgency inside one tenant's requests: 1 is served first, `levels` last (Triton's `priority_levels`). */
export interface Priorities {
  readonly levels: number;
  /** Class of a request that names none, or one that there is not. */
  readonly defaultLevel: number;
  /** Policies by class, where they differ from the default. */
  readonly policies: Readonly<Record<number, QueuePolicy>>;
}

/** One axis that varies, in several tensors alike (the tokens of ids and mask), and the sizes that it is padded up to. */
export interface PaddedAxis {
  /** Rising. A larger size runs as it is. */
  readonly sizes: readonly number[];
  /** Input to its axis; not the first, which is the batch's. */
  readonly inputs: Readonly<Record<string, number>>;
  /** Output to the axis that has the same size, and is cut back to it. */
  readonly outputs: Readonly<Record<string, number>>;
  /** The value that pads numbers. */
  readonly fill: number;
}

/** Shapes that a graph is run with: few, so that runtimes that prepare for each need not do so often. */
export interface PaddingBuckets {
  /** Sizes of a batch, rising; the first row is repeated up to the next. */
  readonly rows?: readonly number[];
  readonly axes: readonly PaddedAxis[];
}

/**
 * How requests may share a run. Batch size and waiting are learned from measured times; the settings here narrow what may be
 * learned.
 */
export interface Batching {
  /** 0: the graph has no batch axis and requests never share a run. */
  readonly maxBatchSize: number;
  /** Sizes that a wait for company aims at. */
  readonly preferredSizes?: readonly number[];
  /** The longest wait for company, in milliseconds; undefined: learned. */
  readonly maxQueueDelayMs?: number;
  /** Answers leave in the order in which requests came. Default false. */
  readonly preserveOrdering?: boolean;
  readonly priorities?: Priorities;
  readonly queue?: QueuePolicy;
  /** Default `tenant`. */
  readonly isolation?: BatchIsolation;
  readonly buckets?: PaddingBuckets;
}

/** How many loaded copies, on what. */
export interface InstanceGroup {
  readonly count: number;
  /** Runtime name, such as `onnxruntime` or `onnxruntime-web`; undefined takes the endpoint's default. */
  readonly runtime?: string;
}

/** A version of a model as an endpoint knows it: everything of model.yaml or config.pbtxt, completed from the files. */
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
  /** A request may get any number of answers, so callers use `inferStream`. Default false. */
  readonly decoupled?: boolean;
  /** The operator says that equal inputs have equal answers, so that answers may be kept. Default false. */
  readonly responseCache?: boolean;
  /** Class of the inputs unless the caller names a stricter one. */
  readonly dataClass?: DataClass;
  /** Labels by output name. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  /** Users bring any ONNX; only what the operator vouches for runs outside a sandbox. */
  readonly trusted: boolean;
}
