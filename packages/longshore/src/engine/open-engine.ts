import { availableParallelism } from "node:os";
import {
  type Clock,
  type Accelerator,
  type EndpointId,
  LongshoreError,
  type CostRates,
  type Observer,
  silentObserver,
  type DataClass,
  type TenantId,
  type Tier,
  type ZoneId,
} from "@longshore/core";
import {
  createEngine,
  onProcessor,
  type Engine,
  type EngineParts,
  type ModelSource,
  type ModelStore,
  type Runtime,
} from "@longshore/engine";
import {
  childRuntime,
  onnxRuntime,
  sha256,
  stateKey,
  systemClock,
  systemRandom,
  verdictFolder,
  wasmRuntime,
  workerLane,
} from "@longshore/nodejs";
import { join } from "node:path";
import { goldenFrom } from "./golden-source.ts";
import { platformCodecs } from "./codecs.ts";
import { platformTransforms } from "./transforms.ts";
import { graphThread } from "../model-file/graph-thread.ts";
import { wholeModels } from "../model-file/whole-models.ts";

/** Whether requests share runs where a model's configuration says nothing of it: where that is safe and pays, or never. */
export type BatchingMode = "auto" | "off";

/** Which of the installed runtimes is tried first. */
export type RuntimeName = "onnxruntime" | "wasm";

/** Bounds of what models and sequences may take. */
export interface ModelLimits {
  /** Bytes that loaded models may hold, by estimate; the least used go. Default: no limit. */
  readonly maxModelBytes?: number;
  /** Memory and longest run of a model that is not trusted. Defaults 1 GiB and 30 s. */
  readonly sandboxMemoryBytes?: number;
  readonly sandboxDeadlineMs?: number;
  /** Live sequences, of all and of one tenant. Defaults 4096 and 1024. */
  readonly maxSequences?: number;
  readonly maxTenantSequences?: number;
  /** How much there is of resources that runs of models share; default: they are not looked at. */
  readonly resources?: Readonly<Record<string, number>>;
  /** Run models that want a GPU on processors. Default false. */
  readonly gpuFallback?: boolean;
  /** Rows in one run of a graph that nothing is written of, where its first axes vary. Default 0: requests run one by one. */
  readonly defaultMaxBatchSize?: number;
  /** Requests share runs where nothing is written of it. Default `off`; of a server `auto`. */
  readonly batching?: BatchingMode;
  /** Folder for what is measured once and used at the next start. Default: nothing is kept. */
  readonly cacheFolder?: string;
  /** Secret that seals exported state of sequences. Default: states are exported without a seal. */
  readonly stateSecret?: Uint8Array;
}

/** How models run in this process. */
export interface EngineOptions extends ModelLimits {
  /** Whether models are served only once they were loaded. Default false. */
  readonly explicit?: boolean;
  readonly store: ModelStore;
  /** Wraps what reads and cuts its model files, where not all of them are here. */
  readonly source?: (whole: ModelSource) => ModelSource;
  /** Inputs and outputs of models of other endpoints that steps run; default: pipelines state them. */
  readonly elsewhere?: EngineParts["elsewhere"];
  /** Default `device`. */
  readonly id?: EndpointId;
  /** The accelerator that it computes with. Default: the processor. */
  readonly accelerator?: Accelerator;
  /** Whether it is another processor of the device whose data it gets; see `EndpointInfo.sameDevice`. */
  readonly sameDevice?: true;
  /** Default `device`. */
  readonly tier?: Tier;
  /** Default `device`, which lies inside every zone. */
  readonly zone?: ZoneId;
  /** Default `onnxruntime`. */
  readonly runtime?: RuntimeName;
  /** Execution providers to try for each model, in this order. Default `["cpu"]`. */
  readonly providers?: readonly string[];
  /** Used instead of this machine's, in this order, and closed with the engine. */
  readonly runtimes?: readonly Runtime[];
  /** Worker threads for transforms; default 1. */
  readonly lanes?: number;
  /** The price and power of a second of work here; default: free, 6 W, the middle of a server core's estimate. */
  readonly rates?: CostRates;
  /** Measured energy of one busy millisecond here, in millijoules; see `deviceMonitor`. Default: the watts of `rates`. */
  readonly millijoulesPerMs?: () => number | undefined;
  readonly observer?: Observer;
  /** Answers that are kept, for steps of pipelines; default: they run. */
  readonly answers?: EngineParts["answers"];
  /** Loaded copies of a model that does not say how many; default 1. */
  readonly workers?: number;
  /** Cores that runs of all models share (see `EngineLimits`); default: those that this process may use. */
  readonly cores?: number;
  /** Graphs that run shorter than a message to another thread takes run on this one; default false (see onnxRuntime). */
  readonly shortRunsHere?: boolean;
  /** By how much more than this thread the workers let others have the cores; default 0 (see onnxRuntime). */
  readonly workerNiceness?: number;
  /** Requests that may wait for one graph; default 128. */
  readonly maxQueued?: number;
  /** Data classes of requests that run here; others are refused. Default: the sender's policy decides. */
  readonly dataClasses?: readonly DataClass[];
  /** The data classes that the policy here names: a step that declassifies to another one is refused. Default: any. */
  readonly classes?: NonNullable<EngineParts["classes"]>;
  /** Share of a tenant in device time against others'; default: all have 1. */
  readonly weightOf?: (tenant: TenantId) => number;
  /** Default: the machine's. */
  readonly clock?: Clock;
}

