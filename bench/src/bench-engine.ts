import { silentObserver } from "@longshore/core";
import {
  createEngine,
  type Engine,
  type EngineLimits,
  inlineLane,
  type ModelStore,
  pureTransforms,
  type Runtime,
  transformSet,
} from "@longshore/engine";
import { onnxSource } from "@longshore/graph";
import { sha256, systemClock, systemRandom } from "@longshore/nodejs";

/** An engine in this thread with one runtime, transforms without media, and no observer. */
export function benchEngine(store: ModelStore, runtime: Runtime, limits: Partial<EngineLimits> = {}): Engine {
  const clock = systemClock();
  const transforms = transformSet(...pureTransforms());
  return createEngine({
    info: {
      id: "here",
      tier: "device",
      zone: "device",
      trust: "operated",
      codecs: [],
      state: "movable",
      offers: true,
      rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 6 },
    },
    store,
    source: onnxSource({ sha256 }),
    runtimes: [runtime],
    transforms,
    lane: inlineLane(transforms, clock),
    clock,
    random: systemRandom(),
    observer: silentObserver,
    sha256,
    limits,
  });
}
