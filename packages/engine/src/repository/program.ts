import type {
  Batching,
  DataClass,
  InstanceGroup,
  ModelPorts,
  PortSpec,
  Reveals,
  Segment,
  TensorSpec,
} from "@longshore/core";
import type { ChainStep } from "../lane/index.ts";
import type { Artifact } from "../runtime/index.ts";
import type { HeldState } from "../sequence/index.ts";
import type { ControlInput } from "../configuration/index.ts";
import type { ModelSignature } from "./source.ts";

/** Loaded copies, and what each needs of what models of this endpoint share while it runs. */
export interface GraphInstances extends InstanceGroup {
  /** The processor or a GPU; `any` is the first execution provider that takes the model. */
  readonly kind: "any" | "cpu" | "gpu";
  readonly resources: readonly { readonly name: string; readonly count: number }[];
  readonly priority: number;
}

/** A run before a graph is served. */
export interface WarmUp {
  readonly name: string;
  readonly count: number;
  readonly inputs: readonly {
    readonly spec: TensorSpec;
    /** Bytes of a file, or what to make up. */
    readonly content: Uint8Array | "zeros" | "random";
  }[];
}

/** How sequences of a graph are run. */
export interface SequenceRules {
  /** Whether it runs only as part of a sequence. */
  readonly required: boolean;
  /** Sequences that may run at a time, over all instances; undefined: any number. */
  readonly slots?: number;
}

/** One model file with all that is needed to run it. */
export interface GraphBody {
  readonly model: string;
  readonly version: string;
  readonly file: Artifact;
  readonly signature: ModelSignature;
  /** `maxBatchSize` of at most 1 when requests may not share a run. */
  readonly batching: Batching;
  /** Most rows that a run may have once the graph has shown that joining requests is safe and pays; 0: never. */
  readonly joinableRows: number;
  readonly instances: readonly GraphInstances[];
  /** Execution providers to try, in this order. Undefined: those of the runtime. */
  readonly providers?: readonly string[];
  /** Runs before it is served, on each instance. */
  readonly warmUps: readonly WarmUp[];
  /** Stays loaded when other models need room. */
  readonly keepLoaded: boolean;
  /** Resident memory of a loaded instance, in bytes, where the operator says. */
  readonly memoryBytes?: number;
  readonly trusted: boolean;
  /** Inputs and outputs as callers see them, without states and controls. */
  readonly inputs: readonly PortSpec[];
  readonly outputs: readonly PortSpec[];
  readonly states: readonly HeldState[];
  readonly controls: readonly ControlInput[];
  /** Undefined: requests are independent of each other. */
  readonly sequence?: SequenceRules;
  /** Input to the shape that the graph has for it, where a caller's differs (`reshape`). */
  readonly inputShapes: Readonly<Record<string, readonly number[]>>;
  /** Output to the shape that callers see, where the graph's differs. */
  readonly outputShapes: Readonly<Record<string, readonly number[]>>;
}

interface StepBase {
  readonly id: string;
  /** Port to value. */
  readonly inputs: Readonly<Record<string, string>>;
  readonly outputs: readonly { readonly port: string; readonly value: string }[];
  /** Value whose elements the step runs for, one by one; other ragged inputs are taken element by element with it. */
  readonly forEach?: string;
  readonly declassifiesTo?: DataClass;
}

/** Whether its configuration asks for a GPU, for some of its instances at least. */
export function wantsGpu({ instances }: Pick<GraphBody, "instances">): boolean {
  return instances.some(({ kind }) => kind === "gpu");
}

/** A step that is code of ours. The chain step is one object for the life of the program, so that a lane may know it. */
export interface TransformStep extends StepBase {
  readonly kind: "transform";
  readonly chain: ChainStep;
  /** It gives several answers to one request. */
  readonly answers?: true;
}

/** A step that runs one graph. */
export interface ModelStep extends StepBase {
  readonly kind: "model";
  readonly graph: GraphBody;
  /** The key of the model's kept answers, if equal inputs have equal answers (`responseCache`). */
  readonly kept?: Pick<Segment, "digest" | "variant">;
}

/** A step that runs a model that only other endpoints have. Nothing here runs it. */
export interface ElsewhereStep extends StepBase {
  readonly kind: "elsewhere";
  readonly model: string;
  /** Undefined: whichever is newest there. */
  readonly version?: string;
  readonly ports: ModelPorts;
}

export type ProgramStep = TransformStep | ModelStep | ElsewhereStep;

/** The facts of a value before it exists. */
export interface ValueFacts {
  /** Under the value's name; sizes may be -1. */
  readonly spec: TensorSpec;
  /** `input` until a network made it, also through crops and similar transforms; see `program-builder.ts`. */
  readonly reveals: Reveals;
}

/**
 * One variant of one version, ready to run: steps in order, nested pipelines inlined, parameters complete. A bare graph
 * is a program of one step whose values are called as the graph calls its tensors.
 */
export interface Program {
  readonly variant: string;
  readonly bare: boolean;
  readonly inputs: readonly PortSpec[];
  /** Output of the model to the value that it is, in the order of the description. */
  readonly outputs: readonly { readonly name: string; readonly value: string }[];
  readonly steps: readonly ProgramStep[];
  readonly values: ReadonlyMap<string, ValueFacts>;
  /** Requests that may be inside at one time, where the operator says so. */
  readonly maxInFlight?: number;
}

/** The name outside the graph of a tensor of a step's graph. */
export function valueOfTensor(program: Program, step: ModelStep, tensor: string): string {
  const input = step.inputs[tensor];
  if (input !== undefined && Object.hasOwn(step.inputs, tensor)) return input;
  const output = step.outputs.find(({ port }) => port === tensor);
  if (output) return output.value;
  return program.bare ? tensor : `${step.id}:${tensor}`;
}
