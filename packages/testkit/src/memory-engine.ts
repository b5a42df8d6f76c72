import { type Clock, seededRandom, silentObserver } from "@longshore/core";
import { type EngineParts, inlineLane, type ModelStore, type Runtime } from "@longshore/engine";
import { doubleInfo } from "./double-endpoint.ts";
import { type MemoryModels, memorySource } from "./memory-model.ts";
import { memoryRuntime } from "./memory-runtime.ts";
import { sha256Of } from "./memory-store.ts";

/** The parts of an engine over memory models. */
export interface MemoryEngineOptions {
  readonly clock: Clock;
  readonly models: MemoryModels;
  readonly store: ModelStore;
  /** Default: one that runs `models`. */
  readonly runtime?: Runtime;
}

/** All parts of an engine on virtual time, without transforms; a test lays what it is about over them. */
export function memoryEngineParts({ clock, models, store, runtime }: MemoryEngineOptions): EngineParts {
  return {
    info: doubleInfo,
    store,
    source: memorySource(models),
    runtimes: [runtime ?? memoryRuntime({ models, clock })],
    transforms: new Map(),
    lane: inlineLane(new Map(), clock),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
    sha256: sha256Of,
  };
}
