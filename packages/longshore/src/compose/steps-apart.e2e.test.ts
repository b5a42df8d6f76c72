import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import {
  type Endpoint,
  float32View,
  type Inputs,
  numericTensor,
  type Offloader,
  type Policy,
  type Profile,
  type Result,
  silentObserver,
  type Tensor,
} from "@longshore/core";
import { int32View } from "@longshore/core/internal";
import { housekeepingCall } from "@longshore/core/internal";
import { graphBuilder, writeModel } from "@longshore/graph";
import { layeredStore, systemClock, systemRandom } from "@longshore/nodejs";
import { listedDirectory, memoryStore, writeModels } from "@longshore/testkit";
import { stepsMissing } from "../connect/described-at.ts";
import { measureModel } from "../profile/measure.ts";
import { dial, serverInfo } from "../connect/dial.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import { openEngine } from "../engine/open-engine.ts";
import { openModel } from "../engine/open-model.ts";
import { type LocalOptions, openLocal } from "./open-offloader.ts";
import { type RunningServer, serve } from "./serve.ts";

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-apart-"));
  await writeModels(folder);
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Turns the signs of pairs of numbers. */
function negated(): Uint8Array {
  const build = graphBuilder();
  build.node("Neg", [build.input("x", "FP32", ["rows", 2])], { outputs: ["y"] });
  build.output("y", "FP32", ["rows", 2]);
  return writeModel(build.model({ name: "negated", opset: 13 }));
}

/** Gives a row of numbers after the other as answers. */
const rows = `
inputs: [{ name: IN, datatype: INT32, shape: [-1, -1] }]
pipeline:
  steps: [{ id: repeat, transform: repeat, inputs: { values: IN } }]
  outputs: { OUT: repeat.value }
`;

const store = async (models: Readonly<Record<string, Uint8Array | string>>) =>
  layeredStore(memoryStore(models), (await openModel(folder)).store);

async function server(id: string): Promise<RunningServer> {
  const models = { "negated/1/model.onnx": negated(), "rows/model.yaml": rows, "rows/1/pipeline.txt": "" };
  const running = await serve({ store: await store(models), port: 0, grpcPort: 0, id });
  open.push(running);
  return running;
}

const named = (
  { address, grpcAddress }: RunningServer,
  kind: "oip" | "longshore",
  id: string,
): ServerOptions => ({
  address,
  id,
  kind,
  trust: "operated",
  ...(kind === "oip" ? { metrics: "none", grpc: `http://${grpcAddress}` } : {}),
});

function device(
  yaml: string,
  servers: readonly ServerOptions[],
  change: Partial<LocalOptions> = {},
): Offloader {
  const opened = openLocal({
    store: memoryStore({ "find/model.yaml": yaml, "find/1/pipeline.txt": "" }),
    servers,
    defaults: { dataClass: "internal" },
    ...change,
  });
  open.push(opened);
  return opened.offloader;
}

async function runs({ address }: RunningServer, model: string): Promise<number> {
  const reply = await fetch(`${address}/v2/models/${model}/stats`);
  const { model_stats: stats } = (await reply.json()) as { model_stats: { inference_count: number }[] };
  return stats[0]?.inference_count ?? 0;
}

const pairs = (count: number): Inputs => ({
  pairs: numericTensor(
    "pairs",
    "FP32",
    [count, 1, 2],
    Float32Array.from({ length: 2 * count }, (_, at) => at),
  ),
});
const each = (elsewhere: string): string => `
inputs: [{ name: pairs, datatype: FP32, shape: [-1, 1, 2] }]
pipeline:
  steps:
    - { id: turn, model: negated, forEach: pairs, inputs: { x: pairs }, elsewhere: ${elsewhere} }
    - { id: flat, transform: flatten, inputs: { tensor: turn.y } }
  outputs: { all: flat.tensor }
`;
const all = ({ outputs }: Result): readonly number[] => [...float32View(outputs.get("all") as Tensor)];

