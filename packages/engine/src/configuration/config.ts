import type {
  Batching,
  DataClass,
  Datatype,
  InstanceGroup,
  Json,
  ModelPorts,
  PortSpec,
  SequenceState,
} from "@longshore/core";

/** A model's configuration as its operator wrote it. model.yaml and config.pbtxt are both read into this, before completion. */
export interface ModelConfig {
  /** Which file said so; `none` when the folder has neither. */
  readonly file: "model.yaml" | "config.pbtxt" | "none";
  readonly name?: string;
  readonly dataClass?: DataClass;
  readonly trusted: boolean;
  readonly inputs: readonly DeclaredPort[];
  readonly outputs: readonly DeclaredPort[];
  /** Model file inside the version folder. */
  readonly graph: string;
  readonly batching: Batching;
  /** Whether requests of several callers may share a run. */
  readonly joinsRequests: boolean;
  /** The operator wrote that they may not, also where that is safe and pays. */
  readonly forbidsJoining: boolean;
  readonly instances: readonly InstanceConfig[];
  /** Execution providers to try, in this order. Undefined: those of the server. */
  readonly providers?: readonly string[];
  readonly sequence?: SequenceConfig;
  readonly pipeline?: PipelineConfig;
  /** At least one; the first is the default. */
  readonly variants: readonly VariantConfig[];
  readonly versions: VersionPolicy;
  /** Word to the version that it stands for in requests. */
  readonly versionLabels: Readonly<Record<string, string>>;
  /** Runs before a version is served. */
  readonly warmUps: readonly WarmUpConfig[];
  /** Whether it stays in memory when other models need room. */
  readonly keepLoaded: boolean;
  /** The operator says that equal inputs have equal answers. */
  readonly responseCache: boolean;
  /** A request may get any number of answers, also where no step of its own says so. */
  readonly decoupled: boolean;
  /** Names of what was read and has no effect here, for the log. */
  readonly unused: readonly string[];
  /** Fields to show besides those that are served, in the JSON of Triton's `ModelConfig`. */
  readonly written: { readonly [field: string]: Json };
}

/** Loaded copies, on what, and what each of them needs while it runs. */
export interface InstanceConfig extends InstanceGroup {
  readonly kind: "any" | "cpu" | "gpu";
  /** Of resources that models of this endpoint share (Triton's rate limiter). */
  readonly resources: readonly { readonly name: string; readonly count: number }[];
  /** Its turn when resources are short: 1 as often as possible, 2 half as often, ... */
  readonly priority: number;
}

/** One run before a version is served, on each loaded copy. */
export interface WarmUpConfig {
  readonly name: string;
  readonly count: number;
  readonly inputs: readonly WarmUpInput[];
}

/** The content of one warm-up input. */
export interface WarmUpInput {
  readonly input: string;
  readonly datatype: Datatype;
  /** Batch axis included. */
  readonly shape: readonly number[];
  readonly fill: "zeros" | "random" | "file";
  /** In the version's folder or the model's. */
  readonly file?: string;
}

/** An input or output as declared, batch axis included. */
export interface DeclaredPort extends PortSpec {
  /** File with one label a line. */
  readonly labelsFile?: string;
  /** Triton's `reshape`: the shape that the graph itself has for this port. */
  readonly graphShape?: readonly number[];
}

/** How requests of one sequence share state. */
export interface SequenceConfig {
  readonly maxIdleMs: number;
  readonly states: readonly StateConfig[];
  readonly controls: readonly ControlInput[];
  /** Whether a request that belongs to no sequence is refused. */
  readonly required: boolean;
  /** Undefined: all sequences may run at the same time. */
  readonly strategy?: SequenceStrategy;
}

/** A state as declared. */
export interface StateConfig extends SequenceState {
  /** File in the model's `initial_state` folder with what it holds at the beginning; zeros otherwise. */
  readonly initialFile?: string;
}

/**
 * How sequences share runs. With `direct`, each sequence holds a row of an instance's batch. With `oldest`, each instance has
 * this many candidates, and the ones that wait longest are joined first. State lies beside the instances, not in them, so that
 * a sequence is bound to none of them.
 */
export interface SequenceStrategy {
  readonly kind: "direct" | "oldest";
  /** Sequences for each instance. */
  readonly candidates: number;
}

/** An input that the engine fills from the position in the sequence (Triton's control inputs). */
export interface ControlInput {
  readonly input: string;
  readonly kind: "start" | "ready" | "end" | "correlation-id";
  readonly datatype: Datatype;
  /** Values for no and yes; unused for the correlation id, which may be a text (BYTES). */
  readonly noYes: readonly [number, number];
}

/** Steps as written; parameters whose name ends in `File` still name files. */
export interface PipelineConfig {
  /** Requests that may be inside the pipeline at one time; undefined for as many as its memory allows. */
  readonly maxInFlight?: number;
  readonly steps: readonly StepConfig[];
  readonly outputs: Readonly<Record<string, string>>;
}

export interface StepConfig {
  readonly id: string;
  readonly model?: string;
  readonly version?: string;
  readonly transform?: string;
  readonly parameters: Readonly<Record<string, Json>>;
  readonly inputs: Readonly<Record<string, string>>;
  readonly forEach?: string;
  readonly declassifiesTo?: DataClass;
  /** Only other endpoints have the model: its declared inputs and outputs there, or `true` to ask those endpoints for them. */
  readonly elsewhere?: ModelPorts | true;
}

export interface VariantConfig {
  readonly name: string;
  readonly tiers?: readonly ("device" | "edge" | "cloud")[];
  /** Step to the parameters that replace its own. */
  readonly parameters: Readonly<Record<string, Readonly<Record<string, Json>>>>;
  /** Step to another model. */
  readonly models: Readonly<Record<string, string>>;
  /** Another model file. */
  readonly graph?: string;
  readonly agreementRatio?: number;
  readonly accuracyRatio?: number;
  readonly memoryBytes?: number;
}

/** Which version folders are served. */
export type VersionPolicy =
  | { readonly kind: "latest"; readonly count: number }
  /** `lazy`, the default: the newest version is loaded at once, the others at their first request. */
  | { readonly kind: "all"; readonly lazy?: boolean }
  | { readonly kind: "specific"; readonly versions: readonly string[] };

/** The defaults of a configuration. */
export const defaults: {
  readonly graph: string;
  readonly maxIdleMs: number;
  readonly batching: Batching;
  readonly variants: readonly VariantConfig[];
} = {
  graph: "model.onnx",
  maxIdleMs: 60_000,
  batching: { maxBatchSize: 0 },
  variants: [{ name: "default", parameters: {}, models: {} }],
};

/** The configuration of a folder that has none: everything comes from the model file. */
export const bareConfig: ModelConfig = {
  file: "none",
  trusted: true,
  inputs: [],
  outputs: [],
  graph: defaults.graph,
  batching: defaults.batching,
  joinsRequests: false,
  forbidsJoining: false,
  instances: [],
  variants: defaults.variants,
  versions: { kind: "all", lazy: true },
  versionLabels: {},
  warmUps: [],
  keepLoaded: false,
  responseCache: false,
  decoupled: false,
  unused: [],
  written: { version_policy: { all: {} } },
};
