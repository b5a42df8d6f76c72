import { beforeEach, describe, expect, it } from "vitest";
import {
  type Call,
  float32Tensor,
  float32View,
  type InferenceResponse,
  LongshoreError,
  type LongshoreEvent,
  type Tensors,
  type TensorSpec,
  tensorsOf,
} from "@longshore/core";
import { childCall, housekeepingCall } from "@longshore/core/internal";
import {
  manualClock,
  memoryFile,
  type MemoryModel,
  type MemoryModels,
  memoryRuntime,
  type MemoryStore,
  memoryStore,
  oneStage,
  settle,
  memoryEngineParts,
} from "@longshore/testkit";
import { watchModels } from "../repository/watch.ts";
import { createEngine, type Engine } from "./engine.ts";
import type { EngineParts } from "./engine-parts.ts";

/** Models coming and going: policies, labels, overrides, budgets, shared resources, warm-up, watching. */
const call = housekeepingCall("test");
const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });
const first = (feeds: Tensors): number => {
  const [tensor] = feeds.values();
  return tensor ? (float32View(tensor)[0] ?? 0) : 0;
};
/** Called when a run of `slow` ends. */
let ranSlow: () => unknown = () => undefined;
/** Gives its input plus a number, which tells the contents apart. */
const plus = (by: number, runMs = 1) =>
  oneStage([fp32("x", -1, 1)], [fp32("y", -1, 1)], runMs, (feeds) => {
    if (runMs === 100) ranSlow();
    if (first(feeds) === 666) throw new LongshoreError("run-failed", "execute", "planted");
    const rows = [...feeds.values()][0]?.spec.shape[0] ?? 1;
    return tensorsOf(float32Tensor("y", [rows, 1], new Float32Array(rows).fill(first(feeds) + by)));
  });
/** The same of 1 twice, with a cut between. */
function inTwo(): MemoryModel {
  const stage = (takes: string, gives: string): MemoryModel["stages"][number] => ({
    takes: [takes],
    gives: [fp32(gives, -1, 1)],
    runMs: 1,
    run: (feeds) => tensorsOf(float32Tensor(gives, [1, 1], Float32Array.of(first(feeds) + 1))),
  });
  return { inputs: [fp32("x", -1, 1)], outputs: ["y"], stages: [stage("x", "t"), stage("t", "y")] };
}
const models: MemoryModels = {
  one: plus(1),
  two: plus(2),
  three: plus(3),
  slow: plus(0, 100),
  long: inTwo(),
  single: oneStage([fp32("x", 1, 1)], [fp32("y", 1, 1)], 1, () => tensorsOf()),
};

let store: MemoryStore;
let clock: ReturnType<typeof manualClock>;
let runtime: ReturnType<typeof memoryRuntime>;

beforeEach(() => {
  clock = manualClock();
  runtime = memoryRuntime({ models, clock });
  store = memoryStore({ "m/1/model.onnx": memoryFile("one"), "m/2/model.onnx": memoryFile("two") });
});

function engineWith(parts: Partial<EngineParts> = {}): Engine {
  return createEngine({ ...memoryEngineParts({ clock, models, store, runtime }), ...parts });
}

const start = (engine: Engine, model: string, version = "", own: Call = call): Promise<InferenceResponse> =>
  engine.infer(
    {
      segment: { model, version, digest: "", variant: "", from: "start", to: "end" },
      inputs: tensorsOf(float32Tensor("x", [1, 1], Float32Array.of(10))),
      codecs: {},
    },
    own,
  );
const ask = async (engine: Engine, model: string, version = ""): Promise<number> =>
  first((await clock.finish(start(engine, model, version))).outputs);
const load = (engine: Engine, model: string, ...rest: [string?]): Promise<void> =>
  clock.finish(engine.load(model, rest[0], call));
const states = async (engine: Engine): Promise<Record<string, string>> =>
  Object.fromEntries(
    (await engine.index()).map(({ name, version, state, reason }) => [
      `${name}/${version}`,
      reason === undefined ? state : `${state}: ${reason}`,
    ]),
  );

