/**
 * A device that becomes slower and recovers while it runs one model again and again, on a virtual clock: heat slows it little
 * by little, or all at once where the system lowers a frequency; a busy processor slows it from one run to the next.
 */
import {
  createOffloader,
  type EndpointInfo,
  type Inputs,
  seededRandom,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import { simulatedEndpoint, virtualClock } from "../world/index.ts";
import { plainModel, typicalInputs } from "./profiled-model.ts";

/** The factor on the time of a run by its index after the change began; before it, the device is as it was. */
export type Slowdown = (run: number) => number;

const between = (from: number, to: number, runs: number): Slowdown => {
  return (run) => from + (to - from) * Math.min(1, Math.max(0, run / runs));
};
const at = (from: number, to: number): Slowdown => {
  return (run) => (run < 0 ? from : to);
};
const swinging = (factor: number, runs: number): Slowdown => {
  return (run) => (run >= 0 && Math.floor(run / runs) % 2 === 0 ? factor : 1);
};

/** A change of speed that devices know. */
export type SlowdownName =
  | "steady"
  | "heats up within 200 runs"
  | "heats up within 60 runs"
  | "heats up within 20 runs"
  | "cools within 60 runs"
  | "throttled by 1.2"
  | "throttled by 1.6"
  | "busy, by 2"
  | "throttle ends"
  | "rests after busy"
  | "throttled and not, 30 runs each"
  | "throttled and not, 10 runs each";

/** Changes of speed by name. */
export const slowdowns: Readonly<Record<SlowdownName, Slowdown>> = {
  steady: at(1, 1),
  "heats up within 200 runs": between(1, 1.6, 200),
  "heats up within 60 runs": between(1, 1.6, 60),
  "heats up within 20 runs": between(1, 1.6, 20),
  "cools within 60 runs": between(1.6, 1, 60),
  "throttled by 1.2": at(1, 1.2),
  "throttled by 1.6": at(1, 1.6),
  "busy, by 2": at(1, 2),
  "throttle ends": at(1.6, 1),
  "rests after busy": at(2, 1),
  "throttled and not, 30 runs each": swinging(1.5, 30),
  "throttled and not, 10 runs each": swinging(1.5, 10),
};

/** The forecast of a run, and its mean time. */
export interface ForetoldRun {
  readonly foretoldMs: number;
  readonly trueMs: number;
}

/** The forecasts for a device. */
export interface SlowedDevice {
  readonly slowdown: Slowdown;
  /** Runs before the change, and from it on, which are returned. */
  readonly settledRuns: number;
  readonly runs: number;
  /** Standard deviation of the logarithm of what a run takes. */
  readonly logSpread: number;
  readonly seed: number;
}

const runMs = 100;
const info: EndpointInfo = {
  id: "device",
  tier: "device",
  zone: "device",
  trust: "operated",
  codecs: [],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 2 },
};

/** Runs it through the real offloader, one run after the other. */
export async function slowedDevice(parts: SlowedDevice): Promise<readonly ForetoldRun[]> {
  const { slowdown, settledRuns, runs, logSpread, seed } = parts;
  const clock = virtualClock();
  const { model } = plainModel({ bytes: 1000, localMs: runMs, serverMs: runMs });
  const device = simulatedEndpoint({
    info,
    models: [model],
    clock,
    random: seededRandom(seed),
    logSpread,
  });
  await using offloader = createOffloader({
    local: device,
    policy: standardPolicy(),
    links: () => undefined,
    clock,
    random: seededRandom(seed),
    observer: silentObserver,
    defaults: { dataClass: "public" },
  });
  const inputs: Inputs = Object.fromEntries(typicalInputs(model));
  const found: ForetoldRun[] = [];
  for (let run = -settledRuns; run < runs; run++) {
    device.faults.slowFactor = slowdown(run);
    const result = await clock.runUntil(offloader.infer(model.description.name, inputs));
    if (run < 0) continue;
    const trueMs = runMs * slowdown(run) * Math.exp(logSpread ** 2 / 2);
    found.push({ foretoldMs: result.predictedMs, trueMs });
  }
  return found;
}

/** The most runs in a row of which more than that share was foretold wrong. */
export function longestOff(foretold: readonly ForetoldRun[], offRatio: number): number {
  let longest = 0;
  let now = 0;
  for (const { foretoldMs, trueMs } of foretold) {
    now = Math.abs(foretoldMs / trueMs - 1) > offRatio ? now + 1 : 0;
    longest = Math.max(longest, now);
  }
  return longest;
}
