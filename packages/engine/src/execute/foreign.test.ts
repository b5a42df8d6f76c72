import { beforeEach, describe, expect, it } from "vitest";
import {
  type Call,
  type CutProfile,
  float32Tensor,
  type InferenceResponse,
  numericTensor,
  type Profile,
  type Tensors,
  type TensorSpec,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  manualClock,
  memoryFile,
  type MemoryModels,
  memoryRuntime,
  memoryStore,
  memoryEngineParts,
} from "@longshore/testkit";
import { createEngine, type Engine } from "./engine.ts";

/** Parts of models that are called from outside, and models that are not trusted. */
const spec = (name: string): TensorSpec => ({ name, datatype: "FP32", shape: [-1, 2] });
const pass =
  (from: string, to: string) =>
  (feeds: Tensors): Tensors => {
    const tensor = feeds.get(from);
    if (!tensor) throw new Error(`the model got no ${from}`);
    return tensorsOf({ ...tensor, spec: { ...tensor.spec, name: to } });
  };
const models: MemoryModels = {
  two: {
    inputs: [spec("x")],
    outputs: ["y"],
    stages: [
      { takes: ["x"], gives: [spec("h")], runMs: 1, run: pass("x", "h") },
      { takes: ["h"], gives: [spec("y")], runMs: 1, run: pass("h", "y") },
    ],
  },
};
const side: TensorSpec = { name: "rows", datatype: "INT64", shape: [1] };
const sided: MemoryModels = {
  two: {
    inputs: [spec("x")],
    outputs: ["y"],
    stages: [
      {
        takes: ["x"],
        gives: [spec("h"), side],
        runMs: 1,
        run: (feeds) =>
          new Map([
            ...pass("x", "h")(feeds),
            ["rows", numericTensor("rows", "INT64", [1], BigInt64Array.of(4n))],
          ]),
      },
      { takes: ["h", "rows"], gives: [spec("y")], runMs: 1, run: pass("h", "y") },
    ],
  },
};
const own = housekeepingCall("own");
const outside: Call = { ...own, rights: ["infer", "segment:infer"] };
const operator: Call = { ...own, rights: ["infer", "segment:infer", "manage"] };

let clock: ReturnType<typeof manualClock>;
let runtime: ReturnType<typeof memoryRuntime>;
let sandbox: ReturnType<typeof memoryRuntime>;
let store: ReturnType<typeof memoryStore>;
let engine: Engine;

beforeEach(() => open(models));

function open(models: MemoryModels): void {
  clock = manualClock();
  runtime = memoryRuntime({ models, clock });
  sandbox = memoryRuntime({ models, clock });
  store = memoryStore({ "m/1/model.onnx": memoryFile("two") });
  engine = createEngine({ ...memoryEngineParts({ clock, models, store, runtime }), sandbox });
}

async function run(from: string, to: string, rows: number, call: Call): Promise<InferenceResponse> {
  const name = from === "start" ? "x" : "h";
  const inputs = tensorsOf(float32Tensor(name, [rows, 2], new Float32Array(rows * 2)));
  const segment = { model: "m", version: "", digest: "", variant: "", from, to };
  return clock.finish(engine.infer({ segment, inputs, codecs: {} }, call));
}

/** A profile measured with up to four rows: 32 bytes at either cut. */
async function profiled(sides: CutProfile["sides"] = {}): Promise<void> {
  const digest = (await engine.describe("m", undefined, own))?.description.digest ?? "";
  const cut = (id: string, name: string) => ({
    cut: { id, crossing: [{ ...spec(name), shape: [4, 2] }], reveals: "features" as const },
    headMs: [1],
    tailMs: [1],
    headMemoryBytes: 0,
    ...(name === "h" ? { sides } : {}),
    codings: [],
  });
  const profile: Profile = {
    schemaVersion: 1,
    model: "m",
    version: "1",
    digest,
    measuredOn: { runtime: "memory", threads: 1, description: "a test" },
    variants: [
      {
        variant: "default",
        agreementRatio: 1,
        buckets: [
          {
            upTo: { bytes: Infinity },
            typical: { bytes: 32 },
            runs: 1,
            cuts: [cut("start", "x"), cut("c1", "h")],
            legalCuts: 1,
          },
        ],
      },
    ],
  };
  store.put("m/1/profile.json", JSON.stringify(profile));
  await clock.finish(engine.load("m", undefined, own));
}

describe("parts of models", () => {
  it("run in the sandbox when they are called from outside, whole models and the operator's calls do not", async () => {
    await run("c1", "end", 1, outside);
    expect([runtime.runs.length, sandbox.runs.length]).toEqual([0, 1]);
    await run("start", "c1", 1, outside);
    expect([runtime.runs.length, sandbox.runs.length]).toEqual([0, 2]);
    await run("start", "end", 1, outside);
    await run("c1", "end", 1, operator);
    await run("c1", "end", 1, own);
    expect([runtime.runs.length, sandbox.runs.length]).toEqual([3, 2]);
  });

  it("accept at most twice the profiled size from outside", async () => {
    await profiled();
    await run("c1", "end", 8, outside);
    await expect(run("c1", "end", 9, outside)).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringContaining("72 bytes of inputs; its profile was measured up to 32") as string,
    });
    await run("c1", "end", 9, operator);
    await run("start", "end", 9, outside);
  });
});

describe("tensors beside the data of a part", () => {
  it("hold no values from outside that are far beyond those that were measured", async () => {
    open(sided);
    await profiled({ rows: { least: 2, most: 4 } });
    const ask = (rows: bigint, call: Call): Promise<InferenceResponse> => {
      const h = float32Tensor("h", [1, 2], new Float32Array(2));
      const inputs = tensorsOf(h, numericTensor("rows", "INT64", [1], BigInt64Array.of(rows)));
      const segment = { model: "m", version: "", digest: "", variant: "", from: "c1", to: "end" };
      return clock.finish(engine.infer({ segment, inputs, codecs: {} }, call));
    };
    for (const rows of [-2n, 0n, 8n]) await ask(rows, outside);
    for (const rows of [-3n, 9n, 2n ** 62n]) {
      await expect(ask(rows, outside)).rejects.toMatchObject({
        reason: "invalid-input",
        message: expect.stringContaining("rows holds a value beyond -2 to 8") as string,
      });
    }
    await ask(9n, operator);
  });
});

describe("a model that is not trusted", () => {
  it("runs in the sandbox for every caller, and accepts at most twice the profiled size", async () => {
    store.put("m/model.yaml", "trusted: false");
    await profiled();
    await run("start", "end", 8, own);
    expect([runtime.runs.length, sandbox.runs.length]).toEqual([0, 1]);
    await expect(run("start", "end", 9, own)).rejects.toMatchObject({ reason: "invalid-input" });
  });
});
