import { describe, expect, it } from "vitest";
import {
  type BucketProfile,
  type CutProfile,
  type EndpointInfo,
  float32Tensor,
  type Offer,
  type Profile,
  type TensorSpec,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall, meanOf } from "@longshore/core/internal";
import {
  manualClock,
  type ManualClock,
  memoryFile,
  memoryRuntime,
  type MemoryStore,
  memoryStore,
  settle,
  type MemoryModels,
  memoryEngineParts,
} from "@longshore/testkit";
import { createEngine, type Engine } from "./engine.ts";

const call = housekeepingCall("test");
const fp32 = (name: string): TensorSpec => ({ name, datatype: "FP32", shape: [-1, 2] });
const models: MemoryModels = {
  m: {
    inputs: [fp32("x")],
    outputs: ["y"],
    stages: [
      { takes: ["x"], gives: [fp32("h")], runMs: 10, run: (feeds) => new Map([["h", feeds.get("x")!]]) },
      { takes: ["h"], gives: [fp32("y")], runMs: 30, run: (feeds) => new Map([["y", feeds.get("h")!]]) },
    ],
  },
};
const info: EndpointInfo = {
  id: "edge-1",
  tier: "edge",
  zone: "eu/store-7",
  trust: "operated",
  codecs: ["raw", "fp16"],
  state: "movable",
  offers: true,
  rates: { microsPerSecond: 100, microsPerMegabyte: 0, activeWatts: 4 },
};

interface World {
  readonly clock: ManualClock;
  readonly store: MemoryStore;
  readonly engine: Engine;
}

function world(slowness: () => number = () => 1, rates: EndpointInfo["rates"] = info.rates): World {
  const clock = manualClock(1000);
  const store = memoryStore({ "m/1/model.onnx": memoryFile("m") });
  const runtime = memoryRuntime({ models, clock, slowness });
  const engine = createEngine({
    ...memoryEngineParts({ clock, models, store, runtime }),
    info: { ...info, rates },
  });
  return { clock, store, engine };
}

const run = async ({ clock, engine }: World, rows = 1): Promise<void> => {
  const inputs = tensorsOf(float32Tensor("x", [rows, 2], new Float32Array(rows * 2)));
  const segment = { model: "m", version: "", digest: "", variant: "", from: "start", to: "end" };
  await clock.finish(engine.infer({ segment, inputs, codecs: {} }, call));
};