describe("versions", () => {
  it.each([
    ["latest(2)", "version_policy { latest { num_versions: 2 } }", ["2", "3"]],
    ["the latest by default", "", ["3"]],
    ["all", "version_policy { all {} }", ["1", "2", "3"]],
    ["specific", "version_policy { specific { versions: [ 1, 3, 7 ] } }", ["1", "3"]],
  ])("are served by their policy: %s, and a load loads them all", async (_what, policy, served) => {
    store.put("m/3/model.onnx", memoryFile("three"));
    store.put("m/config.pbtxt", `backend: "onnxruntime" ${policy}`);
    const engine = engineWith();
    await load(engine, "m");
    expect(await states(engine)).toEqual(
      Object.fromEntries(served.map((version) => [`m/${version}`, "ready"])),
    );
    expect(runtime.loads).toHaveLength(served.length);
    expect(await ask(engine, "m")).toBe(13);
    const other = ["1", "2", "3"].find((version) => !served.includes(version));
    if (other) await expect(start(engine, "m", other)).rejects.toMatchObject({ reason: "unknown-version" });
  });

  it("that are there and that the policy does not serve are not said to be missing", async () => {
    store.put("m/config.pbtxt", `backend: "onnxruntime" version_policy { specific { versions: [ 7 ] } }`);
    const engine = engineWith();
    expect(await states(engine)).toEqual({ "m/": "unavailable: it has no version folder that is served" });
  });

  it("are found by labels, which follow a load", async () => {
    store.put("m/model.yaml", "versionLabels: { stable: 1, canary: 2 }");
    const engine = engineWith();
    expect([
      await ask(engine, "m", "stable"),
      await ask(engine, "m", "canary"),
      await ask(engine, "m"),
    ]).toEqual([11, 12, 12]);
    const labelled = await engine.describe("m", "stable", call);
    expect(labelled?.description.version).toBe("1");
    store.put("m/model.yaml", "versionLabels: { stable: 2 }");
    expect(await ask(engine, "m", "stable")).toBe(11);
    await load(engine, "m");
    expect(await ask(engine, "m", "stable")).toBe(12);
    await expect(start(engine, "m", "canary")).rejects.toMatchObject({
      reason: "unknown-version",
      message: expect.stringContaining("labels: stable") as string,
    });
    store.put(
      "t/config.pbtxt",
      'backend: "onnxruntime" parameters { key: "version_label.old" value { string_value: "1" } } version_policy { all {} }',
    );
    store.put("t/1/model.onnx", memoryFile("one"));
    store.put("t/2/model.onnx", memoryFile("two"));
    expect([await ask(engine, "t", "old"), await ask(engine, "t")]).toEqual([11, 12]);
  });

  it("are known without waiting once they were read, for as long as they are served", async () => {
    const engine = engineWith();
    expect(engine.capabilities.known?.("m", undefined, call)).toBeUndefined();
    const described = await engine.describe("m", undefined, call);
    expect(engine.capabilities.known?.("m", undefined, call)).toBe(described);
    expect(engine.capabilities.known?.("m", "2", call)).toBe(described);
    expect(engine.capabilities.known?.("m", "1", call)).toBeUndefined();
    await clock.finish(engine.unload("m", call));
    expect(engine.capabilities.known?.("m", undefined, call)).toBeUndefined();
    await load(engine, "m");
    expect(engine.capabilities.known?.("m", undefined, call)).toBe(
      await engine.describe("m", undefined, call),
    );
  });

  it("that are broken leave the earlier one, and the index says why", async () => {
    store.put("m/2/model.onnx", "no model");
    const engine = engineWith();
    expect(await ask(engine, "m")).toBe(11);
    const broken = await states(engine);
    expect(broken["m/1"]).toBe("ready");
    expect(broken["m/2"]).toMatch(/^unavailable: the file is not a memory model/);
    await expect(start(engine, "m", "2")).rejects.toMatchObject({ reason: "invalid-model" });
    store.put("m/2/model.onnx", memoryFile("two"));
    await load(engine, "m");
    expect(await ask(engine, "m")).toBe(12);
    expect((await states(engine))["m/2"]).toBe("ready");
  });

  it("keep their old content when the new one is broken, while the others are switched", async () => {
    store.put("m/config.pbtxt", 'backend: "onnxruntime" version_policy { all {} }');
    const engine = engineWith();
    await load(engine, "m");
    store.put("m/1/model.onnx", memoryFile("three"));
    store.put("m/2/model.onnx", "no model");
    await expect(load(engine, "m")).rejects.toMatchObject({
      reason: "invalid-model",
      message: expect.stringContaining("failed to load 'm'") as string,
    });
    expect([await ask(engine, "m", "1"), await ask(engine, "m", "2"), await ask(engine, "m")]).toEqual([
      13, 12, 12,
    ]);
    const after = await states(engine);
    expect(after["m/1"]).toBe("ready");
    expect(after["m/2"]).toMatch(/^ready: newer content is not served/);
  });

  it("that are new and cannot be loaded stand in the index until a load finds them gone", async () => {
    store.put("m/config.pbtxt", 'backend: "onnxruntime"');
    const engine = engineWith();
    await load(engine, "m");
    store.put("m/3/model.onnx", "no model");
    await expect(load(engine, "m")).rejects.toMatchObject({ reason: "invalid-model" });
    expect(await states(engine)).toEqual({
      "m/2": "ready",
      "m/3": expect.stringMatching(/^unavailable: the file is not/) as string,
    });
    store.remove("m/3/model.onnx");
    await load(engine, "m");
    expect(await states(engine)).toEqual({ "m/2": "ready" });
  });

  it("that came or went after the model was read wait for a load", async () => {
    const engine = engineWith();
    expect(await ask(engine, "m")).toBe(12);
    store.put("m/3/model.onnx", memoryFile("three"));
    await expect(start(engine, "m", "3")).rejects.toMatchObject({ reason: "unknown-version" });
    store.remove("m/2/model.onnx");
    expect(await ask(engine, "m")).toBe(12);
    await load(engine, "m");
    expect(await ask(engine, "m")).toBe(13);
    await expect(start(engine, "m", "2")).rejects.toMatchObject({ reason: "unknown-version" });
  });
});

describe("explicit control", () => {
  it("serves the loaded models and no others", async () => {
    store.put("n/1/model.onnx", memoryFile("three"));
    const engine = engineWith({ explicit: true });
    await expect(start(engine, "m")).rejects.toMatchObject({
      reason: "unknown-model",
      message: expect.stringContaining("Request for unknown model: 'm' is not found") as string,
    });
    await load(engine, "m");
    expect(await ask(engine, "m")).toBe(12);
    expect((await states(engine))["n/1"]).toBe("unloaded");
    await expect(load(engine, "nobody")).rejects.toMatchObject({
      reason: "unknown-model",
      message: expect.stringContaining("failed to load 'nobody'") as string,
    });
    await clock.finish(engine.unload("m", call));
    expect(runtime.open()).toBe(0);
    await expect(start(engine, "m")).rejects.toMatchObject({ reason: "unknown-model" });
  });

  it("unloads the models of a pipeline with it on request", async () => {
    store.put(
      "p/model.yaml",
      `inputs: [{ name: x, datatype: FP32, shape: [-1, 1] }]
pipeline: { steps: [{ id: s, model: m, inputs: { x: x } }], outputs: { y: s.y } }`,
    );
    const engine = engineWith();
    await load(engine, "p");
    await load(engine, "m");
    expect(await ask(engine, "p")).toBe(12);
    await clock.finish(engine.unload("p", call));
    expect(await ask(engine, "m")).toBe(12);
    // A model loaded by name stays.
    await load(engine, "p");
    await clock.finish(engine.unload("p", call, true));
    expect(await ask(engine, "m")).toBe(12);
    await clock.finish(engine.unload("m", call));
    await load(engine, "p");
    await clock.finish(engine.unload("p", call, true));
    await expect(start(engine, "m")).rejects.toMatchObject({ reason: "unknown-model" });
  });
});

