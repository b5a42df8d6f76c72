import type {
  Call,
  Clock,
  EndpointInfo,
  InferenceRequest,
  InferenceResponse,
  Observer,
  Random,
  TenantId,
  DataClass,
} from "@longshore/core";
import type { ModelSource, ModelStore, RepositoryParts } from "../repository/index.ts";
import type { BatchVerdicts } from "../schedule/index.ts";
import type { SealKey } from "../sequence/index.ts";
import type { TransformSet } from "../transform/index.ts";
import type { Lane } from "../lane/index.ts";
import type { Runtime } from "../runtime/index.ts";
import type { GoldenSamples } from "../schedule/index.ts";

/** Bounds of what an engine keeps and takes. */
export interface EngineLimits {
  /** Requests under way in all; more are refused with `queue-full`. Default 1024. */
  readonly maxInFlight: number;
  /** Requests that may wait for one graph. Default 128: more would wait longer than callers do. */
  readonly maxQueued: number;
  /** Whole graphs that stay loaded. Default 64. */
  readonly maxGraphs: number;
  /** Parts between inner cuts that stay loaded. Default 16: each holds its weights once more. */
  readonly maxParts: number;
  /** Live sequences. Default 4096. */
  readonly maxSequences: number;
  /** Live sequences of one tenant. Default 1024. */
  readonly maxSequencesPerTenant: number;
  /** Bytes of the states of all sequences. Default 256 MiB. */
  readonly maxStateBytes: number;
  /** Loaded copies of a model that does not say how many. Default 1. */
  readonly defaultInstances: number;
  /** Threads inside one run. Default 1. */
  readonly threads: number;
  /**
   * Cores that runs share: this many threads run at a time, whatever is loaded; a graph's instances may be more. Default: runs
   * of different graphs need not wait for each other.
   */
  readonly cores: number;
  /**
   * Bytes that pipelines may hold between their steps, over all requests, before more of them wait at the beginning.
   * Default 1 GiB.
   */
  readonly maxPipelineBytes: number;
  /** Elements of fan-outs that are worked on at one time, over all requests. Default 256. */
  readonly maxElements: number;
  /** Bytes that loaded models may hold, by estimate; the least recently used idle ones go. Default: no limit. */
  readonly maxModelBytes: number;
}

/** Keeps answers of models whose operators say that equal inputs have equal answers. */
export interface KeptAnswers {
  /**
   * An answer to an equal request from memory, that of one under way, or that of `run`, in memory of the caller's. The call
   * that `run` gets ends when no caller waits for its answer any more.
   */
  infer(
    request: InferenceRequest,
    call: Call,
    run: (call: Call) => Promise<InferenceResponse>,
  ): Promise<InferenceResponse>;
}

/** The parts of an engine. Their maker keeps them: `close` does not close runtimes, lane or store. */
export interface EngineParts {
  readonly info: EndpointInfo;
  readonly store: ModelStore;
  readonly source: ModelSource;
  /** The first is the default; the next one is tried for what one cannot run (`unsupported`). */
  readonly runtimes: readonly Runtime[];
  /** Runs models that are not trusted. */
  readonly sandbox?: Runtime;
  /** The transforms that `lane` can run, to check pipelines before the first request. */
  readonly transforms: TransformSet;
  readonly lane: Lane;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  /** `sha256:<hex>`. */
  readonly sha256: (bytes: Uint8Array) => Promise<string>;
  readonly limits?: Partial<EngineLimits>;
  /** Share of device time of a tenant against others' when there is not enough for all. Default: all have 1. */
  readonly weightOf?: (tenant: TenantId) => number;
  /**
   * Shared resources that runs of models take, and how much there is of each; undefined: the claims of models are ignored.
   */
  readonly resources?: Readonly<Record<string, number>>;
  /** Data classes of requests that run here; others are refused. Default: the sender's policy decides. */
  readonly dataClasses?: readonly DataClass[];
  /** The data classes that this endpoint's policy names: a step that declassifies to another one is refused. Default: any. */
  readonly classes?: NonNullable<RepositoryParts["classes"]>;
  /** Whether models are served only once they were loaded. Default false: each is read at its first request. */
  readonly explicit?: boolean;
  /** Whether copies of a model that want a GPU may have a processor instead. Default false. */
  readonly gpuFallback?: boolean;
  /** Inputs on which execution providers are compared with the processor before they run a model. Default: random ones. */
  readonly samples?: GoldenSamples;
  /** Rows in one run of a graph that nothing is written of, where its first axes vary. Default 0: requests run one by one. */
  readonly defaultMaxBatchSize?: number;
  /**
   * Joins requests for graphs whose configuration does not enable it, if trial runs show that it is safe and pays; `verdicts`
   * keeps the results between starts. Default: requests run one by one.
   */
  readonly unaskedBatching?: { readonly verdicts?: BatchVerdicts };
  /** Inputs and outputs of models, as other endpoints describe them; default: no endpoint is queried. */
  readonly elsewhere?: NonNullable<RepositoryParts["elsewhere"]>;
  /** Asked before steps of pipelines run models whose answers are kept. Default: they run. */
  readonly answers?: KeptAnswers;
  /** Measured energy of one busy millisecond here, in millijoules. Undefined, or absent: the watts of `info.rates` are taken. */
  readonly millijoulesPerMs?: () => number | undefined;
  /** Seals exported state of sequences, so that it can come back through hands that may not make one up. */
  readonly stateKey?: SealKey;
}

/** The default limits. */
export const defaultLimits: EngineLimits = {
  maxInFlight: 1024,
  maxQueued: 128,
  maxGraphs: 64,
  maxParts: 16,
  maxSequences: 4096,
  maxSequencesPerTenant: 1024,
  maxStateBytes: 256 * 2 ** 20,
  defaultInstances: 1,
  threads: 1,
  cores: Infinity,
  maxPipelineBytes: 2 ** 30,
  maxElements: 256,
  maxModelBytes: Infinity,
};