const cutProfile = (id: string, headMs: number, tailMs: number, bytes: number): CutProfile => ({
  cut: { id, crossing: [], reveals: "features" },
  headMs: [headMs],
  tailMs: [tailMs],
  headMemoryBytes: 0,
  codings: [{ codecs: {}, bytes, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
});

const bucket = (bytes: number, factor: number): BucketProfile => ({
  upTo: { bytes },
  typical: { bytes },
  runs: 5,
  legalCuts: 3,
  cuts: [
    cutProfile("start", 0, 20 * factor, bytes),
    cutProfile("c1", 5 * factor, 15 * factor, bytes),
    cutProfile("end", 20 * factor, 0, 8),
  ],
});

/** Puts a profile into the package that claims half of what a run takes here. */
async function profiled(change: Partial<Profile> = {}, slowness?: () => number): Promise<World> {
  const made = world(slowness);
  const knowledge = await made.engine.describe("m", undefined, call);
  const profile: Profile = {
    schemaVersion: 1,
    model: "m",
    version: "1",
    digest: knowledge?.description.digest ?? "",
    measuredOn: { runtime: "memory", threads: 1, description: "test" },
    variants: [
      { variant: "default", agreementRatio: 1, accuracyRatio: 0.9, buckets: [bucket(8, 1), bucket(80, 10)] },
    ],
    ...change,
  };
  made.store.put("m/1/profile.json", JSON.stringify(profile));
  await made.clock.finish(made.engine.load("m", undefined, call));
  return made;
}

const means = (offers: readonly Offer[]): readonly (readonly [string, number, number])[] =>
  offers.map(
    ({ segment, upTo, completionMs }) =>
      [segment.from, upTo.bytes, Math.round(meanOf(completionMs))] as const,
  );

describe("offers", () => {
  it("tell only the time of a load without a profile until a run, and then promise the measured times", async () => {
    const made = world();
    const [cold, ...others] = await made.engine.offers({ model: "m" }, call);
    expect(others).toEqual([]);
    expect(cold).toMatchObject({ origin: "inferred", segment: { from: "start", to: "end" } });
    expect(cold?.loadMs).toBeGreaterThan(0);
    await made.clock.finish(made.engine.capabilities.prepare(cold!.segment, call));
    expect(await made.engine.offers({ model: "m" }, call)).toEqual([]);
    for (let count = 0; count < 10; count++) await run(made);
    const offers = await made.engine.offers({ model: "m" }, call);
    const { digest } = (await made.engine.describe("m", undefined, call))!.description;
    expect(offers).toEqual([
      {
        segment: { model: "m", version: "1", digest, variant: "default", from: "start", to: "end" },
        path: ["edge-1"],
        zones: ["eu/store-7"],
        trust: "operated",
        completionMs: { values: new Float64Array(16).fill(40), observedAtMs: 1400, origin: "measured" },
        queueMs: 0,
        energyMillijoules: 160,
        costMicros: 4,
        agreementRatio: 1,
        upTo: { bytes: Infinity },
        codecs: ["raw", "fp16"],
        expiresAtMs: 1400 + 5000,
        origin: "promised",
      },
    ]);
  });

  it("tell the most that a run costs where a part of the price does not grow with its time", async () => {
    let count = 0;
    const made = world(() => (count++ % 5 === 0 ? 9 : 1), { ...info.rates, microsPerRequest: 7 });
    for (let runs = 0; runs < 20; runs++) await run(made);
    const [offer] = await made.engine.offers({ model: "m" }, call);
    const { completionMs, costMicros, mostMicros } = offer!;
    expect(costMicros).toBeCloseTo(7 + 0.1 * meanOf(completionMs));
    expect(mostMicros).toBeCloseTo(7 + 0.1 * completionMs.values[15]!);
    expect(completionMs.values[15]).toBeGreaterThan(2 * meanOf(completionMs));
  });

  it("promise as much of another version, or of a model of another name, with the same content, under its own name", async () => {
    const made = world();
    for (const version of ["m/2", "copy/1"]) made.store.put(`${version}/model.onnx`, memoryFile("m"));
    await run(made);
    for (const [model, version] of [
      ["m", "1"],
      ["m", "2"],
      ["copy", "1"],
    ] as const) {
      const [{ segment } = {}] = await made.engine.offers({ model, version }, call);
      expect(segment).toMatchObject({ model, version, from: "start", to: "end" });
    }
  });

  it("come from the profile, one for each tail and bucket, and say that nothing was measured here yet", async () => {
    const { engine } = await profiled();
    const offers = await engine.offers({ model: "m" }, call);
    expect(offers.map(({ segment, upTo }) => [segment.from, upTo.bytes])).toEqual([
      ["start", 8],
      ["c1", 8],
      ["start", 80],
      ["c1", 80],
    ]);
    expect(offers[0]).toMatchObject({ accuracyRatio: 0.9, completionMs: { origin: "prior" } });
    expect(
      (await engine.offers({ model: "m", features: { bytes: 40 } }, call)).map(({ upTo }) => upTo.bytes),
    ).toEqual([80, 80]);
  });

  it("scale the profile by how fast this endpoint has shown itself to be", async () => {
    const made = await profiled();
    for (let count = 0; count < 8; count++) await run(made);
    expect(means(await made.engine.offers({ model: "m" }, call))).toEqual([
      ["start", 8, 40],
      ["c1", 8, 30],
      ["start", 80, 400],
      ["c1", 80, 300],
    ]);
  });

  it("follow an endpoint that becomes slower", async () => {
    let slowness = 1;
    const made = await profiled({}, () => slowness);
    for (let count = 0; count < 16; count++) await run(made);
    slowness = 3;
    for (let count = 0; count < 16; count++) await run(made);
    expect(means(await made.engine.offers({ model: "m", features: { bytes: 8 } }, call))[0]?.[2]).toBe(120);
  });

  it("forget a first run that was cold", async () => {
    let slowness = 5;
    const made = await profiled({}, () => slowness);
    await run(made);
    slowness = 1;
    await run(made);
    await run(made);
    expect(means(await made.engine.offers({ model: "m", features: { bytes: 8 } }, call))[0]?.[2]).toBe(40);
  });

  it("contain the queue as it is now", async () => {
    const made = await profiled();
    await run(made);
    const inputs = tensorsOf(float32Tensor("x", [1, 2], new Float32Array(2)));
    const segment = { model: "m", version: "", digest: "", variant: "", from: "start", to: "end" };
    const three = [1, 2, 3].map(() => made.engine.infer({ segment, inputs, codecs: {} }, call));
    await settle();
    const [offer] = await made.engine.offers({ model: "m", features: { bytes: 8 } }, call);
    expect(offer?.queueMs).toBe(120);
    expect(offer && Math.round(meanOf(offer.completionMs))).toBe(120 + 40);
    expect(made.engine.loadReport()).toMatchObject({ inFlight: 3, queueMs: 120, cpuRatio: 1 });
    await made.clock.finish(Promise.all(three));
  });

  it("tell how long loading takes, until it is loaded", async () => {
    const { clock, engine } = await profiled();
    const tail = async (from: string): Promise<Offer> => {
      const offers = await engine.offers({ model: "m", features: { bytes: 8 } }, call);
      return offers.find(({ segment }) => segment.from === from)!;
    };
    // A model that was put in place of another is loaded whole.
    expect(await tail("start")).not.toHaveProperty("loadMs");
    const cold = await tail("c1");
    expect(cold.loadMs).toBeGreaterThan(0);
    expect(engine.capabilities.loadMs(cold.segment)).toBe(cold.loadMs);
    await clock.finish(engine.capabilities.prepare(cold.segment, call));
    expect(await tail("c1")).not.toHaveProperty("loadMs");
    expect(engine.capabilities.loadMs(cold.segment)).toBe(0);
  });

  it("are not made for a model that is not here, and none while shutting down", async () => {
    const { engine } = world();
    await expect(engine.offers({ model: "nobody" }, call)).rejects.toMatchObject({ reason: "unknown-model" });
    expect(await engine.describe("nobody", undefined, call)).toBeUndefined();
    await engine.drain();
    expect(await engine.offers({ model: "m" }, call)).toEqual([]);
  });
});