describe("while it comes and goes, the index says of a model", () => {
  it("that it loads, also after an unload or a failure, and that its predecessor is ready", async () => {
    runtime = memoryRuntime({ models, clock, loadMs: 50 });
    const engine = engineWith({ explicit: true });
    for (const before of ["unloaded", "unavailable", "ready"]) {
      if (before === "unavailable") {
        store.put("m/2/model.onnx", "no model");
        await expect(load(engine, "m")).rejects.toMatchObject({ reason: "invalid-model" });
        store.put("m/2/model.onnx", memoryFile("three"));
      }
      expect((await states(engine))["m/2"]).toMatch(before);
      const loading = engine.load("m", undefined, call);
      await settle();
      expect((await states(engine))["m/2"]).toBe(before === "ready" ? "ready" : "loading");
      await clock.finish(loading);
      expect((await states(engine))["m/2"]).toBe("ready");
      if (before === "unloaded") await clock.finish(engine.unload("m", call));
    }
  });

  it("that it loads with the pipeline that it is a part of, and that it does no more where that fails", async () => {
    runtime = memoryRuntime({ models, clock, loadMs: 50 });
    store.put(
      "p/model.yaml",
      `inputs: [{ name: x, datatype: FP32, shape: [-1, 1] }]
pipeline: { steps: [{ id: s, model: m, inputs: { x: x } }], outputs: { y: s.y } }`,
    );
    const engine = engineWith({ explicit: true });
    const leave = new AbortController();
    const loading = engine.load("p", undefined, { ...call, abort: leave.signal });
    await settle();
    expect(await states(engine)).toMatchObject({ "p/1": "loading", "m/2": "loading" });
    leave.abort();
    await expect(loading).rejects.toMatchObject({ reason: "cancelled" });
    expect(await states(engine)).toMatchObject({
      "p/1": expect.stringMatching(/^unavailable/) as string,
      "m/2": "unloaded",
    });
  });

  it("that it is loaded in turn at an endpoint that loads on request, and that it unloads", async () => {
    runtime = memoryRuntime({ models, clock, loadMs: 50 });
    const engine = engineWith();
    const loading = engine.load("m", undefined, call);
    await settle();
    expect((await states(engine))["m/2"]).toBe("loading");
    await clock.finish(loading);
    const running = start(engine, "m");
    await settle();
    const unloading = engine.unload("m", call);
    await settle();
    expect((await states(engine))["m/2"]).toBe("unloading");
    await clock.finish(running);
    await clock.finish(unloading);
    expect((await states(engine))["m/2"]).toBe("unloaded");
  });
});

describe("the last of several changes to one model wins,", () => {
  const warmed =
    'max_batch_size: 4 model_warmup { name: "w" count: 5 batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 1 zero_data: true } } }';

  it("of two loads, also where the first takes longer", async () => {
    store.put("m/2/model.onnx", memoryFile("slow"));
    store.put("m/config.pbtxt", warmed);
    const engine = engineWith({ explicit: true });
    const before = engine.load("m", undefined, call);
    await clock.advance(10);
    store.put("m/2/model.onnx", memoryFile("three"));
    await clock.finish(Promise.all([before, engine.load("m", undefined, call)]));
    expect(await ask(engine, "m")).toBe(13);
  });

  it("of a load and an unload, which waits for none that was given up", async () => {
    runtime = memoryRuntime({ models, clock, loadMs: 50 });
    const engine = engineWith({ explicit: true });
    const leave = new AbortController();
    const loading = engine.load("m", undefined, call);
    await clock.advance(10);
    const second = engine.load("m", undefined, { ...call, abort: leave.signal });
    leave.abort();
    await expect(second).rejects.toMatchObject({ reason: "cancelled" });
    await clock.finish(Promise.all([loading, engine.unload("m", call)]));
    expect((await states(engine))["m/2"]).toBe("unloaded");
    expect(runtime.open()).toBe(0);
  });

  it("of an unload and a load, which does not wait for requests under way", async () => {
    store.put("m/2/model.onnx", memoryFile("slow"));
    const engine = engineWith({ explicit: true });
    await load(engine, "m");
    const running = start(engine, "m");
    await clock.advance(1);
    const unloading = engine.unload("m", call);
    await clock.finish(engine.load("m", undefined, call));
    expect(clock.nowMs()).toBeLessThan(100);
    expect((await states(engine))["m/2"]).toBe("ready");
    await clock.finish(Promise.all([running, unloading]));
    expect((await states(engine))["m/2"]).toBe("ready");
  });

  it("with a request that has the model read, and changes meanwhile", async () => {
    let slow = true;
    const { list } = store;
    const slowly: MemoryStore = {
      ...store,
      async list(path) {
        const entries = await list(path);
        if (slow && path === "m/2") await new Promise<void>((resolve) => void clock.timer(100, resolve));
        return entries;
      },
    };
    const engine = engineWith({ store: slowly });
    const refused = start(engine, "m");
    await clock.advance(1);
    await clock.finish(engine.unload("m", call));
    await expect(clock.finish(refused)).rejects.toMatchObject({ reason: "unknown-model" });
    expect((await states(engine))["m/2"]).toBe("unloaded");
    expect(runtime.open()).toBe(0);
    await load(engine, "m");
    await clock.finish(engine.unload("m", call));
    const other = engineWith({ store: slowly });
    const early = start(other, "m");
    await clock.advance(1);
    slow = false;
    store.put("m/config.pbtxt", "response_cache { enable: true }");
    await clock.finish(other.load("m", undefined, call));
    await clock.finish(early);
    expect(other.capabilities.known?.("m", undefined, call)?.description.responseCache).toBe(true);
  });

  it("with a request that has the model read, and changes at any instant of it", async () => {
    const [unloaded, stale]: number[][] = [[], []];
    for (let turns = 0; turns < 80; turns++) {
      const pass = async (): Promise<void> => {
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      };
      const engine = engineWith();
      const early = engine.describe("m", undefined, call).catch(() => undefined);
      await pass();
      await clock.finish(Promise.all([early, engine.unload("m", call)]));
      if ((await states(engine))["m/2"] !== "unloaded") unloaded?.push(turns);
      const other = engineWith();
      const config = '{"backend":"onnxruntime","response_cache":{"enable":true}}';
      const loading = other.load("m", undefined, call, { config });
      await pass();
      await clock.finish(Promise.all([loading, other.describe("m", undefined, call)]));
      if (!other.capabilities.known?.("m", undefined, call)?.description.responseCache) stale?.push(turns);
    }
    expect([unloaded, stale]).toEqual([[], []]);
  });
});