it.each(["oip", "longshore"] as const)(
  "runs a model of a server of kind %s for each element, as many requests as there are",
  async (kind) => {
    const there = await server("there");
    const offloader = device(each("true"), [named(there, kind, "there")]);
    const { length: many } = all(await offloader.infer("find", pairs(20)));
    expect([many, await runs(there, "negated")]).toEqual([40, 20]);
    const result = await offloader.infer("find", pairs(2));
    expect(all(result)).toEqual([-0, -1, -2, -3]);
    expect(result.accounts.filter(({ endpoint }) => endpoint === "there")).toHaveLength(1);
    expect(result.sentBytes).toBeGreaterThan(2 * 8);
    expect(all(await offloader.infer("find", pairs(0)))).toEqual([]);
    expect(await runs(there, "negated")).toBe(22);
  },
);

it("reads inputs and outputs of a model from the endpoints of a directory, too", async () => {
  const there = await server("there");
  const [away, other] = [serverInfo({ address: "http://127.0.0.1:1", id: "away" }), { id: "other" }];
  const directory = listedDirectory([
    { ...away, ...other, serves: [{ segment: { model: "another" } }] },
    serverInfo(named(there, "longshore", "there")),
  ]);
  expect(all(await device(each("true"), [], { directory }).infer("find", pairs(1)))).toEqual([-0, -1]);
});

const accumulated = (also = ""): string => `
inputs: [{ name: INPUT, datatype: INT32, shape: [-1, 1] }]
sequence: { maxIdleMs: 60000 }
pipeline:
  steps:
    - { id: level, transform: flatten, inputs: { tensor: INPUT } }
    - id: sum
      model: accumulate_int32
      inputs: { INPUT: INPUT }
      elsewhere:
        inputs: [{ name: INPUT, datatype: INT32, shape: [-1, 1] }]
        outputs: [{ name: OUTPUT, datatype: INT32, shape: [-1, 1] }]
    - { id: flat, transform: flatten, inputs: { tensor: sum.OUTPUT } }
    ${also}
  outputs: { sum: flat.tensor, level: level.tensor }
`;
const added = (value: number): Inputs => ({
  INPUT: numericTensor("INPUT", "INT32", [1, 1], Int32Array.of(value)),
});

it.each(["oip", "longshore"] as const)(
  "goes on with a sequence where its state is, at servers of kind %s",
  async (kind) => {
    const servers = [await server("one"), await server("two")];
    const endpoints = servers.map((one, at) => named(one, kind, ["one", "two"][at]!));
    const offloader = device(accumulated(), endpoints);
    const sequence = offloader.sequence("find");
    const where: string[] = [];
    let sum = 0;
    for (let step = 1; step <= 5; step++) {
      sum += step;
      const result = await sequence.next(added(step));
      where.push(result.where);
      expect([...int32View(result.outputs.get("sum")!), ...int32View(result.outputs.get("level")!)]).toEqual([
        sum,
        step,
      ]);
    }
    const used = servers[where.at(-1) === "one" ? 0 : 1]!;
    const spare = servers[where.at(-1) === "one" ? 1 : 0]!;
    // From a server of ours the state comes back with each answer, and the other one may go on with it where a machine is busy.
    if (kind === "oip") {
      expect(new Set(where).size).toBe(1);
      expect(await runs(used, "accumulate_int32")).toBe(5);
    }
    // The first step may have had a back-up there, where it was late.
    const before = await runs(spare, "accumulate_int32");
    await used.close(0);
    const next = sequence.next(added(6));
    if (kind === "longshore") {
      // Its state came back with each answer.
      expect(int32View((await next).outputs.get("sum")!)[0]).toBe(21);
    } else {
      await expect(next).rejects.toMatchObject({ reason: "unreachable" });
      expect(await runs(spare, "accumulate_int32")).toBe(before);
    }
  },
);

