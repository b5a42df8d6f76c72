import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  float32Tensor,
  float32View,
  type InferenceResponse,
  seededRandom,
  tensorsOf,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import { housekeepingCall, joinElements, splitElements } from "@longshore/core/internal";
import {
  doubleInfo,
  manualClock,
  memoryFile,
  memoryRuntime,
  memorySource,
  memoryStore,
  oneStage,
  sha256Of,
} from "@longshore/testkit";
import { defineTransform, pureTransforms, transformSet } from "../transform/index.ts";
import { createEngine } from "../execute/engine.ts";
import type { EngineLimits } from "../execute/engine-parts.ts";
import { inlineLane } from "../lane/inline-lane.ts";

const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });
const valuesOf = (tensors: Tensors, name: string): number[] => [...float32View(tensors.get(name)!)];

const pipeline = (more = ""): string => `
inputs: [{ name: rows, datatype: FP32, shape: [-1, 2] }]
pipeline:
  ${more}
  steps:
    - { id: crops, transform: crops, inputs: { rows: rows } }
    - { id: widen, transform: widen, forEach: crops.parts, inputs: { part: crops.parts } }
    - { id: read, model: slow, forEach: widen.wide, inputs: { x: widen.wide } }
    - { id: tidy, transform: add, forEach: read.s, inputs: { a: read.s, b: crops.parts } }
    - { id: all, transform: gather, inputs: { parts: tidy.sum } }
  outputs: { sums: all.sums }
`;

/**
 * Crops of which each becomes a large tensor before a slow model reads it, with a count of the tensors that were made and
 * not read yet: what fills memory.
 */
function world(limits: Partial<EngineLimits> = {}, more = "", runMs = 10) {
  const clock = manualClock();
  let made = 0;
  let read = 0;
  let most = 0;
  const models = {
    slow: oneStage([fp32("x", 1, 64)], [fp32("s", 1, 2)], runMs, (feeds) => {
      read += 1;
      const x = float32View(feeds.get("x")!);
      return tensorsOf(float32Tensor("s", [1, 2], Float32Array.of((x[0] ?? 0) * 2, (x[1] ?? 0) * 2)));
    }),
  };
  const crops = defineTransform<unknown>({
    name: "crops",
    inputs: ["rows"],
    outputs: ["parts"],
    parse: (parameters) => parameters,
    specs: () => [{ name: "parts", datatype: "FP32", shape: [-1, 1, 2], ragged: true }],
    run: (inputs) => {
      const parts = splitElements(inputs.get("rows")!).map((one) => ({
        ...one,
        spec: { ...one.spec, shape: [1, 2] },
      }));
      return new Map([["parts", joinElements("parts", parts, fp32("parts", 1, 2))]]);
    },
  });
  const widen = defineTransform<unknown>({
    name: "widen",
    inputs: ["part"],
    outputs: ["wide"],
    parse: (parameters) => parameters,
    specs: () => [fp32("wide", 1, 64)],
    run: (inputs) => {
      made += 1;
      most = Math.max(most, made - read);
      const wide = new Float32Array(64);
      wide.set(float32View(inputs.get("part")!));
      return tensorsOf(float32Tensor("wide", [1, 64], wide));
    },
  });
  const add = defineTransform<unknown>({
    name: "add",
    inputs: ["a", "b"],
    outputs: ["sum"],
    parse: (parameters) => parameters,
    specs: () => [fp32("sum", 1, 2)],
    run: (inputs) => {
      const b = float32View(inputs.get("b")!);
      return tensorsOf(
        float32Tensor(
          "sum",
          [1, 2],
          float32View(inputs.get("a")!).map((value, index) => value + (b[index] ?? 0)),
        ),
      );
    },
  });
  const gather = defineTransform<unknown>({
    name: "gather",
    inputs: ["parts"],
    outputs: ["sums"],
    parse: (parameters) => parameters,
    specs: () => [fp32("sums", -1)],
    run: (inputs) => {
      const parts = splitElements(inputs.get("parts")!);
      const sums = parts.map((one) => float32View({ ...one, bytes: new Uint8Array(one.bytes) })[0] ?? 0);
      return tensorsOf(float32Tensor("sums", [sums.length], Float32Array.from(sums)));
    },
  });
  const transforms = transformSet(...pureTransforms(), crops, widen, add, gather);
  const engine = createEngine({
    info: doubleInfo,
    store: memoryStore({ "slow/1/model.onnx": memoryFile("slow"), "page/model.yaml": pipeline(more) }),
    source: memorySource(models),
    runtimes: [memoryRuntime({ models, clock })],
    transforms,
    lane: inlineLane(transforms, clock),
    clock,
    random: seededRandom(1),
    observer: { record: () => undefined },
    sha256: sha256Of,
    limits,
  });
  const run = (
    inputs: Tensors,
    from = "start",
    to = "end",
    call = housekeepingCall("test"),
  ): Promise<InferenceResponse> => {
    const segment = { model: "page", version: "", digest: "", variant: "", from, to };
    return engine.infer({ segment, inputs, codecs: {} }, call);
  };
  const rowsOf = (count: number, from = 0): Tensors => {
    const rows = Float32Array.from({ length: 2 * count }, (_, index) => from + index);
    return tensorsOf(float32Tensor("rows", [count, 2], rows));
  };
  const ask = (count: number, from = 0, call = housekeepingCall("test")): Promise<InferenceResponse> =>
    run(rowsOf(count, from), "start", "end", call);
  const expected = (count: number, from = 0): number[] =>
    Array.from({ length: count }, (_, index) => 3 * (from + 2 * index));
  return { clock, engine, ask, run, rowsOf, expected, most: () => most, made: () => made };
}

