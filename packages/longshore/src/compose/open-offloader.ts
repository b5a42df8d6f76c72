import {
  type Clock,
  createOffloader,
  type Directory,
  type Offloader,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import { type BeliefMemory, carbonIntensity, failureEvent } from "@longshore/core/internal";
import type { Engine, ModelStore } from "@longshore/engine";
import {
  type DeviceMonitor,
  deviceMonitor,
  layeredStore,
  memoryMeter,
  systemClock,
  systemRandom,
} from "@longshore/nodejs";
import { openPull } from "../package/pull.ts";
import { goldenFrom } from "../engine/golden-source.ts";
import { checkOpenOptions } from "./check-open-options.ts";
import { portsAt } from "../connect/described-at.ts";
import { dialAll } from "../connect/dial-all.ts";
import { keptBeliefs } from "./kept-beliefs.ts";
import { isDirectory, openDirectory } from "../connect/directory.ts";
import { openDeviceEngines, usableProviders } from "../engine/device-engines.ts";
import { radioTowards } from "./device-radio.ts";
import { openModel } from "../engine/open-model.ts";
import type { OpenOptions } from "./open-options.ts";

/** The same with a store that is already open, for the command, the demonstration and tests. */
export interface LocalOptions extends Omit<
  OpenOptions,
  "configFile" | "repository" | "directory" | "beliefs"
> {
  readonly beliefs?: BeliefMemory;
  readonly directory?: Directory;
  readonly store?: ModelStore;
  /** Loaded copies of each model here; default 1. */
  readonly workers?: number;
  readonly id?: string;
  /** Sensors of this device. Default: those of Linux. */
  readonly monitor?: DeviceMonitor;
}

/** An offloader with the engine of this device. */
export interface OpenedOffloader {
  readonly offloader: Offloader;
  readonly engine: Engine;
  /** When the sensors of this device were read and what is wanted of packages was got, or could not be; never rejects. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

/** Opens the engine of this device and an offloader over it and the servers. */
export function openLocal(options: LocalOptions): OpenedOffloader {
  const clock = systemClock();
  const random = systemRandom();
  const observer = options.observer ?? silentObserver;
  const own: ModelStore = options.store ?? { list: async () => [], read: async () => undefined };
  const pull =
    options.packages &&
    openPull(
      { ...options.packages, asNeeded: true },
      { clock, random, report: options.packages.report ?? (() => undefined), changed: () => undefined },
    );
  const store = pull ? layeredStore(own, pull.store) : own;
  const monitor = options.monitor ?? deviceMonitor({ clock });
  const policy = options.policy ?? standardPolicy();
  const { engine, others, close } = openDeviceEngines({
    store,
    classes: () => policy.classes,
    millijoulesPerMs: options.device?.millijoulesPerMs ?? monitor.millijoulesPerMs,
    clock,
    observer,
    // A device answers few requests at a time; a server keeps its threads for all of them.
    shortRunsHere: true,
    elsewhere: portsAt(options),
    ...(pull?.source ? { source: pull.source } : {}),
    ...(options.id === undefined ? {} : { id: options.id }),
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    ...(options.providers === undefined ? {} : { providers: options.providers }),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
  });
  const memory = memoryMeter(clock);
  const beliefs = options.beliefs ? { beliefs: options.beliefs } : {};
  const dialled = dialAll(options, { clock, random, observer, ...beliefs });
  const offloader = createOffloader({
    local: engine,
    ...(pull ? { lookAgain: () => pull.look() } : {}),
    ...dialled,
    endpoints: [...others, ...(dialled.endpoints ?? [])],
    policy,
    clock,
    random,
    observer,
    device: {
      memoryBytes: () => memory().free,
      battery: monitor.battery,
      health: monitor.health,
      millijoulesPerMs: monitor.millijoulesPerMs,
      ...options.device,
    },
    checks: { golden: goldenFrom(store), sampleRatio: 0, ...options.checks },
    ...(options.defaults ? { defaults: options.defaults } : {}),
    ...(options.retry ? { retry: options.retry } : {}),
    ...(options.carbon ? { carbon: carbonIntensity(options.carbon, "carbon") } : {}),
    ...beliefs,
  });
  let closed: Promise<void> | undefined;
  const closeAll = async (): Promise<void> => {
    await offloader.close();
    await pull?.close();
    await close();
  };
  const pulled = pull?.want(options.packages?.wanted ?? [], engine);
  // The first request must not be decided as if the device were cool and its battery full.
  const ready = Promise.all([pulled, monitor.read()]).then(() => undefined);
  return { offloader, engine, ready, close: () => (closed ??= closeAll()) };
}

/** The options with what the configuration file adds. */
async function withFile({ configFile, ...options }: OpenOptions): Promise<OpenOptions> {
  if (configFile === undefined) return options;
  // Most apps have no file, and its schema comes from the command's options.
  const { appOptions } = await import("../command/app-options.ts");
  const ofFile = await appOptions(configFile, process.env);
  const defaults = { ...ofFile.defaults, ...options.defaults };
  return { ...ofFile, ...options, defaults };
}

/** Waits for a promise that never rejects, but not for longer than this many milliseconds. */
function within(promise: Promise<void>, ms: number, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.timer(ms, resolve);
    void promise.then(() => {
      timer[Symbol.dispose]();
      resolve();
    });
  });
}