describe("a pipeline under explicit control", () => {
  const pipeline = `inputs: [{ name: x, datatype: FP32, shape: [-1, 1] }]
pipeline:
  steps: [{ id: s, model: m, inputs: { x: x } }, { id: t, model: n, inputs: { x: s.y } }]
  outputs: { y: t.y }`;
  beforeEach(() => {
    store.put("n/1/model.onnx", memoryFile("three"));
    store.put("p/model.yaml", pipeline);
  });

  it("brings the models that it is made of, which stay when it is unloaded without them", async () => {
    const engine = engineWith({ explicit: true });
    await load(engine, "p");
    expect(await ask(engine, "p")).toBe(15);
    expect(await states(engine)).toMatchObject({ "p/1": "ready", "m/2": "available", "n/1": "available" });
    expect(await ask(engine, "n")).toBe(13);
    await clock.finish(engine.unload("p", call));
    expect(await ask(engine, "m")).toBe(12);
    await load(engine, "p");
    await clock.finish(engine.unload("p", call, true));
    expect(await states(engine)).toMatchObject({ "p/1": "unloaded", "m/2": "unloaded", "n/1": "unloaded" });
  });

  it("keeps models that another pipeline uses when it is unloaded with its models", async () => {
    store.put("q/model.yaml", pipeline.replace("{ id: s, model: m", "{ id: s, model: n"));
    const engine = engineWith({ explicit: true });
    await load(engine, "p");
    await load(engine, "q");
    await clock.finish(engine.unload("p", call, true));
    expect(await ask(engine, "n")).toBe(13);
    await expect(start(engine, "m")).rejects.toMatchObject({ reason: "unknown-model" });
    await clock.finish(engine.unload("q", call, true));
    await expect(start(engine, "n")).rejects.toMatchObject({ reason: "unknown-model" });
  });

  it("keeps models of another pipeline without a request since one of its models was loaded", async () => {
    store.put("q/model.yaml", pipeline.replace("{ id: s, model: m", "{ id: s, model: n"));
    const engine = engineWith({ explicit: true });
    for (const model of ["p", "q", "m"]) await load(engine, model);
    await clock.finish(engine.unload("q", call, true));
    expect(await ask(engine, "n")).toBe(13);
    // The same of the one that is unloaded.
    await load(engine, "m");
    await clock.finish(engine.unload("p", call, true));
    await expect(start(engine, "n")).rejects.toMatchObject({ reason: "unknown-model" });
    expect(await ask(engine, "m")).toBe(12);
  });

  it("keeps the index entries of versions of its models that it does not use, or that are not served", async () => {
    store.put("m/config.pbtxt", 'backend: "onnxruntime" version_policy { all {} }');
    store.put("m/1/model.onnx", "no model");
    const engine = engineWith({ explicit: true });
    await expect(load(engine, "m")).rejects.toMatchObject({ reason: "invalid-model" });
    await load(engine, "p");
    expect((await states(engine))["m/1"]).toMatch(/^unavailable/);
    store.put("m/2/model.onnx", "no model");
    await expect(load(engine, "m")).rejects.toMatchObject({ reason: "invalid-model" });
    await load(engine, "p");
    expect((await states(engine))["m/2"]).toMatch(/^ready: newer content is not served/);
  });

  it("uses the served versions of its models, even if a newer one cannot be loaded", async () => {
    store.put("m/config.pbtxt", 'backend: "onnxruntime" version_policy { all {} }');
    const refusing: typeof runtime = {
      ...runtime,
      load: async (artifact, options, asked) => {
        const session = await runtime.load(artifact, options, asked);
        if (runtime.loads.at(-1)?.startsWith("slow"))
          throw new LongshoreError("invalid-model", "resolve", "planted");
        return session;
      },
    };
    const engine = engineWith({ runtimes: [refusing] });
    await load(engine, "p");
    expect(await ask(engine, "p")).toBe(15);
    const broken: readonly [string, string | Uint8Array][] = [
      ["m/3/model.onnx", "no model"],
      ["m/3/model.onnx", memoryFile("slow")],
      ["m/2/model.onnx", "no model"],
    ];
    for (const [path, content] of broken) {
      store.put(path, content);
      await expect(load(engine, "m")).rejects.toMatchObject({ reason: "invalid-model" });
      expect([await ask(engine, "m"), await ask(engine, "p")]).toEqual([12, 15]);
    }
    const other = engineWith({ runtimes: [refusing] });
    store.remove("m/3/model.onnx");
    expect([await ask(other, "p"), await ask(other, "m")]).toEqual([14, 11]);
    store.remove("m/1/model.onnx");
    await expect(start(engineWith(), "p")).rejects.toMatchObject({ reason: "invalid-model" });
  });

  it("is made of the newest content of its models, also where that was loaded while the pipeline was", async () => {
    runtime = memoryRuntime({ models, clock, loadMs: 50 });
    const engine = engineWith({ explicit: true });
    const loading = engine.load("p", undefined, call);
    await clock.advance(10);
    store.put("m/3/model.onnx", memoryFile("three"));
    await clock.finish(engine.load("m", undefined, call));
    expect(clock.nowMs()).toBeLessThan(100);
    await clock.finish(loading);
    expect([await ask(engine, "m"), await ask(engine, "p")]).toEqual([13, 16]);
    expect(runtime.open()).toBe(2);
  });

  it("leaves nothing loaded when one of its models cannot be", async () => {
    let loads = 0;
    const broken: typeof runtime = {
      ...runtime,
      load: (artifact, options, asked) =>
        ++loads === 2
          ? Promise.reject(new LongshoreError("invalid-model", "resolve", "planted"))
          : runtime.load(artifact, options, asked),
    };
    const engine = engineWith({ explicit: true, runtimes: [broken] });
    await expect(load(engine, "p")).rejects.toMatchObject({ reason: "invalid-model" });
    expect(loads).toBe(2);
    await settle();
    expect(runtime.open()).toBe(0);
    expect(await states(engine)).toMatchObject({ "m/2": "unloaded", "n/1": "unloaded" });
    await expect(start(engine, "p")).rejects.toMatchObject({ reason: "unknown-model" });
    await load(engine, "p");
    expect(await ask(engine, "p")).toBe(15);
  });
});

