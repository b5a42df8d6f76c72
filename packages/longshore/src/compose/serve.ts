import { type DataClass, type Directory, type Endpoint, LongshoreError } from "@longshore/core";
import type { CarbonIntensity, StatedRates } from "@longshore/core/internal";
import { type DirectoryApi, type JoinReply, type Registration, ratesOf } from "@longshore/core/internal";
import { type Engine, type ModelStore, onProcessor } from "@longshore/engine";
import { deviceMonitor, layeredStore, listedPackages } from "@longshore/nodejs";
import type { DirectoryOpening } from "../connect/directory.ts";
import {
  controlModels,
  loadErrorText,
  missingModels,
  type ModelControlOptions,
  usableModels,
} from "../engine/model-control.ts";
import {
  defaultRates,
  type EngineOptions,
  type ModelLimits,
  openEngine,
  type RuntimeName,
} from "../engine/open-engine.ts";
import { type Online, type OnlineOptions, type OnlineParts, putOnline } from "./put-online.ts";
import type { OnlineEndpoint } from "../connect/online-endpoint.ts";
import { checkProviderNames, usableProviders } from "../engine/device-engines.ts";
import { isMapping } from "./check-open-options.ts";
import { chargedEndpoint } from "./charged-endpoint.ts";
import { openModel } from "../engine/open-model.ts";
import { openPull, type PullOptions } from "../package/pull.ts";
import { servedRepository } from "../engine/served-repository.ts";
import { warmUp } from "./warm-up.ts";
import { repositoryShelf } from "../package/shelf.ts";

/** How models are put on the network. */
export interface ServeOptions extends OnlineOptions, ModelControlOptions, ModelLimits {
  readonly store: ModelStore;
  readonly runtime?: RuntimeName;
  /** Execution providers to try for each model, in this order. Default `["cpu"]`. */
  readonly providers?: readonly string[];
  readonly workers?: number;
  readonly maxQueued?: number;
  /**
   * Data classes of requests that this server runs itself; others, and requests that state none, are refused. Default: the sender's policy
   * decides.
   */
  readonly dataClasses?: readonly DataClass[];
  /** The data classes that a step of a pipeline may declassify to. Default: any. */
  readonly classes?: () => readonly DataClass[];
  /**
   * By how much more than the thread that answers, the workers let others have the cores, 0 to 19, on Linux. Default 5;
   * 0 on a machine that other programs keep busy and of which this server is to get its full share (ADR 17).
   */
  readonly workerNiceness?: number;
  /**
   * Time for a warm-up before the server is ready, in milliseconds: it serves itself over real connections, so that its code is
   * compiled and its runtime loaded. Default 0: none.
   */
  readonly warmUpMs?: number;
  /** The price of runs for callers of this server; default: none. */
  readonly prices?: StatedRates;
  /** CO2 of electricity by zone, from which metrics derive the CO2 of runs here. Default: nothing is known. */
  readonly carbon?: CarbonIntensity;
  /** Wraps what answers requests: an offloader over further endpoints, a delay of a demonstration. Default: the engine alone. */
  readonly wrap?: (engine: Engine, parts: DirectoryOpening) => Endpoint;
  /** Inputs and outputs of models of those endpoints that steps run (see `portsAt`); default: pipelines state them. */
  readonly elsewhere?: EngineOptions["elsewhere"];
  /** Endpoints that join this server over the network, for others to read. Default: none can. */
  readonly joins?: DirectoryApi;
  /** The endpoints that the metrics report. */
  readonly directory?: Directory;
  /** The source of models that are not in the store: the wanted ones, and those that the directory names for this server. */
  readonly pull?: PullOptions;
}

/** A server of models on its port. */
export interface RunningServer extends Online {
  readonly engine: Engine;
}

/** Bounds for the engine. Without a secret of the operator's, seals hold for as long as this server runs. */
function limitsOf(options: ServeOptions): ModelLimits {
  const { maxModelBytes, sandboxMemoryBytes, sandboxDeadlineMs, resources } = options;
  const { maxSequences, maxTenantSequences, gpuFallback = false, stateSecret } = options;
  return {
    gpuFallback,
    defaultMaxBatchSize: options.defaultMaxBatchSize ?? 0,
    batching: options.batching ?? "auto",
    ...(options.cacheFolder === undefined ? {} : { cacheFolder: options.cacheFolder }),
    stateSecret: stateSecret ?? crypto.getRandomValues(new Uint8Array(32)),
    ...(maxModelBytes === undefined ? {} : { maxModelBytes }),
    ...(sandboxMemoryBytes === undefined ? {} : { sandboxMemoryBytes }),
    ...(sandboxDeadlineMs === undefined ? {} : { sandboxDeadlineMs }),
    ...(resources === undefined ? {} : { resources }),
    ...(maxSequences === undefined ? {} : { maxSequences }),
    ...(maxTenantSequences === undefined ? {} : { maxTenantSequences }),
  };
}

