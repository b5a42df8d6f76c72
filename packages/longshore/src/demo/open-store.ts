import { readFile } from "node:fs/promises";
import {
  type Endpoint,
  fp16Codec,
  type InferenceRequest,
  int8Codec,
  LongshoreError,
  type PortSpec,
  type Profile,
  silentObserver,
  startCut,
  endCut,
  tensorOf,
  type Tensor,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Trace } from "@longshore/lab";
import { folderStore, jpegCodec, systemClock, systemRandom } from "@longshore/nodejs";
import { dial, serverInfo } from "../connect/dial.ts";
import { measureModel } from "../profile/measure.ts";
import { openEngine, type OpenedEngine } from "../engine/open-engine.ts";
import { type SampleFile, type SamplesPackage, samplesPackage } from "../engine/samples.ts";
import { platformTransforms } from "../engine/transforms.ts";
import { readInputFiles } from "../inputs/read-inputs.ts";
import { type DemoEndpoint, startEndpoint } from "./endpoint.ts";
import type { EndpointSettings } from "./endpoint-messages.ts";
import { type Ready, voiceFrames } from "./play.ts";
import { profiledStore } from "./profiled-store.ts";
import type { Scene } from "./scenes.ts";
import type { Store } from "./world.ts";

/** The opened store with what comes with it. Dispose of it: child processes end with it. */
export interface OpenedStore extends Store, AsyncDisposable {
  readonly samples: SamplesPackage;
  /** Inputs of a scene as its model takes them. */
  inputsOf(scene: Scene): Promise<readonly Ready[]>;
  /** Models that were measured when the store opened, because the repository has no profile of them. */
  readonly measured: readonly string[];
}

/** The options of opening. */
export interface StoreOptions {
  readonly scenes: readonly Scene[];
  readonly seed: number;
  readonly trace: Trace | undefined;
  readonly stop: AbortSignal;
  readonly progress: (words: string) => void;
}

/** Models whose cuts matter in a scene: without a profile they are measured. The rest are learnt from their runs. */
const profiledModels = new Set(["ocr-frame", "anomaly"]);