describe("a load with a configuration or files of its own", () => {
  it("takes Triton's JSON instead of the file, until the next load without", async () => {
    const engine = engineWith();
    await clock.finish(engine.load("m", undefined, call, { config: '{"max_batch_size":"16"}' }));
    const described = async () =>
      (await engine.describe("m", undefined, call))?.description.batching.maxBatchSize;
    expect(await described()).toBe(16);
    expect(await ask(engine, "m")).toBe(12);
    await load(engine, "m");
    expect(await described()).toBe(0);
  });

  it("takes files instead of all that lies in the folder, and serves a model that is not in the repository", async () => {
    const engine = engineWith({ explicit: true });
    const files = new Map([["1/model.onnx", memoryFile("three")]]);
    await clock.finish(engine.load("guest", undefined, call, { config: '{"backend":"onnxruntime"}', files }));
    expect(await ask(engine, "guest")).toBe(13);
    expect(await states(engine)).toMatchObject({ "guest/1": "ready" });
    await clock.finish(engine.unload("guest", call));
    expect(Object.keys(await states(engine))).not.toContain("guest/1");
    await clock.finish(engine.load("m", undefined, call, { config: "{}", files }));
    expect(await ask(engine, "m")).toBe(13);
    await expect(start(engine, "m", "2")).rejects.toMatchObject({ reason: "unknown-version" });
  });

  it.each([
    ["no JSON", { config: '"parameters": {' }, "invalid-configuration"],
    ["an unknown field", { config: '{"max_batch":"1"}' }, "invalid-configuration"],
    ["a wrong type", { config: '{"max_batch_size":[1]}' }, "invalid-configuration"],
    ["a list that is none", { config: '{"input":{"name":"x"}}' }, "invalid-configuration"],
    ["a prototype", { config: '{"__proto__":{"name":"x"}}' }, "invalid-configuration"],
    [
      "files without a configuration",
      { files: new Map([["1/model.onnx", memoryFile("one")]]) },
      "invalid-configuration",
    ],
    [
      "a file elsewhere",
      { config: "{}", files: new Map([["../1/model.onnx", memoryFile("one")]]) },
      "invalid-configuration",
    ],
    [
      "a file of no version",
      { config: "{}", files: new Map([["model.onnx", memoryFile("one")]]) },
      "invalid-configuration",
    ],
  ])("is refused: %s", async (_what, override, reason) => {
    const engine = engineWith();
    await expect(clock.finish(engine.load("m", undefined, call, override))).rejects.toMatchObject({
      reason,
      message: expect.stringContaining("failed to load 'm'") as string,
    });
    expect(await ask(engine, "m")).toBe(12);
  });
});

