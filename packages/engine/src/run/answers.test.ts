import { describe, expect, it } from "vitest";
import {
  bytesTensor,
  type Call,
  float32Tensor,
  float32View,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  numericTensor,
  numericView,
  seededRandom,
  tensorsOf,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import { answersOf, childCall, housekeepingCall } from "@longshore/core/internal";
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
import { pureTransforms, transformSet } from "../transform/index.ts";
import { createEngine } from "../execute/engine.ts";
import { inlineLane } from "../lane/inline-lane.ts";

const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });
const base = housekeepingCall("test");

/** Triton's decoupled example as a pipeline of one step. */
const repeatModel = `
inputs:
  - { name: IN, datatype: INT32, shape: [-1] }
  - { name: DELAY, datatype: UINT32, shape: [-1] }
  - { name: WAIT, datatype: UINT32, shape: [1] }
pipeline:
  steps:
    - { id: repeat, transform: repeat, inputs: { values: IN, delays: DELAY } }
  outputs: { OUT: repeat.value, IDX: repeat.index }
`;

const framesModel = `
inputs: [{ name: frames, datatype: FP32, shape: [-1, 2] }, { name: label, datatype: BYTES, shape: [1] }]
pipeline:
  steps:
    - { id: before, model: double, inputs: { x: frames } }
    - { id: each, transform: repeat, inputs: { values: before.y } }
    - { id: after, model: double, inputs: { x: each.value } }
  outputs: { y: after.y, all: before.y, label: label }
`;

function world(files: Record<string, string | Uint8Array> = {}) {
  const clock = manualClock();
  const runs: string[] = [];
  const models = {
    double: oneStage([fp32("x", -1, 2)], [fp32("y", -1, 2)], 10, (feeds) => {
      const x = feeds.get("x")!;
      runs.push(String(x.spec.shape[0]));
      return tensorsOf(
        float32Tensor(
          "y",
          x.spec.shape,
          float32View(x).map((value) => value * 2),
        ),
      );
    }),
    keeper: oneStage(
      [fp32("x", 1, 2), fp32("state", 1, 2)],
      [fp32("y", 1, 2), fp32("next", 1, 2)],
      1,
      (feeds) => tensorsOf(feeds.get("x")!, feeds.get("state")!),
    ),
  };
  const transforms = transformSet(...pureTransforms());
  const engine = createEngine({
    info: doubleInfo,
    store: memoryStore({
      "double/1/model.onnx": memoryFile("double"),
      "keeper/1/model.onnx": memoryFile("keeper"),
      "keeper/model.yaml":
        "sequence: { states: [{ input: state, output: next, datatype: FP32, shape: [1, 2] }] }",
      "repeat_int32/model.yaml": repeatModel,
      "frames/model.yaml": framesModel,
      ...files,
    }),
    source: memorySource(models),
    runtimes: [memoryRuntime({ models, clock })],
    transforms,
    lane: inlineLane(transforms, clock),
    clock,
    random: seededRandom(1),
    observer: { record: () => undefined },
    sha256: sha256Of,
  });
  const request = (model: string, inputs: Tensors): InferenceRequest => ({
    segment: { model, version: "", digest: "", variant: "", from: "start", to: "end" },
    inputs,
    codecs: {},
  });
  const stream = (model: string, inputs: Tensors, call: Call = base): AsyncIterator<InferenceResponse> =>
    engine.capabilities.inferStream(request(model, inputs), call)[Symbol.asyncIterator]();
  return { clock, engine, request, stream, runs };
}

const repeated = (values: readonly number[], delays: readonly number[]): Tensors =>
  tensorsOf(
    numericTensor("IN", "INT32", [values.length], Int32Array.from(values)),
    numericTensor("DELAY", "UINT32", [delays.length], Uint32Array.from(delays)),
    numericTensor("WAIT", "UINT32", [1], Uint32Array.of(0)),
  );
const one = ({ outputs }: InferenceResponse, name: string): number =>
  Number(numericView(outputs.get(name)!)[0]);