it("starts no sequence at an endpoint that its inputs may not reach, though the model there gets less", async () => {
  const there = await server("there");
  const policy: Policy = {
    decide: ({ zone, reveals }) =>
      zone === "device" || reveals !== "input" ? { allow: true } : { allow: false, rule: "inputs stay here" },
  };
  const offloader = device(accumulated(), [named(there, "oip", "there")], { policy });
  await expect(offloader.sequence("find").next(added(1))).rejects.toMatchObject({ reason: "policy-denied" });
  expect(await runs(there, "accumulate_int32")).toBe(0);
});

it("refuses a pipeline that keeps state here and uses another endpoint", async () => {
  const also = "- { id: own, model: accumulate_int32, inputs: { INPUT: INPUT } }";
  const yaml = accumulated(also).replace("level: level.tensor", "own: own.OUTPUT");
  const offloader = device("", [named(await server("there"), "oip", "there")], {
    store: await store({ "find/model.yaml": yaml, "find/1/pipeline.txt": "" }),
  });
  await expect(offloader.infer("find", added(1))).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringContaining("keeps state in step own here, while the model of step sum") as string,
  });
});

const numbers: Inputs = { IN: numericTensor("IN", "INT32", [3, 2], Int32Array.of(1, 2, 3, 4, 5, 6)) };

async function answered(offloader: Offloader, inputs: Inputs): Promise<readonly (readonly number[])[]> {
  const given: number[][] = [];
  for await (const { outputs } of offloader.answers("find", inputs)) {
    const tensor = outputs.get("all")!;
    given.push([...(tensor.spec.datatype === "INT32" ? int32View(tensor) : float32View(tensor))]);
  }
  return given;
}

it.each(["oip", "longshore"] as const)(
  "gives all answers of a model of a server of kind %s, each through our transforms",
  async (kind) => {
    const yaml = `
inputs: [{ name: IN, datatype: INT32, shape: [-1, -1] }]
pipeline:
  steps:
    - { id: say, model: rows, inputs: { IN: IN }, elsewhere: true }
    - { id: flat, transform: flatten, inputs: { tensor: say.OUT } }
  outputs: { all: flat.tensor }
`;
    const offloader = device(yaml, [named(await server("there"), kind, "there")]);
    expect(await answered(offloader, numbers)).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    await expect(offloader.infer("find", numbers)).rejects.toMatchObject({ reason: "unsupported" });
  },
);

it.each(["oip", "longshore"] as const)(
  "sends to a model of an endpoint of kind %s once for each answer of a step of ours",
  async (kind) => {
    const yaml = `
inputs: [{ name: pairs, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps:
    - { id: part, transform: repeat, inputs: { values: pairs } }
    - { id: turn, model: negated, inputs: { x: part.value }, elsewhere: true }
    - { id: flat, transform: flatten, inputs: { tensor: turn.y } }
  outputs: { all: flat.tensor }
`;
    const there = await server("there");
    const given = await answered(device(yaml, [named(there, kind, "there")]), {
      pairs: numericTensor("pairs", "FP32", [3, 2], Float32Array.of(0, 1, 2, 3, 4, 5)),
    });
    expect([given, await runs(there, "negated")]).toEqual([
      [
        [-0, -1],
        [-2, -3],
        [-4, -5],
      ],
      3,
    ]);
  },
);

/** A pipeline whose model is elsewhere, with a transform before and after it. */
const around = `
inputs: [{ name: pairs, datatype: FP32, shape: [1, 2] }]
pipeline:
  steps:
    - { id: soft, transform: softmax, inputs: { tensor: pairs } }
    - id: turn
      model: negated
      inputs: { x: soft.tensor }
      elsewhere: { inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }], outputs: [{ name: y, datatype: FP32, shape: [-1, 2] }] }
    - { id: flat, transform: flatten, inputs: { tensor: turn.y } }
  outputs: { all: flat.tensor }
`;