describe("memory for models", () => {
  const limits = { maxModelBytes: 2000 };
  const yaml = (rest = ""): string => `variants: [{ name: only, memoryBytes: 1000 }]\n${rest}`;
  beforeEach(() => {
    for (const [name, file] of [
      ["a", "one"],
      ["b", "two"],
      ["c", "three"],
      ["busy", "slow"],
    ] as const) {
      store.put(`${name}/1/model.onnx`, memoryFile(file));
      store.put(`${name}/model.yaml`, yaml());
    }
  });

  it("frees memory by unloading the least used model, which is loaded again at its next request", async () => {
    const events: LongshoreEvent[] = [];
    const engine = engineWith({ limits, observer: { record: (event) => void events.push(event) } });
    expect([
      await ask(engine, "a"),
      await ask(engine, "b"),
      await ask(engine, "a"),
      await ask(engine, "c"),
    ]).toEqual([11, 12, 11, 13]);
    expect(runtime.open()).toBe(2);
    expect(runtime.loads).toEqual(["one:0..1", "two:0..1", "three:0..1"]);
    expect(await ask(engine, "b")).toBe(12);
    expect(runtime.loads.at(-1)).toBe("two:0..1");
    expect(await ask(engine, "c")).toBe(13);
    expect(runtime.open()).toBe(2);
    const told = events.flatMap((event) =>
      event.kind === "graph-memory" ? [[event.model, event.version, event.bytes]] : [],
    );
    expect(told.slice(0, 4)).toEqual([
      ["a", "1", 1000],
      ["b", "1", 1000],
      ["b", "1", -1000],
      ["c", "1", 1000],
    ]);
  });

  it("reports the loaded parts, also after one was dropped for another model, unloaded, or has another content", async () => {
    const engine = engineWith({ limits });
    const digest = (await engine.describe("a", "1", call))!.description.digest;
    const part = { model: "a", version: "1", digest, variant: "only", from: "start", to: "end" };
    const isLoaded = (change = {}): boolean => engine.capabilities.loaded({ ...part, ...change });
    expect(isLoaded()).toBe(false);
    await ask(engine, "a");
    expect([isLoaded(), isLoaded({ digest: `sha256:${"9".repeat(64)}` })]).toEqual([true, false]);
    await ask(engine, "b");
    await ask(engine, "c");
    expect([isLoaded(), isLoaded({ model: "c", digest: "" })]).toEqual([false, true]);
    await clock.finish(engine.unload("c", call));
    expect([isLoaded({ model: "c", digest: "" }), isLoaded({ model: "none", digest: "" })]).toEqual([
      false,
      false,
    ]);
  });

  it("counts a part with its own memory, and not the whole", async () => {
    const padded = Buffer.concat([memoryFile("long"), Buffer.alloc(600, " ")]);
    store.put("long/1/model.onnx", new Uint8Array(padded));
    store.put("long/model.yaml", yaml());
    const engine = engineWith({ limits: { maxModelBytes: 600 } });
    await expect(ask(engine, "long")).rejects.toMatchObject({ reason: "memory-limit" });
    const part = { model: "long", version: "1", digest: "", variant: "only", from: "start", to: "c1" };
    const inputs = tensorsOf(float32Tensor("x", [1, 1], Float32Array.of(10)));
    const head = await clock.finish(engine.infer({ segment: part, inputs, codecs: {} }, call));
    expect(first(head.outputs)).toBe(11);
  });

  it("never unloads a model that runs or is pinned, and says so when memory does not suffice", async () => {
    store.put("a/model.yaml", yaml("keepLoaded: true"));
    const engine = engineWith({ limits });
    expect(await ask(engine, "a")).toBe(11);
    const busy = start(engine, "busy");
    await settle();
    await expect(start(engine, "c")).rejects.toMatchObject({ reason: "memory-limit", retryAfterMs: 1000 });
    expect(first((await clock.finish(busy)).outputs)).toBe(10);
    expect(await ask(engine, "c")).toBe(13);
    expect(await ask(engine, "a")).toBe(11);
    expect(runtime.loads.filter((one) => one === "one:0..1")).toHaveLength(1);
    // It is kept as its configuration says now, though its instances stay what they are.
    store.put("c/model.yaml", yaml("keepLoaded: true"));
    await load(engine, "c");
    await expect(start(engine, "busy")).rejects.toMatchObject({ reason: "memory-limit" });
    store.put("a/model.yaml", yaml());
    await load(engine, "a");
    expect(await ask(engine, "busy")).toBe(10);
    expect(runtime.loads).toHaveLength(4);
    store.put("big/1/model.onnx", memoryFile("one"));
    store.put("big/model.yaml", "variants: [{ name: only, memoryBytes: 3000 }]");
    // There is no use in coming back.
    await expect(start(engine, "big")).rejects.toMatchObject({
      reason: "memory-limit",
      message: expect.stringContaining("all models together may hold") as string,
      retryAfterMs: undefined,
    });
  });
});

