import { type Call, type SequencePosition, silentObserver, type Tensors } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  createEngine,
  type Engine,
  inlineLane,
  pureTransforms,
  type Runtime,
  transformSet,
} from "@longshore/engine";
import { onnxSource } from "@longshore/graph";
import {
  folderStore,
  mediaTransforms,
  onnxRuntime,
  sha256,
  systemClock,
  systemRandom,
} from "@longshore/nodejs";
import { sampleRepository } from "./repository.ts";

/** An engine over the sample repository that serves every variant, for measuring and testing the samples. */
export interface SampleEngine {
  readonly engine: Engine;
  /** Runs a whole model once; `variant` is empty for the default. */
  run(model: string, variant: string, inputs: Tensors, sequence?: SequencePosition): Promise<Tensors>;
  close(): Promise<void>;
}

/** `runtime` is closed with the engine. */
export function sampleEngine(runtime: Runtime = onnxRuntime()): SampleEngine {
  const transforms = transformSet(...pureTransforms(), ...mediaTransforms());
  const clock = systemClock();
  const lane = inlineLane(transforms, clock);
  const call: Call = housekeepingCall("samples");
  const engine = createEngine({
    info: {
      id: "samples",
      // Variants may be for the cloud only; this endpoint is to run them all.
      tier: "cloud",
      zone: "device",
      trust: "vouched",
      codecs: [],
      state: "resident",
      offers: false,
      rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
    },
    store: folderStore(sampleRepository()),
    source: onnxSource({ sha256 }),
    runtimes: [runtime],
    transforms,
    lane,
    clock,
    random: systemRandom(),
    observer: silentObserver,
    sha256,
  });
  return {
    engine,
    async run(model, variant, inputs, sequence) {
      const segment = { model, version: "", digest: "", variant, from: "start", to: "end" };
      const request = { segment, inputs, codecs: {}, ...(sequence ? { sequence } : {}) };
      return (await engine.infer(request, call)).outputs;
    },
    async close() {
      await engine.close();
      await lane.close();
      await runtime.close();
    },
  };
}
