import { cpus } from "node:os";
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

/** How busy the machine and this program's event loop were since the last reading. */
export interface LoadReading {
  /** Share of all cores' time that was not idle, 0..1, over every program; undefined when no time has passed. */
  readonly busyRatio: number | undefined;
  /** How much later than due the event loop came to its timers: median and 99th percentile, in milliseconds. */
  readonly loopDelayP50Ms: number;
  readonly loopDelayP99Ms: number;
}

/** Measures from its making until it is disposed. */
export interface LoadMeter extends Disposable {
  /** Since the last `read`; of delays, since the event loop next came to its timers. */
  read(): LoadReading;
}

/** Totals of all cores in milliseconds: idle, and all together. */
export interface CoreTimes {
  readonly idle: number;
  readonly all: number;
}

/** The totals from the operating system. */
export function systemCoreTimes(): CoreTimes {
  let idle = 0;
  let all = 0;
  for (const { times } of cpus()) {
    idle += times.idle;
    all += times.user + times.nice + times.sys + times.irq + times.idle;
  }
  return { idle, all };
}

/** How often the event loop's delay is sampled; its report includes this, which is subtracted again. */
const resolutionMs = 10;

function delayMs(histogram: IntervalHistogram, percentile: number): number {
  if (histogram.count === 0) return 0;
  return Math.max(0, histogram.percentile(percentile) / 1e6 - resolutionMs);
}

/**
 * Starts to measure. `coreTimes` is where the totals come from; default the operating system.
 *
 * @example
 * ```ts
 * import { loadMeter } from "@longshore/nodejs";
 *
 * const meter = loadMeter();
 * console.log(typeof meter); // object
 * ```
 */
export function loadMeter(coreTimes: () => CoreTimes = systemCoreTimes): LoadMeter {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  let last = coreTimes();
  return {
    read() {
      const now = coreTimes();
      const passed = now.all - last.all;
      const busyRatio =
        passed > 0 ? Math.min(1, Math.max(0, 1 - (now.idle - last.idle) / passed)) : undefined;
      last = now;
      const reading = {
        busyRatio,
        loopDelayP50Ms: delayMs(histogram, 50),
        loopDelayP99Ms: delayMs(histogram, 99),
      };
      histogram.reset();
      return reading;
    },
    [Symbol.dispose]: () => void histogram.disable(),
  };
}