describe("a fan-out", () => {
  it("of a thousand elements has a few of them between its steps, and gives the same as all at once", async () => {
    const { clock, ask, expected, most, made } = world();
    const { outputs, account } = await clock.finish(ask(1000));
    expect(valuesOf(outputs, "sums")).toEqual(expected(1000));
    expect(made()).toBe(1000);
    expect(most()).toBeLessThanOrEqual(16);
    // Groups overlap; the reported times add up to what passed, and stay short.
    const told = account.stages.reduce((sum, { tookMs }) => sum + tookMs, 0);
    expect(told).toBeLessThanOrEqual(clock.nowMs() + 0.001);
    expect(account.stages.map(({ stage, name }) => `${stage} ${name}`)).toEqual([
      "transform crops",
      "transform widen",
      "queue read",
      "run read",
      "transform tidy",
      "transform all",
    ]);
  });

  it("gives each element its own answer, for any number of them", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 70 }), async (count) => {
        const { clock, ask, expected } = world({}, "", 1);
        const { outputs } = await clock.finish(ask(count));
        expect(valuesOf(outputs, "sums")).toEqual(expected(count));
      }),
      { numRuns: 30 },
    );
  });

  it("may be cut between any of its steps, with few elements and with many", async () => {
    for (const count of [0, 3, 40]) {
      for (const cut of ["crops", "widen", "read", "tidy"]) {
        const { clock, run, rowsOf, expected } = world({}, "", 1);
        const head = await clock.finish(run(rowsOf(count), "start", cut));
        const tail = await clock.finish(run(head.outputs, cut, "end"));
        expect(valuesOf(tail.outputs, "sums"), `${count} elements cut after ${cut}`).toEqual(expected(count));
      }
    }
  });

  it("shares the engine's budget of elements with other requests, and all get through", async () => {
    const { clock, ask, expected, most } = world({ maxElements: 24 });
    const all = await clock.finish(Promise.all([0, 1000, 2000, 3000].map((from) => ask(60, from))));
    expect(all.map(({ outputs }) => valuesOf(outputs, "sums"))).toEqual(
      [0, 1000, 2000, 3000].map((from) => expected(60, from)),
    );
    expect(most()).toBeLessThanOrEqual(24);
  });

  it("stops making elements when its caller leaves, and keeps none", async () => {
    const { clock, engine, ask, made } = world({ maxElements: 16 });
    const abort = new AbortController();
    const gone = ask(1000, 0, { ...housekeepingCall("test"), abort: abort.signal });
    const waiting = ask(20, 5);
    await clock.advance(50);
    abort.abort();
    await expect(gone).rejects.toMatchObject({ reason: "cancelled" });
    expect(valuesOf((await clock.finish(waiting)).outputs, "sums")).toHaveLength(20);
    expect(made()).toBeLessThan(100);
    await clock.finish(engine.drain());
    expect(clock.armed()).toBe(0);
  });
});

describe("a pipeline", () => {
  it("admits no more requests at a time than its operator allows; the others wait and hold nothing", async () => {
    const { clock, ask, most } = world({}, "maxInFlight: 2");
    const all = await clock.finish(Promise.all(Array.from({ length: 6 }, () => ask(4))));
    expect(all).toHaveLength(6);
    expect(most()).toBeLessThanOrEqual(8);
  });

  it("is entered when its values fit beside the others", async () => {
    const { clock, ask, most } = world({ maxPipelineBytes: 1 });
    // The first one tells how much a request holds.
    await clock.finish(ask(4));
    await clock.finish(Promise.all(Array.from({ length: 6 }, () => ask(4))));
    expect(most()).toBeLessThanOrEqual(4);
  });

  it("that is waited for can be given up", async () => {
    const { clock, ask } = world({}, "maxInFlight: 1");
    const first = ask(4);
    const abort = new AbortController();
    const second = ask(4, 0, { ...housekeepingCall("test"), abort: abort.signal });
    const third = ask(4);
    await clock.advance(5);
    abort.abort();
    await expect(second).rejects.toMatchObject({ reason: "cancelled" });
    await clock.finish(Promise.all([first, third]));
  });
});
