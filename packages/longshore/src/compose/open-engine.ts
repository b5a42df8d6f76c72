import { type EndpointId, type CostRates, type Observer, silentObserver, type Tier, type ZoneId } from "@longshore/core";
import { createEngine, type Engine, type ModelStore, pureTransforms } from "@longshore/engine";
import { onnxSource } from "@longshore/graph";
import {
  childRuntime,
  mediaTransforms,
  onnxRuntime,
  sha256,
  systemClock,
  systemRandom,
  wasmRuntime,
  workerLane,
} from "@longshore/nodejs";
import type { Transform } from "@longshore/engine";
import { platformCodecs } from "./codecs.ts";

/** Which of the installed runtimes is tried first. */
export type RuntimeName = "onnxruntime" | "wasm";

/** How models run in this process. */
export interface EngineOptions {
  readonly store: ModelStore;
  /** Default `device`. */
  readonly id?: EndpointId;
  /** Default `device`. */
  readonly tier?: Tier;
  /** Default `device`, which lies inside every zone. */
  readonly zone?: ZoneId;
  /** Default `onnxruntime`. */
  readonly runtime?: RuntimeName;
  /** Worker threads for transforms; default 1. */
  readonly lanes?: number;
  /** What a second of work costs and draws here; default: free, 6 W, the middle of a server core's estimate. */
  readonly rates?: CostRates;
  readonly observer?: Observer;
}

/** Estimates of a processor core, until something is measured: see the energy page of the references in the guides. */
export const defaultRates: CostRates = { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 6 };

/** Every transform of this platform, by name. */
export function platformTransforms(): ReadonlyMap<string, Transform<unknown>> {
  return new Map([...pureTransforms(), ...mediaTransforms()].map((transform) => [transform.name, transform]));
}

/**
 * An engine on this machine: ONNX Runtime in worker threads (native first or WebAssembly first), a child process for
 * models that are not trusted, transforms in lanes. Closing it closes all of them.
 */
export function openEngine(options: EngineOptions): Engine {
  const clock = systemClock();
  const random = systemRandom();
  const native = onnxRuntime();
  const wasm = wasmRuntime();
  const sandbox = childRuntime();
  const lane = workerLane({ workers: options.lanes ?? 1 });
  const tier = options.tier ?? "device";
  const engine = createEngine({
    info: {
      id: options.id ?? "device",
      tier,
      zone: options.zone ?? "device",
      trust: "attested",
      codecs: [...platformCodecs().keys()],
      state: "movable",
      offers: true,
      rates: options.rates ?? defaultRates,
    },
    store: options.store,
    source: onnxSource(),
    runtimes: options.runtime === "wasm" ? [wasm, native] : [native, wasm],
    sandbox,
    lane,
    clock,
    random,
    observer: options.observer ?? silentObserver,
    sha256,
  });
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await engine.close();
    await lane.close();
    await Promise.all([native.close(), wasm.close(), sandbox.close()]);
  };
  return new Proxy(engine, {
    get(target, property, receiver) {
      if (property === "close") return () => (closed ??= close());
      const value: unknown = Reflect.get(target, property, receiver);
      return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
    },
  });
}