/** An estimate of one core of a desktop or edge processor, for labelling results until something is measured. */
export const defaultRates: CostRates = { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 6 };

/** Golden inputs that lie beside the models of a store. */
function samplesFrom(store: ModelStore): NonNullable<EngineParts["samples"]> {
  const golden = goldenFrom(store);
  return async (model, version) => ((await golden(model, version))?.pairs ?? []).map(({ inputs }) => inputs);
}

/** An engine with its parts. */
export interface OpenedEngine {
  readonly engine: Engine;
  /** The runtimes for models, in the order in which they are tried. */
  readonly runtimes: readonly Runtime[];
  /** Closes the engine, then its lanes and runtimes. Idempotent. */
  close(): Promise<void>;
}

function ownRuntimes({
  runtime,
  providers,
  shortRunsHere = false,
  workerNiceness = 0,
}: EngineOptions): readonly Runtime[] {
  if (runtime === "wasm" && providers) {
    const why =
      "the runtime wasm has one execution provider, its own: leave out the providers, or the runtime";
    throw new LongshoreError("invalid-configuration", "resolve", why);
  }
  const wasm = wasmRuntime();
  // The WebAssembly runtime stays in the list if its package is missing: a model that names it gets an error that says how to
  // add it.
  if (runtime === "wasm") return [wasm];
  const native = onnxRuntime({
    shortRunsHere,
    niceness: workerNiceness,
    ...(providers ? { providers } : {}),
  });
  // A list of accelerators only excludes a fallback to the processor.
  return providers && !providers.some(onProcessor) ? [native] : [native, wasm];
}

/**
 * An engine on this machine: ONNX Runtime in worker threads (native first or WebAssembly first), a child process for
 * models that are not trusted, transforms in lanes.
 */
export function openEngine(options: EngineOptions): OpenedEngine {
  const runtimes = options.runtimes ?? ownRuntimes(options);
  const { sandboxMemoryBytes, sandboxDeadlineMs, resources, stateSecret } = options;
  const sandbox = childRuntime({
    ...(sandboxMemoryBytes === undefined ? {} : { memoryBytes: sandboxMemoryBytes }),
    ...(sandboxDeadlineMs === undefined ? {} : { runDeadlineMs: sandboxDeadlineMs }),
  });
  const lane = workerLane({
    workers: options.lanes ?? 1,
    ...(options.workerNiceness === undefined ? {} : { niceness: options.workerNiceness }),
  });
  const graphs = graphThread(options.workerNiceness);
  const engine = createEngine({
    info: {
      id: options.id ?? "device",
      tier: options.tier ?? "device",
      zone: options.zone ?? "device",
      trust: "vouched",
      codecs: [...platformCodecs().keys()],
      state: "movable",
      offers: true,
      rates: options.rates ?? defaultRates,
      ...(options.accelerator ? { accelerator: options.accelerator } : {}),
      ...(options.sameDevice ? { sameDevice: true } : {}),
    },
    store: wholeModels(options.store, graphs.makeWhole),
    ...(options.weightOf ? { weightOf: options.weightOf } : {}),
    source: options.source?.(graphs.source) ?? graphs.source,
    ...(options.elsewhere ? { elsewhere: options.elsewhere } : {}),
    ...(options.answers ? { answers: options.answers } : {}),
    runtimes,
    sandbox,
    transforms: platformTransforms(),
    lane,
    clock: options.clock ?? systemClock(),
    random: systemRandom(),
    observer: options.observer ?? silentObserver,
    sha256,
    samples: samplesFrom(options.store),
    ...(options.millijoulesPerMs ? { millijoulesPerMs: options.millijoulesPerMs } : {}),
    explicit: options.explicit ?? false,
    gpuFallback: options.gpuFallback ?? false,
    ...(options.dataClasses ? { dataClasses: options.dataClasses } : {}),
    ...(options.classes ? { classes: options.classes } : {}),
    defaultMaxBatchSize: options.defaultMaxBatchSize ?? 0,
    ...(options.batching === "auto"
      ? {
          unaskedBatching:
            options.cacheFolder === undefined
              ? {}
              : { verdicts: verdictFolder(join(options.cacheFolder, "batching")) },
        }
      : {}),
    ...(resources ? { resources } : {}),
    ...(stateSecret ? { stateKey: stateKey(stateSecret) } : {}),
    limits: {
      cores: options.cores ?? availableParallelism(),
      ...(options.maxModelBytes === undefined ? {} : { maxModelBytes: options.maxModelBytes }),
      ...(options.maxSequences === undefined ? {} : { maxSequences: options.maxSequences }),
      ...(options.maxTenantSequences === undefined
        ? {}
        : { maxSequencesPerTenant: options.maxTenantSequences }),
      ...(options.workers === undefined ? {} : { defaultInstances: options.workers }),
      ...(options.maxQueued === undefined ? {} : { maxQueued: options.maxQueued }),
    },
  });
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await engine.close();
    await Promise.all([lane.close(), graphs.close()]);
    await Promise.all([...runtimes, sandbox].map((runtime) => runtime.close()));
  };
  return { engine, runtimes, close: () => (closed ??= close()) };
}