/**
 * Opens an offloader for an app: models of this device, servers to consider, and the rules. Dispose of it (or call
 * `close`) when the app is done. Throws `unknown-model` when the repository is not there, and `invalid-configuration` for an option that
 * does not exist.
 *
 * @example
 * ```ts
 * import { float32View, openOffloader } from "longshore";
 *
 * const offloader = await openOffloader({ repository: "models", servers: ["http://127.0.0.1:8000"] });
 * const result = await offloader.infer("double", { x: new Float32Array([3, 4]) }, { deadlineMs: 60_000 });
 * const y = result.outputs.get("y");
 * if (y) console.log([...float32View(y)].join(", ")); // 6, 8
 * await offloader.close();
 * ```
 */
export async function openOffloader(given: OpenOptions): Promise<Offloader> {
  checkOpenOptions(given);
  const options = await withFile(given);
  const store = options.repository === undefined ? undefined : (await openModel(options.repository)).store;
  const { repository: _repository, directory: named, beliefs: keptIn, ...rest } = options;
  const parts = {
    clock: systemClock(),
    random: systemRandom(),
    observer: options.observer ?? silentObserver,
  };
  const opened = named !== undefined && isDirectory(named) ? named : undefined;
  const own = named === undefined || isDirectory(named) ? undefined : await openDirectory(named, parts);
  await own?.ready;
  const directory = own ?? opened;
  const beliefs = await keptBeliefs(keptIn, {
    clock: parts.clock,
    environment: process.env,
    report: (error) => parts.observer.record(failureEvent(error, { id: "beliefs" }, parts.clock.nowMs())),
  });
  const passedOver = (provider: string, why: string): void => {
    const atMs = parts.clock.nowMs();
    parts.observer.record({
      kind: "provider-tried",
      atMs,
      runtime: "onnxruntime",
      provider,
      taken: false,
      why,
    });
  };
  const addresses = (options.servers ?? []).map((one) => (typeof one === "string" ? one : one.address));
  const radio = options.device?.radio ?? (await radioTowards(addresses));
  const {
    offloader,
    ready,
    close: closeLocal,
  } = openLocal({
    ...rest,
    device: { radio, ...rest.device },
    ...(rest.providers ? { providers: await usableProviders(rest.providers, passedOver) } : {}),
    ...(store ? { store } : {}),
    ...(directory ? { directory } : {}),
    ...(beliefs ? { beliefs: beliefs.memory } : {}),
  });
  const elsewhere = directory !== undefined || (options.servers ?? []).length > 0;
  if (!elsewhere) await ready;
  else await within(ready, options.packages?.waitMs ?? 5000, parts.clock);
  const close = async (): Promise<void> => {
    await beliefs?.close();
    await closeLocal();
    await own?.[Symbol.asyncDispose]();
  };
  return {
    infer: (model, inputs, limits) => offloader.infer(model, inputs, limits),
    answers: (model, inputs, limits) => offloader.answers(model, inputs, limits),
    stream: (model, frames, limits) => offloader.stream(model, frames, limits),
    sequence: (model, limits) => offloader.sequence(model, limits),
    explain: (model, inputs, limits) => offloader.explain(model, inputs, limits),
    availability: (model, limits) => offloader.availability(model, limits),
    prepare: (model, limits) => offloader.prepare(model, limits),
    refresh: () => offloader.refresh(),
    close,
    [Symbol.asyncDispose]: close,
  };
}