describe("shared resources", () => {
  const limited = (name: string, need: number, extra = "", count = 2): void => {
    store.put(`${name}/1/model.onnx`, memoryFile("slow"));
    store.put(
      `${name}/config.pbtxt`,
      `backend: "onnxruntime" instance_group { count: ${count} rate_limiter { resources [ { name: "R" count: ${need} } ] ${extra} } }`,
    );
  };

  it("let runs begin only when all that they take is there", async () => {
    limited("a", 2);
    limited("b", 2);
    const engine = engineWith({ resources: { R: 2 } });
    await load(engine, "a");
    await load(engine, "b");
    const began = clock.nowMs();
    const all = Promise.all([start(engine, "a"), start(engine, "a"), start(engine, "b")]);
    await clock.finish(all);
    // One at a time, although there are four instances.
    expect(clock.nowMs() - began).toBe(300);
  });

  it("are not looked at unless the operator wants it, and a model that wants more than there is cannot be loaded", async () => {
    limited("a", 3);
    const engine = engineWith();
    await load(engine, "a");
    const began = clock.nowMs();
    await clock.finish(Promise.all([start(engine, "a"), start(engine, "a")]));
    expect(clock.nowMs() - began).toBe(100);
    await expect(load(engineWith({ resources: { R: 2 } }), "a")).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("takes 3 of resource R for a run; there are 2") as string,
    });
    // A resource without a stated amount suffices for the model that claims most.
    await load(engineWith({ resources: {} }), "a");
  });

  it.each([1, 4])(
    "go round by priority on %d cores, too, where each model has one instance",
    async (cores) => {
      limited("urgent", 1, "priority: 1", 1);
      limited("patient", 1, "priority: 3", 1);
      const engine = engineWith({ resources: { R: 1 }, limits: { cores } });
      await load(engine, "urgent");
      await load(engine, "patient");
      const order: string[] = [];
      const names = ["urgent", "patient"].flatMap((name) => Array.from({ length: 8 }, () => name));
      await clock.finish(Promise.all(names.map((name) => start(engine, name).then(() => order.push(name)))));
      expect(order.slice(0, 8).filter((name) => name === "urgent")).toHaveLength(6);
    },
  );

  it("are all free again after requests that come at any instant of a run's end", async () => {
    for (const name of ["a", "b"]) limited(name, 1, "", 1);
    const engine = engineWith({ resources: { R: 2 } });
    await load(engine, "a");
    await load(engine, "b");
    for (let turns = 0; turns < 60; turns++) {
      const next = new Promise<InferenceResponse>((resolve) => {
        ranSlow = async () => {
          ranSlow = () => undefined;
          for (let turn = 0; turn < turns; turn++) await Promise.resolve();
          resolve(start(engine, "a"));
        };
      });
      await clock.finish(Promise.all([start(engine, "a"), next]));
      const began = clock.nowMs();
      await clock.finish(Promise.all([start(engine, "a"), start(engine, "b")]));
      expect([turns, clock.nowMs() - began]).toEqual([turns, 100]);
    }
  });

  it("go round by priority, and a request that gives up keeps no other waiting", async () => {
    limited("urgent", 1, "priority: 1");
    limited("patient", 1, "priority: 3");
    const engine = engineWith({ resources: { R: 1 } });
    await load(engine, "urgent");
    await load(engine, "patient");
    const order: string[] = [];
    const gone = childCall(call);
    const runs = [
      ...["patient", "patient", "patient"].map((name) => start(engine, name).then(() => order.push(name))),
      ...["urgent", "urgent", "urgent"].map((name) => start(engine, name).then(() => order.push(name))),
    ];
    const left = start(engine, "patient", "", gone.call);
    await settle();
    gone.cancel(new LongshoreError("cancelled", "queue", "gone"));
    await expect(left).rejects.toMatchObject({ reason: "cancelled" });
    await clock.finish(Promise.all(runs));
    expect(order).toHaveLength(6);
    // The first had begun before the urgent ones came.
    expect(order.slice(0, 4)).toEqual(["patient", "urgent", "urgent", "urgent"]);
  });
});

describe("before it is served", () => {
  it("a model is run as its configuration says, on every instance", async () => {
    store.put(
      "w/config.pbtxt",
      `backend: "onnxruntime" max_batch_size: 4 instance_group { count: 2 }
       model_warmup [
         { name: "zeros" batch_size: 2 count: 3 inputs { key: "x" value { data_type: TYPE_FP32 dims: 1 zero_data: true } } },
         { name: "file" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 1 input_data_file: "x.raw" } } } ]`,
    );
    store.put("w/warmup/x.raw", new Uint8Array(Float32Array.of(7).buffer));
    store.put("w/1/model.onnx", memoryFile("one"));
    const engine = engineWith();
    await load(engine, "w");
    expect(runtime.runs).toHaveLength(8);
    // Also without a load beforehand.
    const lazy = engineWith();
    expect(await ask(lazy, "w")).toBe(11);
    expect(runtime.runs).toHaveLength(17);
  });

  it.each([
    [
      "fails",
      'count: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 1 input_data_file: "bad.raw" } }',
      "run-failed",
    ],
    [
      "names no input",
      'inputs { key: "z" value { data_type: TYPE_FP32 dims: 1 zero_data: true } }',
      "invalid-configuration",
    ],
    [
      "has another shape",
      'inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 1, 1 ] zero_data: true } }',
      "invalid-configuration",
    ],
    [
      "has another size",
      'inputs { key: "x" value { data_type: TYPE_FP32 dims: 1 input_data_file: "short.raw" } }',
      "invalid-configuration",
    ],
    [
      "lacks its file",
      'inputs { key: "x" value { data_type: TYPE_FP32 dims: 1 input_data_file: "none.raw" } }',
      "invalid-configuration",
    ],
  ])("a warm-up that %s keeps it from being served", async (_what, sample, reason) => {
    store.put(
      "w/config.pbtxt",
      `backend: "onnxruntime" max_batch_size: 4 model_warmup { name: "s" batch_size: 1 ${sample} }`,
    );
    store.put("w/warmup/bad.raw", new Uint8Array(Float32Array.of(666).buffer));
    store.put("w/warmup/short.raw", new Uint8Array(2));
    store.put("w/1/model.onnx", memoryFile("one"));
    const engine = engineWith();
    await expect(load(engine, "w")).rejects.toMatchObject({ reason });
    expect(runtime.open()).toBe(0);
  });

  it("copies are loaded on the runtimes that they name, and requests run on all of them", async () => {
    const other = { ...memoryRuntime({ models, clock }), name: "other" };
    store.put("both/model.yaml", "instances: [{ count: 1, runtime: memory }, { count: 2, runtime: other }]");
    store.put("both/1/model.onnx", memoryFile("slow"));
    const engine = engineWith({ runtimes: [runtime, other] });
    await load(engine, "both");
    expect([runtime.loads.length, other.loads.length]).toEqual([1, 2]);
    const began = clock.nowMs();
    await clock.finish(Promise.all([1, 2, 3].map(() => start(engine, "both"))));
    expect([clock.nowMs() - began, runtime.runs.length, other.runs.length]).toEqual([100, 1, 2]);
  });

  it("copies on a GPU are refused without one, unless processors may replace them", async () => {
    store.put("g/config.pbtxt", 'backend: "onnxruntime" instance_group { kind: KIND_GPU count: 2 }');
    store.put("g/1/model.onnx", memoryFile("one"));
    await expect(start(engineWith(), "g")).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("want a GPU") as string,
    });
    expect(await ask(engineWith({ gpuFallback: true }), "g")).toBe(11);
    expect(runtime.loads).toHaveLength(2);
  });
});

