import type { Call, Clock, DataClass, ModelPorts, Observer } from "@longshore/core";
import type { TransformSet } from "../transform/index.ts";
import type { Hash } from "./files.ts";
import type { ModelSource, ModelStore } from "./source.ts";

/** The parts of a repository. */
export interface RepositoryParts {
  readonly store: ModelStore;
  readonly source: ModelSource;
  readonly transforms: TransformSet;
  readonly sha256: Hash;
  readonly clock: Clock;
  /** Receives an event for each ignored folder. Default: none. */
  readonly observer?: Observer;
  /** Instances of a model that does not say. Default 1. */
  readonly defaultInstances?: number;
  /** Whether copies that want a GPU may have a processor instead. Default false. */
  readonly gpuFallback?: boolean;
  /** Execution providers of the runtimes here that use an accelerator. Default: none. */
  readonly accelerators?: readonly string[];
  /** The data classes that this endpoint's policy names: a step that declassifies to another one is refused. Default: any. */
  readonly classes?: () => readonly DataClass[] | undefined;
  /** Every execution provider that the runtimes here may have; other names are refused. Default: any name may be one. */
  readonly knownProviders?: readonly string[];
  /** The execution provider that is tried first for a model whose configuration lists these. Default: the processor. */
  readonly firstProvider?: (listed: readonly string[] | undefined) => string | undefined;
  /** Rows in one run of a model that says nothing of batches and whose inputs and outputs have an axis for them. Default 0. */
  readonly defaultMaxBatchSize?: number;
  /**
   * Inputs and outputs of a model as other endpoints describe them; undefined where none has it. Default: no endpoint is queried.
   */
  readonly elsewhere?: (
    model: string,
    version: string | undefined,
    call: Call,
  ) => Promise<ModelPorts | undefined>;
}
