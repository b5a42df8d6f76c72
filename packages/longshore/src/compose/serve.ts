import {
  type Clock,
  defaultWireLimits,
  LongshoreError,
  type Endpoint,
  observers,
  type Observer,
  silentObserver,
  type Tier,
  type ZoneId,
} from "@longshore/core";
import type { Engine, ModelStore } from "@longshore/engine";
import { quickSha256, sharedFolder, systemClock, systemRandom } from "@longshore/nodejs";
import { cachedEndpoint, createHandler, createLife } from "@longshore/server";
import { platformCodecs } from "./codecs.ts";
import { type OpenedIdentity, openIdentity } from "./identity.ts";
import { hostsOf, isLoopbackHost, type ListenersOptions, openListeners } from "./listeners.ts";
import { type ControlledModels, controlModels, type ModelControlOptions } from "./model-control.ts";
import { type ModelLimits, openEngine, type RuntimeName } from "./open-engine.ts";
import { servedRepository } from "./served-repository.ts";
import { openTelemetry, type TelemetryOptions } from "./telemetry.ts";

/** How models are put on the network. */
export interface ServeOptions extends ListenersOptions, ModelControlOptions, ModelLimits {
  readonly store: ModelStore;
  /**
   * File that says who may what: `identity.yaml`. Without it this machine may everything, and listening on other addresses
   * than loopback is refused.
   */
  readonly identity?: string;
  /** Listen on any address without identity: everybody who reaches it may infer. Default false. */
  readonly insecureNoIdentity?: boolean;
  /** Gets a line for what the operator should know of files that changed. Default: nobody. */
  readonly report?: (text: string) => void;
  /** Default the tier and the port. */
  readonly id?: string;
  /** Default `edge`. */
  readonly tier?: Tier;
  /** Default `local`. */
  readonly zone?: ZoneId;
  readonly runtime?: RuntimeName;
  readonly workers?: number;
  readonly maxBodyBytes?: number;
  readonly maxQueued?: number;
  readonly activeWatts?: number;
  readonly microsPerSecond?: number;
  /** Lets callers with the right to manage load and unload models. Default: when management has a port of its own. */
  readonly allowManagement?: boolean;
  /** Lets a load bring the model's files along. Default false. */
  readonly modelUploads?: boolean;
  /** What keys of shared memory begin with that programs on this machine may have read and written. Default: none. */
  readonly sharedMemoryPrefix?: string;
  /** Request headers, by lower-case name, that go to the steps of models as parameters. Default: none. */
  readonly forwardHeaders?: RegExp;
  /** Told of everything, besides the telemetry. */
  readonly observer?: Observer;
  readonly telemetry?: TelemetryOptions;
  /**
   * Memory for answers of models whose operator lets them be kept, in bytes. Default 64 MiB; 0 keeps none, and equal
   * requests at the same time still share a run.
   */
  readonly cacheBytes?: number;
  /** Wraps what answers requests: an offloader over further places, a delay of a demonstration. Default: the engine alone. */
  readonly wrap?: (engine: Engine) => Endpoint;
}

/** A server on its port. */
export interface RunningServer {
  /** `http://host:port`, or `https`. */
  readonly address: string;
  /** `host:port` of gRPC, when it is served. */
  readonly grpcAddress: string | undefined;
  /** Where management and metrics are, when they have ports of their own. */
  readonly manageAddress: string | undefined;
  readonly metricsAddress: string | undefined;
  readonly engine: Engine;
  /**
   * Readiness false at once, new work refused with `shutting-down`, work under way finished for up to `graceMs`; then
   * the port is closed, but not before `lingerMs` (default 0), so that balancers see readiness go before connections do.
   * Idempotent.
   */
  close(graceMs?: number, lingerMs?: number): Promise<void>;
}

/** Identity from its file. Refuses to be reachable by others while nobody is told apart. */
async function identityOf(
  options: ServeOptions,
  parts: { readonly clock: Clock; readonly report: (text: string) => void },
): Promise<OpenedIdentity | undefined> {
  if (options.identity !== undefined) return openIdentity(options.identity, parts);
  const exposed = hostsOf(options).find((host) => !isLoopbackHost(host));
  if (exposed === undefined || options.insecureNoIdentity === true) return undefined;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `listening on ${exposed} without identity would let in everybody who reaches it: give --identity FILE, or say --insecure-no-identity`,
  );
}