describe("a graph that nothing is written of", () => {
  it("is given batches where that is wanted and every first axis varies", async () => {
    const written = {
      bare: "",
      declared: "outputs: [{ name: y, datatype: FP32, shape: [-1, 1] }]",
      alone: "batching: { maxBatchSize: 1 }",
      single: "",
    };
    for (const [name, text] of Object.entries(written)) {
      if (text !== "") store.put(`${name}/model.yaml`, text);
      store.put(`${name}/1/model.onnx`, memoryFile(name === "single" ? "single" : "one"));
    }
    const described = async (parts: Partial<EngineParts>): Promise<Record<string, unknown>[]> => {
      const engine = engineWith(parts);
      const known = await Promise.all(
        Object.keys(written).map((name) => engine.describe(name, undefined, call)),
      );
      return known.map((one) => ({ ...one?.description }));
    };
    const most = (all: Record<string, unknown>[]): unknown[] => all.map(({ batching }) => batching);
    const [asWritten, completed] = [await described({}), await described({ defaultMaxBatchSize: 4 })];
    expect(most(asWritten)).toMatchObject([0, 0, 1, 0].map((maxBatchSize) => ({ maxBatchSize })));
    expect(most(completed)).toMatchObject([4, 0, 1, 0].map((maxBatchSize) => ({ maxBatchSize })));
    // Endpoints that differ in it serve the same content.
    expect(completed.map(({ digest }) => digest)).toEqual(asWritten.map(({ digest }) => digest));
  });

  it("then runs waiting requests together", async () => {
    store.put("s/1/model.onnx", memoryFile("slow"));
    for (const [defaultMaxBatchSize, runs] of [
      [0, 5],
      [4, 2],
    ] as const) {
      const before = runtime.runs.length;
      const engine = engineWith({ defaultMaxBatchSize });
      await load(engine, "s");
      await clock.finish(Promise.all([1, 2, 3, 4, 5].map(() => start(engine, "s"))));
      expect(runtime.runs.length - before).toBe(runs);
    }
  });
});

describe("a watched repository", () => {
  it("accepts new content once it has settled, keeps the served one when the new is broken, and unloads removed ones", async () => {
    const engine = engineWith({ explicit: true });
    await load(engine, "m");
    const failures: string[] = [];
    using watch = await watchModels({
      store,
      clock,
      intervalMs: 1000,
      changed: (model) => clock.finish(engine.load(model, undefined, call)),
      removed: (model) => engine.unload(model, call),
      failed: (model) => void failures.push(model),
    });
    store.put("m/3/model.onnx", "half");
    await watch.look();
    // Still being written: another size at every look.
    store.put("m/3/model.onnx", "half of it");
    await watch.look();
    expect([await ask(engine, "m"), failures]).toEqual([12, []]);
    store.put("m/3/model.onnx", memoryFile("three"));
    await watch.look();
    expect(await ask(engine, "m")).toBe(12);
    await watch.look();
    expect(await ask(engine, "m")).toBe(13);

    store.put("m/4/model.onnx", "no model");
    await watch.look();
    await watch.look();
    await watch.look();
    expect([await ask(engine, "m"), failures]).toEqual([13, ["m"]]);
    expect((await states(engine))["m/4"]).toMatch(/^unavailable/);

    store.put("n/1/model.onnx", memoryFile("one"));
    store.put("n/1/other.tmp", "x");
    await watch.look();
    store.put("n/1/other.tmp", "xx");
    await watch.look();
    expect(await ask(engine, "n")).toBe(11);
    for (const file of ["1/model.onnx", "1/other.tmp"]) store.remove(`n/${file}`);
    await watch.look();
    await watch.look();
    await expect(start(engine, "n")).rejects.toMatchObject({ reason: "unknown-model" });
  });

  it("reports folders that cannot be models when they come", async () => {
    const told: string[] = [];
    const engine = engineWith({
      observer: { record: (event) => void (event.kind === "folder-ignored" && told.push(event.folder)) },
    });
    using watch = await watchModels({
      store,
      clock,
      intervalMs: 1000,
      changed: (model) => engine.load(model, undefined, call),
      removed: (model) => engine.unload(model, call),
      failed: () => undefined,
      ignored: () => engine.index(),
    });
    await watch.look();
    expect(told).toEqual([]);
    for (let times = 0; times < 2; times++) {
      store.put("modèle/1/model.onnx", memoryFile("one"));
      for (let looks = 0; looks < 3; looks++) await watch.look();
      store.remove("modèle/1/model.onnx");
      for (let looks = 0; looks < 3; looks++) await watch.look();
      await engine.index();
    }
    expect(told).toEqual(["modèle", "modèle"]);
  });

  it("is looked at by the clock until the watch ends", async () => {
    const changed: string[] = [];
    const watch = await watchModels({
      store,
      clock,
      intervalMs: 1000,
      changed: (model) => Promise.resolve(void changed.push(model)),
      removed: () => Promise.resolve(),
      failed: () => undefined,
    });
    store.put("new/1/model.onnx", memoryFile("one"));
    await clock.advance(1000);
    await settle();
    expect(changed).toEqual([]);
    await clock.advance(1000);
    await settle();
    expect(changed).toEqual(["new"]);
    watch[Symbol.dispose]();
    expect(clock.armed()).toBe(0);
  });
});