describe("a step that gives several answers", () => {
  it("answers once for each element, each after its delay", async () => {
    const { clock, engine, stream } = world();
    expect((await engine.describe("repeat_int32", undefined, base))!.description).toMatchObject({
      decoupled: true,
    });
    const answers = stream("repeat_int32", repeated([4, 2, 0], [5, 20, 0]));
    const seen: unknown[] = [];
    for (;;) {
      const next = await clock.finish(answers.next());
      if (next.done) break;
      seen.push([one(next.value, "OUT"), one(next.value, "IDX"), clock.nowMs()]);
      expect(next.value.outputs.get("OUT")!.spec.shape).toEqual([1]);
    }
    expect(seen).toEqual([
      [4, 0, 5],
      [2, 1, 25],
      [0, 2, 25],
    ]);
    expect(clock.armed()).toBe(0);
  });

  it("gives none for nothing", async () => {
    const { stream } = world();
    expect(await stream("repeat_int32", repeated([], [])).next()).toEqual({ done: true, value: undefined });
  });

  it("runs earlier steps once, later ones for each answer, and each answer owns its outputs", async () => {
    const { clock, stream, runs } = world();
    const frames = float32Tensor("frames", [3, 2], Float32Array.of(1, 2, 3, 4, 5, 6));
    const answers = stream("frames", tensorsOf(frames, bytesTensor("label", ["a"], [1])));
    const first = (await clock.finish(answers.next())).value as InferenceResponse;
    expect(first.account.stages.map(({ stage, name }) => `${stage} ${name}`)).toEqual([
      "queue before",
      "run before",
      "queue after",
      "run after",
    ]);
    expect([...float32View(first.outputs.get("y")!)]).toEqual([4, 8]);
    expect(runs).toEqual(["3", "1"]);
    for (const { bytes } of first.outputs.values()) bytes.fill(0);
    const second = (await clock.finish(answers.next())).value as InferenceResponse;
    expect([...float32View(second.outputs.get("y")!)]).toEqual([12, 16]);
    expect([...float32View(second.outputs.get("all")!)]).toEqual([2, 4, 6, 8, 10, 12]);
    expect(second.account.stages.map(({ name }) => name)).toEqual(["after", "after"]);
  });

  it("does not work ahead of a slow reader, and stops when it leaves", async () => {
    const { clock, engine, stream, runs } = world();
    const frames = float32Tensor("frames", [50, 2], new Float32Array(100));
    const answers = stream("frames", tensorsOf(frames, bytesTensor("label", ["a"], [1])));
    await clock.finish(answers.next());
    await clock.advance(1000);
    expect(runs).toHaveLength(2);
    await answers.return!();
    await clock.finish(engine.drain());
    expect(runs).toHaveLength(2);
  });

  it("ends with its call, also while it waits", async () => {
    const { clock, engine, stream } = world();
    const child = childCall(base);
    const answers = stream("repeat_int32", repeated([1, 2], [0, 60_000]), child.call);
    await clock.finish(answers.next());
    const waiting = answers.next();
    child.cancel(new LongshoreError("cancelled", "execute", "planted"));
    await expect(waiting).rejects.toMatchObject({ reason: "cancelled" });
    const late = stream("repeat_int32", repeated([1, 2], [0, 60_000]), {
      ...base,
      deadlineMs: clock.nowMs() + 10,
    });
    await clock.finish(late.next());
    await expect(clock.finish(late.next())).rejects.toMatchObject({ reason: "deadline-exceeded" });
    await clock.finish(engine.drain());
    expect(clock.armed()).toBe(0);
  });

  it("is refused if one answer is requested, as a step of a sequence, and for wrong delays", async () => {
    const { clock, engine, request, stream } = world();
    await expect(
      clock.finish(engine.infer(request("repeat_int32", repeated([1], [0])), base)),
    ).rejects.toMatchObject({ reason: "unsupported" });
    await expect(stream("repeat_int32", repeated([1, 2], [0])).next()).rejects.toMatchObject({
      reason: "invalid-input",
    });
    await expect(stream("repeat_int32", repeated([1], [60_001])).next()).rejects.toMatchObject({
      reason: "invalid-input",
    });
  });

  it("stands once in a pipeline, not under forEach, and not before a model that keeps state", async () => {
    const twice = `
inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps:
    - { id: a, transform: repeat, inputs: { values: x } }
    - { id: b, transform: repeat, inputs: { values: a.value } }
  outputs: { y: b.value }
`;
    const each = twice
      .replace("{ id: b,", "{ id: b, forEach: x,")
      .replace("values: a.value", "values: x")
      .replace(/.*id: a.*\n/, "");
    const stateful = `
inputs: [{ name: x, datatype: FP32, shape: [1, 2] }]
pipeline:
  steps:
    - { id: a, transform: repeat, inputs: { values: x } }
    - { id: k, model: keeper, inputs: { x: a.value } }
  outputs: { y: k.y }
`;
    const { engine } = world({
      "twice/model.yaml": twice,
      "each/model.yaml": each,
      "stateful/model.yaml": stateful,
    });
    for (const [model, message] of [
      ["twice", /gives several answers, as step a does/],
      ["each", /cannot run for each element/],
      ["stateful", /keeps state between requests/],
    ] as const) {
      await expect(engine.describe(model, undefined, base)).rejects.toMatchObject({
        reason: "invalid-configuration",
        message: expect.stringMatching(message),
      });
    }
  });

  it("is not needed to be read as a stream", async () => {
    const { clock, engine, request } = world();
    const read = async (): Promise<number[][]> => {
      const all: number[][] = [];
      const x = float32Tensor("x", [1, 2], Float32Array.of(1, 2));
      for await (const { outputs } of answersOf(engine, request("double", tensorsOf(x)), base)) {
        all.push([...float32View(outputs.get("y")!)]);
      }
      return all;
    };
    expect(await clock.finish(read())).toEqual([[2, 4]]);
  });
});
