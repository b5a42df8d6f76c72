import type { Clock } from "@longshore/core";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { type BatteryState, readBattery } from "./battery.ts";
import { readThermalZones } from "./thermal.ts";

/** The state of this machine at one moment. A fact that the machine does not report is undefined, never guessed. */
export interface DeviceFacts {
  readonly platform: string;
  readonly architecture: string;
  /** The processor's own name; undefined where the system hides it. */
  readonly processor: string | undefined;
  /** Cores that this program may use at once. */
  readonly cores: number;
  /** Memory that this program may use: the machine's, or what a container leaves of it. */
  readonly totalMemoryBytes: number;
  /** The part of it that is free or can be freed at once. */
  readonly freeMemoryBytes: number;
  /** Undefined on machines without one. */
  readonly battery: BatteryState | undefined;
  /** The hottest thermal zone. */
  readonly hottestCelsius: number | undefined;
}

/** Bytes of memory that this program may use, and of it what is free. */
export interface Memory {
  readonly total: number;
  readonly free: number;
}

/** Memory within the limit of a container (cgroup), where there is one. Reads several files: about 0.1 ms. */
function memoryBytes(): Memory {
  const machine = totalmem();
  // Node.js gives 0, or a number beyond any machine, where there is no limit.
  const constrained = process.constrainedMemory();
  const total = constrained > 0 && constrained < machine ? constrained : machine;
  const free = typeof process.availableMemory === "function" ? process.availableMemory() : freemem();
  return { total, free: Math.min(free, total) };
}

/**
 * A memory reading for callers at every request: read again only when it is older than `maxAgeMs`, by default half a second, in
 * which a network is not loaded.
 *
 * @example
 * ```ts
 * import { memoryMeter, systemClock } from "@longshore/nodejs";
 *
 * const memory = memoryMeter(systemClock());
 * console.log(memory().total > 0); // true
 * ```
 */
export function memoryMeter(
  clock: Clock,
  maxAgeMs: number = 500,
  read: () => Memory = memoryBytes,
): () => Memory {
  let last: Memory | undefined;
  let readAtMs = 0;
  return () => {
    const nowMs = clock.nowMs();
    if (!last || nowMs - readAtMs > maxAgeMs) {
      last = read();
      readAtMs = nowMs;
    }
    return last;
  };
}

/**
 * Reads the facts. `sysClass` is where Linux shows its devices (`/sys/class`); elsewhere battery and temperature are
 * undefined.
 *
 * @example
 * ```ts
 * import { deviceFacts } from "@longshore/nodejs";
 *
 * const facts = await deviceFacts();
 * console.log(facts.cores > 0); // true
 * ```
 */
export async function deviceFacts(sysClass: string = "/sys/class"): Promise<DeviceFacts> {
  const [battery, zones] = await Promise.all([readBattery(sysClass), readThermalZones(sysClass)]);
  const { total, free } = memoryBytes();
  return {
    platform: process.platform,
    architecture: process.arch,
    processor: cpus()[0]?.model.trim() || undefined,
    cores: availableParallelism(),
    totalMemoryBytes: total,
    freeMemoryBytes: free,
    battery,
    hottestCelsius: zones.length === 0 ? undefined : Math.max(...zones),
  };
}