/** Bounds for the engine. Without a secret of the operator's, seals hold for as long as this server runs. */
function limitsOf(options: ServeOptions): ModelLimits {
  const { maxModelBytes, sandboxMemoryBytes, sandboxDeadlineMs, resources } = options;
  const { maxSequences, maxTenantSequences, gpuFallback = false, stateSecret } = options;
  return {
    gpuFallback,
    stateSecret: stateSecret ?? crypto.getRandomValues(new Uint8Array(32)),
    ...(maxModelBytes === undefined ? {} : { maxModelBytes }),
    ...(sandboxMemoryBytes === undefined ? {} : { sandboxMemoryBytes }),
    ...(sandboxDeadlineMs === undefined ? {} : { sandboxDeadlineMs }),
    ...(resources === undefined ? {} : { resources }),
    ...(maxSequences === undefined ? {} : { maxSequences }),
    ...(maxTenantSequences === undefined ? {} : { maxTenantSequences }),
  };
}

/**
 * Puts the models of a store on a port. Throws `port-taken`, and `invalid-configuration` for identity or certificates that
 * are not good, and for other addresses than loopback without identity.
 */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const clock = systemClock();
  const random = systemRandom();
  const report = options.report ?? (() => undefined);
  const identity = await identityOf(options, { clock, report });
  const life = createLife();
  const tier = options.tier ?? "edge";
  const id = options.id ?? `${tier}-${options.port ?? 8000}`;
  const zone = options.zone ?? "local";
  const { telemetry, close: closeTelemetry } = openTelemetry(options.telemetry ?? {}, {
    clock,
    random,
    load: () => engine.loadReport(),
    resource: { "service.instance.id": id, "longshore.tier": tier, "longshore.zone": zone },
  });
  const observer = observers(telemetry.observer, options.observer ?? silentObserver);
  const { engine, close: closeEngine } = openEngine({
    ...limitsOf(options),
    ...(identity ? { weightOf: identity.weightOf } : {}),
    store: options.store,
    explicit: (options.modelControl ?? "none") !== "none",
    id,
    tier,
    zone,
    observer,
    clock,
    rates: {
      microsPerSecond: options.microsPerSecond ?? 0,
      microsPerMegabyte: 0,
      activeWatts: options.activeWatts ?? 6,
    },
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    ...(options.workers === undefined ? {} : { workers: options.workers, lanes: options.workers }),
    ...(options.maxQueued === undefined ? {} : { maxQueued: options.maxQueued }),
  });
  const endpoint = cachedEndpoint(options.wrap?.(engine) ?? engine, {
    clock,
    observer,
    hash: quickSha256,
    maxBytes: options.cacheBytes ?? 64 * 2 ** 20,
    load: () => engine.loadReport(),
  });
  const limits = {
    ...defaultWireLimits,
    maxBodyBytes: options.maxBodyBytes ?? defaultWireLimits.maxBodyBytes,
  };
  const handler = createHandler({
    endpoint,
    codecs: platformCodecs(),
    clock,
    observer,
    repository: servedRepository(engine, options.store),
    life,
    telemetry,
    load: () => engine.loadReport(),
    modelControl: options.allowManagement ?? options.managePort !== undefined,
    modelUploads: options.modelUploads ?? false,
    ...(options.sharedMemoryPrefix === undefined
      ? {}
      : { sharedMemory: sharedFolder(options.sharedMemoryPrefix) }),
    ...(options.forwardHeaders ? { forwardHeaders: options.forwardHeaders } : {}),
    ...(identity ? { identify: identity.identify } : {}),
    limits,
  });
  let closed: Promise<void> | undefined;
  let models: ControlledModels | undefined;
  try {
    const listeners = await openListeners(handler, options, { clock, random, limits, report });
    // The port listens and says that it is not ready until what is wanted at the start is loaded and warm.
    models = await controlModels(options, { engine, store: options.store, clock, report });
    life.ready();
    const after = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve));
    const close = async (graceMs: number, lingerMs: number): Promise<void> => {
      models?.[Symbol.dispose]();
      listeners.drain();
      await Promise.race([Promise.all([life.drain(), after(lingerMs)]), after(graceMs)]);
      await listeners.close(Math.min(graceMs, 1000));
      identity?.close();
      await endpoint.close();
      await closeEngine();
      await closeTelemetry();
    };
    const { address, grpcAddress, manageAddress, metricsAddress } = listeners;
    return {
      address,
      grpcAddress,
      manageAddress,
      metricsAddress,
      engine,
      close: (graceMs = 30_000, lingerMs = 0) => (closed ??= close(graceMs, lingerMs)),
    };
  } catch (error) {
    models?.[Symbol.dispose]();
    identity?.close();
    await closeEngine();
    await closeTelemetry();
    throw error;
  }
}