/** The engine over the store, with the models that are wanted at the start. */
function servedEngine(
  options: ServeOptions,
  parts: OnlineParts,
): OnlineEndpoint & { readonly engine: Engine } {
  const { id, tier, zone, clock, observer, identity, report, answers } = parts;
  let registration: Registration | undefined;
  const pull =
    options.pull &&
    openPull(options.pull, {
      ...parts,
      report,
      changed() {
        registration?.renew();
        void missing.look();
      },
    });
  const told = options.pull && listedPackages(options.pull.into, id, report);
  const store = pull ? layeredStore(options.store, pull.store) : options.store;
  const always = options.pull?.wanted ?? [];
  const { engine, runtimes, close } = openEngine({
    ...limitsOf(options),
    ...(identity ? { weightOf: identity.weightOf } : {}),
    store,
    explicit: (options.modelControl ?? "none") !== "none",
    id,
    tier,
    zone,
    observer,
    clock,
    answers,
    rates: ratesOf(options.prices ?? {}, "prices", true, defaultRates.activeWatts),
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    ...(options.providers === undefined ? {} : { providers: options.providers }),
    ...(options.workers === undefined ? {} : { workers: options.workers, lanes: options.workers }),
    workerNiceness: options.workerNiceness ?? 5,
    millijoulesPerMs: deviceMonitor({ clock }).millijoulesPerMs,
    shortRunsHere: true,
    ...(options.elsewhere ? { elsewhere: options.elsewhere } : {}),
    ...(options.maxQueued === undefined ? {} : { maxQueued: options.maxQueued }),
    ...(options.dataClasses ? { dataClasses: options.dataClasses } : {}),
    ...(options.classes ? { classes: options.classes } : {}),
  });
  const missing = missingModels({ index: () => engine.index(), report });
  const lazy = (options.modelControl ?? "none") === "none" && !options.wrap && !pull;
  const usable = usableModels({ index: () => engine.index(), report });
  let models: Disposable | undefined;
  return {
    engine,
    endpoint:
      options.wrap?.(engine, parts) ??
      chargedEndpoint(engine, { ...parts, ...(options.carbon ? { carbon: options.carbon } : {}) }),
    ...(options.joins ? { joins: options.joins } : {}),
    ...(options.directory ? { directory: options.directory } : {}),
    repository: servedRepository(engine, missing.settled),
    packages: repositoryShelf(store),
    load: () => engine.loadReport(),
    available: usable.some,
    // The port listens and says that it is not ready until what is wanted at the start is loaded and warm.
    async begin(ready, join, loaded) {
      const { warmUpMs: mostMs = 0, grpcPort } = options;
      const grpc = grpcPort !== undefined;
      const warming = mostMs > 0 ? warmUp({ runtimes, clock, grpc, mostMs, report }) : undefined;
      const { providers = [] } = options;
      // With nothing to fall back to, a server whose accelerators do not work could answer no request. Drivers take their time.
      if (providers.length > 0 && !providers.some(onProcessor))
        await usableProviders(providers, (provider, why) =>
          report(`execution provider ${provider} is not used: ${why}`),
        );
      models = await controlModels(options, { engine, store: options.store, clock, missing, report });
      if (lazy) await usable.look();
      if (!pull) loaded();
      const before = ((await told?.load()) ?? []).map((digest) => ({ digest }));
      await pull?.restore([...always, ...before], engine);
      await pull?.want(always, engine, before);
      // A missing model may be among those that the directory names for this endpoint.
      if (pull) join();
      await warming;
      Promise.all([missing.complete, pull?.have(always)])
        .then(ready)
        .catch((thrown: unknown) => report(loadErrorText(thrown)));
    },
    ...(pull
      ? {
          pending: pull.pending,
          joined: (one: Registration) => void (registration = one),
          // The models that the operator's entry names, besides those of the start.
          answered({ packages }: JoinReply) {
            void told?.save(packages);
            void pull.want([...always, ...packages.map((digest) => ({ digest }))], engine);
          },
        }
      : {}),
    stop: () => models?.[Symbol.dispose](),
    async close() {
      await pull?.close();
      await close();
    },
  };
}

/** The same for the models of a folder, which `serve` opens. */
export interface ServeFolderOptions extends Omit<ServeOptions, "store"> {
  /** A repository, a model folder, an .onnx file, or a sample's name. */
  readonly repository: string;
}

/**
 * Puts the models of a repository, or of an open store, on a port. Throws as `putOnline`, `invalid-configuration` without either,
 * `invalid-input` for a name that no execution provider has, and `unsupported` where none of the providers works here.
 *
 * @example
 * ```ts
 * import { serve } from "longshore";
 *
 * const server = await serve({ repository: "models", port: 0, tier: "edge", zone: "eu/de/store-7" });
 * const ready = await fetch(`${server.address}/v2/health/ready`);
 * console.log(ready.status); // 200
 * await server.close();
 * ```
 */
export async function serve(options: ServeOptions | ServeFolderOptions): Promise<RunningServer> {
  // A caller in plain JavaScript has no compiler to say that something is missing.
  const { repository, store: opened }: { repository?: unknown; store?: ModelStore } = isMapping(options)
    ? options
    : {};
  const store = typeof repository === "string" ? (await openModel(repository)).store : opened;
  if (!store) {
    const what =
      'serve takes an object with the models: { repository: "./models" }, or with an open store: { store }';
    throw new LongshoreError("invalid-configuration", "resolve", what);
  }
  const all: ServeOptions = { ...options, store };
  checkProviderNames(all.providers ?? []);
  const { served, ...online } = await putOnline(all, (parts) => servedEngine(all, parts));
  return { ...online, engine: served.engine };
}