/** Starts the device's engine, the edge box and the cloud, and runs every model once in each endpoint. */
export async function openStore(options: StoreOptions): Promise<OpenedStore> {
  const { scenes, seed, trace, stop, progress } = options;
  const samples = await samplesPackage();
  if (!samples) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      "the demonstration needs the sample models: npm install @longshore/samples",
    );
  }
  const repository = samples.sampleRepository();
  const files = new Map(samples.sampleInputs().map((one) => [one.file, one]));
  const profiles = await missingProfiles(repository, files, options);
  const opened: { close(): Promise<unknown> }[] = [];
  const closeAll = async (): Promise<void> => {
    for (const one of opened.splice(0).reverse()) await one.close();
  };
  try {
    progress("starting the device, the edge box and the cloud");
    const device = openEngine({
      store: profiledStore(folderStore(repository), profiles),
      runtime: "wasm",
      rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 4 },
    });
    opened.push(device);
    const settings = (id: "edge" | "cloud"): EndpointSettings => ({
      id,
      tier: id,
      zone: id === "edge" ? "eu/store-7" : "eu/region-1",
      repository,
      profiles,
      microsPerSecond: id === "edge" ? 0 : 30,
    });
    const start = async (id: "edge" | "cloud"): Promise<DemoEndpoint> => {
      const started = await startEndpoint(settings(id), stop);
      opened.push(started);
      return started;
    };
    const [edge, cloud] = await Promise.all([start("edge"), start("cloud")]);
    const inputsOf = (scene: Scene): Promise<readonly Ready[]> => readyInputs(scene, device, files, stop);
    for (const scene of onePerModel(scenes)) {
      const inputs = await inputsOf(scene);
      progress(`loading ${scene.model} on the device, the edge box and in the cloud`);
      const best = scenes.some((one) => one.model === scene.model && one.limits?.objective === "accuracy");
      // One at a time: the times of runs are learnt from these. With another one beside it, an endpoint would seem slower than its rivals.
      await device.engine.load(scene.model, undefined, housekeepingCall("load", stop));
      await warm(device.engine, scene.model, inputs, undefined, stop);
      await warmEndpoint(edge, scene.model, inputs, undefined, stop);
      await warmEndpoint(cloud, scene.model, inputs, undefined, stop);
      if (best) await warmEndpoint(cloud, scene.model, inputs, "960", stop);
    }
    return {
      engine: device.engine,
      edge,
      cloud,
      seed,
      trace,
      samples,
      inputsOf,
      measured: Object.keys(profiles),
      async spareEdge(scene) {
        const spare = await start("edge");
        await warmEndpoint(spare, scene.model, await inputsOf(scene), undefined, stop);
        return spare;
      },
      [Symbol.asyncDispose]: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

function onePerModel(scenes: readonly Scene[]): readonly Scene[] {
  return [...new Map(scenes.map((scene) => [scene.model, scene])).values()];
}

/** Profiles of unmeasured models whose cuts matter: quick ones, with few cuts and codecs, on this machine. */
async function missingProfiles(
  repository: string,
  files: ReadonlyMap<string, SampleFile>,
  { scenes, stop, progress }: StoreOptions,
): Promise<Readonly<Record<string, Profile>>> {
  const wanted = onePerModel(scenes).filter(({ model }) => profiledModels.has(model));
  if (wanted.length === 0) return {};
  const call = housekeepingCall("measure", stop);
  const profiles: Record<string, Profile> = {};
  const native = openEngine({ store: folderStore(repository) });
  try {
    for (const scene of wanted) {
      const knowledge = await native.engine.describe(scene.model, undefined, call);
      if (!knowledge || knowledge.profile) continue;
      const ready = await readyInputs(scene, native, files, stop);
      profiles[scene.model] = await measureModel(
        {
          engine: native.engine,
          clock: systemClock(),
          model: scene.model,
          runtime: "onnxruntime",
          samples: ready.slice(0, 1).map(({ inputs }) => new Map(Object.entries(inputs))),
          rounds: scene.model === "anomaly" ? 5 : 1,
          maxCuts: 3,
          variants: knowledge.description.variants.slice(0, 1).map(({ name }) => name),
          codecs: scene.model === "anomaly" ? [fp16Codec, int8Codec] : [jpegCodec(85), jpegCodec(95)],
          progress: ({ measured, chosen }) =>
            progress(`measuring ${scene.model}: ${measured} of ${chosen} cuts`),
        },
        call,
      );
    }
  } finally {
    await native.close();
  }
  return profiles;
}

async function readyInputs(
  scene: Scene,
  { engine }: Pick<OpenedEngine, "engine">,
  files: ReadonlyMap<string, SampleFile>,
  stop: AbortSignal,
): Promise<readonly Ready[]> {
  const knowledge = await engine.describe(scene.model, undefined, housekeepingCall("describe", stop));
  if (!knowledge)
    throw new LongshoreError("unknown-model", "resolve", `the samples have no model ${scene.model}`);
  const ready: Ready[] = [];
  for (const file of scene.files) {
    const sample = files.get(file);
    if (!sample) throw new LongshoreError("invalid-input", "resolve", `the samples have no ${file}`);
    ready.push({ sample, inputs: await read(sample, knowledge.description.inputs) });
  }
  return ready;
}

async function read(
  sample: SampleFile,
  ports: readonly PortSpec[],
): Promise<Readonly<Record<string, Tensor>>> {
  if (sample.kind !== "sound") return readInputFiles([sample.path], ports, platformTransforms());
  const bytes = new Uint8Array(await readFile(sample.path));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = Float32Array.from(
    { length: bytes.byteLength >> 1 },
    (_, at) => view.getInt16(2 * at, true) / 32_768,
  );
  return { sound: tensorOf("sound", "FP32", [values.length], new Uint8Array(values.buffer)) };
}

/**
 * Runs a model in an endpoint, past all links, so that it is loaded and its time is known there: once with each input, since the time
 * of a model depends on its input, and an endpoint that ran only the largest would seem slower than one that ran all.
 */
async function warm(
  endpoint: Endpoint,
  model: string,
  inputs: readonly Ready[],
  variant: string | undefined,
  stop: AbortSignal,
): Promise<void> {
  const [first] = inputs;
  if (!first) return;
  const [frame] = first.inputs["sound"] ? voiceFrames(new Float32Array(576 * 2)) : [];
  const call = housekeepingCall("warm", stop);
  const knowledge = await endpoint.describe(model, undefined, call);
  if (!knowledge)
    throw new LongshoreError("unknown-model", "resolve", `${endpoint.info.id} has no model ${model}`);
  const { version, digest, variants } = knowledge.description;
  const requestFor = (given: Ready["inputs"]): InferenceRequest => ({
    segment: {
      model,
      version,
      digest,
      variant: variant ?? variants[0]?.name ?? "",
      from: startCut,
      to: endCut,
    },
    inputs: new Map(Object.entries(given)),
    codecs: {},
    ...(frame ? { sequence: { id: "warm", step: 0, end: true, wantState: false } } : {}),
  });
  // The first run loads, the others tell what a run takes.
  const each = frame ? [frame] : inputs.map((ready) => ready.inputs);
  for (const given of [each[0] ?? first.inputs, ...each]) await endpoint.infer(requestFor(given), call);
}

async function warmEndpoint(
  server: DemoEndpoint,
  model: string,
  inputs: readonly Ready[],
  variant: string | undefined,
  stop: AbortSignal,
): Promise<void> {
  const info = serverInfo({
    address: server.address,
    id: server.id,
    tier: server.settings.tier,
    zone: server.settings.zone,
  });
  const endpoint = dial(info, { clock: systemClock(), random: systemRandom(), observer: silentObserver });
  try {
    await warm(endpoint, model, inputs, variant, stop);
  } finally {
    await endpoint.close();
  }
}
