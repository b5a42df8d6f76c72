import {
  type Clock,
  defaultWireLimits,
  LongshoreError,
  type Endpoint,
  observers,
  type Observer,
  silentObserver,
  startCut,
  type Tier,
  type ZoneId,
} from "@longshore/core";
import type { Engine, ModelStore } from "@longshore/engine";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { createHandler, createLife, type IndexEntry, type ServedRepository } from "@longshore/server";
import { platformCodecs } from "./codecs.ts";
import { type OpenedIdentity, openIdentity } from "./identity.ts";
import { hostsOf, isLoopbackHost, type ListenersOptions, openListeners } from "./listeners.ts";
import { openEngine, type RuntimeName } from "./open-engine.ts";
import { openTelemetry, type TelemetryOptions } from "./telemetry.ts";

/** How models are put on the network. */
export interface ServeOptions extends ListenersOptions {
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
  /** Told of everything, besides the telemetry. */
  readonly observer?: Observer;
  readonly telemetry?: TelemetryOptions;
  /** Wraps what answers requests: an offloader over further places, a delay of a demonstration. Default: the engine alone. */
  readonly wrap?: (engine: Engine) => Endpoint;
}

/** A server on its port. */
export interface RunningServer {
  /** `http://host:port`, or `https`. */
  readonly address: string;
  /** Where management and metrics are, when they have ports of their own. */
  readonly manageAddress: string | undefined;
  readonly metricsAddress: string | undefined;
  readonly engine: Engine;
  /**
   * Readiness false at once, new work refused with `shutting-down`, work under way finished for up to `graceMs`; then
   * the port is closed. Idempotent.
   */
  close(graceMs?: number): Promise<void>;
}

/** Triton's words for the states of the engine's index. */
const tritonStates: Readonly<Record<string, IndexEntry["state"]>> = {
  available: "READY",
  ready: "READY",
  loading: "LOADING",
  unloading: "UNLOADING",
};

function servedRepository(engine: Engine): ServedRepository {
  return {
    async index() {
      const entries = await engine.index();
      return entries.map(({ name, version, state, reason }) => ({
        name,
        version,
        state: tritonStates[state] ?? "UNAVAILABLE",
        reason: reason ?? "",
      }));
    },
    load: (model, version, call) => engine.load(model, version, call),
    unload: (model, call) => engine.unload(model, call),
    async head({ model, version, variant, to }, call) {
      const artifact = await engine.artifact(
        { model, version, digest: "", variant, from: startCut, to },
        call,
      );
      return { digest: artifact.digest, bytes: await artifact.bytes(call) };
    },
  };
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
    store: options.store,
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
  const endpoint = options.wrap?.(engine) ?? engine;
  const handler = createHandler({
    endpoint,
    codecs: platformCodecs(),
    clock,
    observer,
    repository: servedRepository(engine),
    life,
    telemetry,
    load: () => engine.loadReport(),
    modelControl: options.allowManagement ?? options.managePort !== undefined,
    ...(identity ? { identify: identity.identify } : {}),
    limits: { ...defaultWireLimits, maxBodyBytes: options.maxBodyBytes ?? defaultWireLimits.maxBodyBytes },
  });
  let closed: Promise<void> | undefined;
  try {
    const listeners = await openListeners(handler, options, { clock, random, report });
    life.ready();
    const close = async (graceMs: number): Promise<void> => {
      await Promise.race([life.drain(), new Promise<void>((resolve) => clock.timer(graceMs, resolve))]);
      await listeners.close(Math.min(graceMs, 1000));
      identity?.close();
      if (endpoint !== engine) await endpoint.close();
      await closeEngine();
      await closeTelemetry();
    };
    const { address, manageAddress, metricsAddress } = listeners;
    return {
      address,
      manageAddress,
      metricsAddress,
      engine,
      close: (graceMs = 30_000) => (closed ??= close(graceMs)),
    };
  } catch (error) {
    identity?.close();
    await closeEngine();
    await closeTelemetry();
    throw error;
  }
}