async function profiled(endpoints: readonly Endpoint[]): Promise<Profile> {
  const { engine, close } = openEngine({
    store: memoryStore({ "find/model.yaml": around, "find/1/pipeline.txt": "" }),
  });
  open.push({ close });
  const samples = [new Map([["pairs", numericTensor("pairs", "FP32", [1, 2], Float32Array.of(1, 2))]])];
  const clock = systemClock();
  const about = {
    engine,
    endpoints,
    clock,
    model: "find",
    runtime: "onnxruntime",
    samples,
    rounds: 1,
    codecs: [],
  };
  return measureModel(about, housekeepingCall("profile"));
}
const cutsOf = ({ variants: [variant] }: Profile) => variant!.buckets[0]!.cuts;

it("profiles a pipeline with the model of a server as one of its steps", async () => {
  const there = await server("there");
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  const endpoint = dial(serverInfo(named(there, "oip", "there")), parts);
  open.push(endpoint);
  const profile = await profiled([endpoint]);
  expect(profile.measuredOn.threads).toBe(1);
  const cuts = cutsOf(profile);
  expect(cuts.map(({ cut }) => cut.id)).toEqual(expect.arrayContaining(["start", "soft", "turn", "end"]));
  expect(await runs(there, "negated")).toBeGreaterThan(3);
  // The engine here and an app's plans take it as any other.
  const files = {
    "find/model.yaml": around,
    "find/1/pipeline.txt": "",
    "find/1/profile.json": JSON.stringify(profile),
  };
  const offloader = device("", [named(there, "oip", "there")], { store: memoryStore(files) });
  const result = await offloader.infer("find", {
    pairs: numericTensor("pairs", "FP32", [1, 2], Float32Array.of(0, 0)),
  });
  expect(all(result)).toEqual([-0.5, -0.5]);
});

it("profiles the steps that run here before a model that no named server has, and keeps the assumed rest", async () => {
  const profile = await profiled([]);
  const [start, soft, turn, end] = cutsOf(profile);
  expect([start, soft, turn, end].map((one) => one!.cut.id)).toEqual(["start", "soft", "turn", "end"]);
  const mean = (values: readonly number[]): number =>
    values.reduce((sum, one) => sum + one, 0) / values.length;
  // Assumed are 5 ms for a transform and 50 ms for a model.
  expect(mean(turn!.headMs) - mean(soft!.headMs)).toBeCloseTo(50);
  expect(mean(end!.headMs) - mean(turn!.headMs)).toBeCloseTo(5);
  expect(mean(soft!.headMs)).not.toBe(5);
  expect(mean(start!.tailMs) - mean(soft!.headMs)).toBeCloseTo(55);
  expect(soft!.codings[0]!.bytes).toBe(8);
});

it("says of each server why it is no endpoint for a step", async () => {
  const there = await server("there");
  const why = async (yaml: string, address = there.address): Promise<readonly string[]> => {
    const store = memoryStore({ "find/model.yaml": yaml, "find/1/pipeline.txt": "" });
    const { engine, close } = openEngine({ store });
    open.push({ close });
    const call = housekeepingCall("test");
    const { description } = (await engine.describe("find", undefined, call))!;
    return stepsMissing(description, [{ address, kind: "oip" }], call);
  };
  const what = `step turn cannot run at ${there.address}:`;
  expect(await why(around)).toEqual([]);
  expect(await why(around.replace("model: negated", "model: nobody"))).toEqual([`${what} it has no nobody`]);
  const ninth = around.replace("model: negated", 'model: negated\n      version: "9"');
  expect(await why(ninth)).toEqual([`${what} it has no negated, version 9`]);
  expect(
    await why(around.replace("datatype: FP32, shape: [-1, 2] }] }", "datatype: FP32, shape: [-1, 3] }] }")),
  ).toEqual([`${what} it has negated, but it takes x FP32 [-1, 2] and gives y FP32 [-1, 2]`]);
  expect((await why(around, "http://127.0.0.1:1"))[0]).toContain("no connection to http://127.0.0.1:1");
});
