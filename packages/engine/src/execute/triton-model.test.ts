import { describe, expect, it } from "vitest";
import {
  float32Tensor,
  float32View,
  type InferenceRequest,
  numericTensor,
  type Tensor,
  type Tensors,
  type TensorSpec,
  tensorsOf,
} from "@longshore/core";
import { int32View } from "@longshore/core/internal";
import { housekeepingCall } from "@longshore/core/internal";
import {
  manualClock,
  memoryFile,
  type MemoryModels,
  memoryStore,
  oneStage,
  settle,
  memoryEngineParts,
} from "@longshore/testkit";
import { createEngine } from "./engine.ts";
import type { EngineParts } from "./engine-parts.ts";

/** Features of Triton's configuration beyond running a graph: other shapes outside, and control inputs. */
const call = housekeepingCall("test");
const spec = (name: string, datatype: TensorSpec["datatype"], ...shape: number[]): TensorSpec => ({
  name,
  datatype,
  shape,
});
const need = (feeds: Tensors, name: string): Tensor => {
  const tensor = feeds.get(name);
  if (!tensor) throw new Error(`the model got no ${name}`);
  return tensor;
};

const models: MemoryModels = {
  image: oneStage([spec("data", "FP32", -1, 1, 2, 2)], [spec("prob", "FP32", -1, 3, 1, 1)], 1, (feeds) => {
    const { shape } = need(feeds, "data").spec;
    const rows = shape[0] ?? 0;
    return tensorsOf(float32Tensor("prob", [rows, 3, 1, 1], new Float32Array(rows * 3).fill(shape.length)));
  }),
  // Triton's simple_sequence: adds up, and begins again at START.
  accumulate: oneStage(
    [
      spec("INPUT", "INT32", -1, 1),
      spec("START", "INT32", -1, 1),
      spec("END", "INT32", -1, 1),
      spec("ID", "UINT64", -1, 1),
      spec("state", "INT32", -1, 1),
    ],
    [spec("OUTPUT", "INT32", -1, 1), spec("next", "INT32", -1, 1), spec("SEEN", "INT32", -1, 3)],
    1,
    (feeds) => {
      const value = (name: string): number => int32View(need(feeds, name))[0] ?? 0;
      const sum = value("INPUT") + (value("START") === 1 ? 0 : value("state"));
      const id = Number(new BigUint64Array(new Uint8Array(need(feeds, "ID").bytes).buffer)[0] ?? 0n);
      return tensorsOf(
        numericTensor("OUTPUT", "INT32", [1, 1], Int32Array.of(sum)),
        numericTensor("next", "INT32", [1, 1], Int32Array.of(sum)),
        numericTensor("SEEN", "INT32", [1, 3], Int32Array.of(value("START"), value("END"), id)),
      );
    },
  ),
};

const store = memoryStore({
  "image/1/model.onnx": memoryFile("image"),
  "image/config.pbtxt": `
    platform: "onnxruntime_onnx" max_batch_size: 4
    input { name: "data" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 1, 2, 2 ] } }
    output { name: "prob" data_type: TYPE_FP32 dims: [ 3 ] reshape { shape: [ 3, 1, 1 ] } label_filename: "labels.txt" }`,
  "image/labels.txt": "a\nb\nc\n",
  "accumulate/1/model.onnx": memoryFile("accumulate"),
  "accumulate/config.pbtxt": `
    backend: "onnxruntime" max_batch_size: 1
    sequence_batching {
      control_input [
        { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
        { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
        { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] } ]
      state [ { input_name: "state" output_name: "next" data_type: TYPE_INT32 dims: [ 1 ] } ]
    }`,
});

const clock = manualClock();
const engineParts: EngineParts = memoryEngineParts({ clock, models, store });
const engine = createEngine(engineParts);
const infer = (model: string, inputs: Tensors, more: Partial<InferenceRequest> = {}) =>
  clock.finish(
    engine.infer(
      {
        segment: { model, version: "", digest: "", variant: "", from: "start", to: "end" },
        inputs,
        codecs: {},
        ...more,
      },
      call,
    ),
  );

describe("a model with Triton's configuration", () => {
  it("takes and gives the shapes outside, and the graph its own", async () => {
    const { description } = (await engine.describe("image", undefined, call))!;
    expect(description).toMatchObject({
      inputs: [{ name: "data", shape: [-1, 4] }],
      outputs: [{ name: "prob", shape: [-1, 3] }],
      labels: { prob: ["a", "b", "c"] },
      batching: { maxBatchSize: 4 },
    });
    const { outputs } = await infer("image", tensorsOf(float32Tensor("data", [2, 4], new Float32Array(8))));
    expect(outputs.get("prob")?.spec.shape).toEqual([2, 3]);
    expect([...float32View(need(outputs, "prob"))]).toEqual([4, 4, 4, 4, 4, 4]);
    await expect(
      infer("image", tensorsOf(float32Tensor("data", [1, 1, 2, 2], new Float32Array(4)))),
    ).rejects.toMatchObject({
      reason: "invalid-input",
    });
  });

  it("fills control inputs from the position in the sequence", async () => {
    const step = async (at: number, value: number, end = false): Promise<readonly number[][]> => {
      const { outputs } = await infer(
        "accumulate",
        tensorsOf(numericTensor("INPUT", "INT32", [1, 1], Int32Array.of(value))),
        {
          sequence: { id: "42", step: at, end, wantState: false },
        },
      );
      return [[...int32View(need(outputs, "OUTPUT"))], [...int32View(need(outputs, "SEEN"))]];
    };
    expect(await step(0, 5)).toEqual([[5], [1, 0, 42]]);
    expect(await step(1, 6)).toEqual([[11], [0, 0, 42]]);
    expect(await step(2, 7, true)).toEqual([[18], [0, 1, 42]]);
    expect(
      (await engine.describe("accumulate", undefined, call))?.description.inputs.map(({ name }) => name),
    ).toEqual(["INPUT"]);
  });

  it("lets sequences wait for a slot without queue entries of those that have one", async () => {
    store.put(
      "slots/config.pbtxt",
      `backend: "onnxruntime" max_batch_size: 1
       sequence_batching { direct { } max_sequence_idle_microseconds: 60000000
         control_input [
           { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
           { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
           { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] } ]
         state [ { input_name: "state" output_name: "next" data_type: TYPE_INT32 dims: [ 1 ] } ] }`,
    );
    store.put("slots/1/model.onnx", memoryFile("accumulate"));
    // Two requests may wait in the queue of the graph; five sequences want its one slot.
    const small = createEngine({ ...engineParts, limits: { maxQueued: 1 } });
    const ask = (id: string, step: number, end = false) =>
      small.infer(
        {
          segment: { model: "slots", version: "", digest: "", variant: "", from: "start", to: "end" },
          inputs: tensorsOf(numericTensor("INPUT", "INT32", [1, 1], Int32Array.of(1))),
          codecs: {},
          sequence: { id, step, end, wantState: false },
        },
        call,
      );
    const sum = async (id: string, step: number, end = false): Promise<number | undefined> =>
      int32View(need((await clock.finish(ask(id, step, end))).outputs, "OUTPUT"))[0];
    expect(await sum("first", 0)).toBe(1);
    const others = ["a", "b", "c", "d"].map((id) => ask(id, 0, true));
    await settle();
    expect([await sum("first", 1), await sum("first", 2, true)]).toEqual([2, 3]);
    await clock.finish(Promise.all(others));
  });
});
