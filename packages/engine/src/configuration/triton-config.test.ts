import { describe, expect, it } from "vitest";
import type { Tensors, TensorSpec } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  memoryFile,
  type MemoryModels,
  manualClock,
  memorySource,
  memoryStore,
  oneStage,
  sha256Of,
} from "@longshore/testkit";
import { modelRepository } from "../repository/repository.ts";
import { parseTritonConfig } from "./triton-config.ts";
import { parseTritonJson } from "./triton-json.ts";

const classifier = `
name: "classifier"
platform: "onnxruntime_onnx"
max_batch_size : 8
input [
  {
    name: "data_0"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 224, 224 ]
    reshape { shape: [ 1, 3, 224, 224 ] }
  }
]
output [
  {
    name: "prob_1"
    data_type: TYPE_FP32
    dims: [ 1000 ]
    reshape { shape: [ 1000, 1, 1 ] }
    label_filename: "labels.txt"
  }
]
instance_group [ { count: 2 kind: KIND_CPU }, { count: 9 passive: true } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 1500
  default_queue_policy { timeout_action: REJECT max_queue_size: 16 } }
version_policy: { specific { versions: [ 1, 3 ] } }
optimization { execution_accelerators { gpu_execution_accelerator : [ { name : "tensorrt" parameters { key: "precision_mode" value: "FP16" } } ] } }
parameters { key: "session.intra_op.allow_spinning" value: { string_value: "0" } }
model_warmup [ { name: "zeros" batch_size: 1 inputs { key: "data_0" value: { data_type: TYPE_FP32 dims: [3, 224, 224] zero_data: true } } } ]
`;

describe("config.pbtxt", () => {
  it("is read as it is, with the names of settings without effect", () => {
    const config = parseTritonConfig("classifier", classifier);
    expect(config).toMatchObject({
      name: "classifier",
      batching: { maxBatchSize: 8, preferredSizes: [4, 8], maxQueueDelayMs: 1.5 },
      joinsRequests: true,
      instances: [{ count: 2 }],
      inputs: [
        { name: "data_0", datatype: "FP32", shape: [-1, 3, 224, 224], graphShape: [-1, 1, 3, 224, 224] },
      ],
      outputs: [
        { name: "prob_1", shape: [-1, 1000], graphShape: [-1, 1000, 1, 1], labelsFile: "labels.txt" },
      ],
      versions: { kind: "specific", versions: ["1", "3"] },
    });
    expect(config.unused).toEqual(["optimization", "parameters session.intra_op.allow_spinning"]);
    expect(config.written).toMatchObject({
      optimization: {
        execution_accelerators: {
          gpu_execution_accelerator: [{ name: "tensorrt", parameters: { precision_mode: "FP16" } }],
        },
      },
      parameters: { "session.intra_op.allow_spinning": { string_value: "0" } },
      model_warmup: [{ inputs: { data_0: { data_type: "TYPE_FP32", dims: [3, 224, 224] } } }],
    });
    const labelled = parseTritonConfig(
      "m",
      'parameters { key: "keep_loaded" value { string_value: "true" } } parameters { key: "version_label.stable" value { string_value: "1" } }',
    );
    expect(labelled.unused).toEqual([]);
    const told = {
      priority: "PRIORITY_DEFAULT",
      input_pinned_memory: { enable: false },
      eager_batching: false,
    };
    expect(parseTritonJson("m", JSON.stringify({ optimization: told })).unused).toEqual([]);
  });

  it("takes Triton's defaults: the latest version, no batch axis, requests that do not share runs", () => {
    expect(parseTritonConfig("m", "")).toMatchObject({
      versions: { kind: "latest", count: 1 },
      batching: { maxBatchSize: 0 },
      joinsRequests: false,
      graph: "model.onnx",
    });
    expect(parseTritonConfig("m", "max_batch_size: 4").joinsRequests).toBe(false);
    expect(parseTritonConfig("m", "version_policy { all {} }").versions).toEqual({ kind: "all" });
  });

  it("reads sequence batching: state with its batch row, controls with their values", () => {
    const config = parseTritonConfig(
      "s",
      `max_batch_size: 4
       sequence_batching {
         max_sequence_idle_microseconds: 5000000
         direct { }
         control_input [
           { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
           { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
         ]
         state [ { input_name: "in" output_name: "out" data_type: TYPE_INT32 dims: [ -1, 2 ]
                   initial_state { data_type: TYPE_INT32 dims: [1, 2] zero_data: true name: "zero" } } ]
       }`,
    );
    expect(config.sequence).toEqual({
      maxIdleMs: 5000,
      states: [{ input: "in", output: "out", datatype: "INT32", shape: [1, 1, 2] }],
      controls: [
        { input: "START", kind: "start", datatype: "FP32", noYes: [0, 1] },
        { input: "CORRID", kind: "correlation-id", datatype: "UINT64", noYes: [0, 1] },
      ],
      required: true,
      strategy: { kind: "direct", candidates: 4 },
    });
    // Rows of several sequences may share a run.
    expect(config.joinsRequests).toBe(true);
  });

  it("reads the oldest strategy, its knobs and states that begin with a file", () => {
    const config = parseTritonConfig(
      "s",
      `max_batch_size: 8
       sequence_batching {
         oldest { max_candidate_sequences: 4 preferred_batch_size: [ 2, 4 ] max_queue_delay_microseconds: 1500 preserve_ordering: true }
         control_input [
           { name: "END" control [ { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } ] },
           { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } ] } ]
         state [ { input_name: "in" output_name: "out" data_type: TYPE_FP32 dims: [ -1 ]
                   initial_state { data_type: TYPE_FP32 dims: [ 3 ] data_file: "begin.raw" name: "b" } } ]
       }`,
    );
    expect(config.sequence).toEqual({
      maxIdleMs: 1000,
      states: [{ input: "in", output: "out", datatype: "FP32", shape: [1, 3], initialFile: "begin.raw" }],
      controls: [
        { input: "END", kind: "end", datatype: "BOOL", noYes: [0, 1] },
        { input: "ID", kind: "correlation-id", datatype: "BYTES", noYes: [0, 1] },
      ],
      required: true,
      strategy: { kind: "oldest", candidates: 4 },
    });
    expect(config.batching).toMatchObject({
      maxBatchSize: 8,
      preferredSizes: [2, 4],
      maxQueueDelayMs: 1.5,
      preserveOrdering: true,
    });
    const direct = parseTritonConfig(
      "s",
      "max_batch_size: 8 sequence_batching { direct { minimum_slot_utilization: 0.3 } }",
    );
    expect(direct.batching).toMatchObject({ preferredSizes: [3] });
    expect(parseTritonConfig("s", "sequence_batching { oldest { } }").sequence?.strategy).toEqual({
      kind: "oldest",
      candidates: 1024,
    });
  });

  it.each([
    [
      "a misspelt field",
      "max_batchsize: 4",
      "max_batchsize is no field of ModelConfig; known here: name, platform",
    ],
    ["a misspelt nested field", 'input { nam: "x" }', "nam is no field of Input; known here: name"],
    ["a wrong type", 'max_batch_size: "8"', 'max_batch_size is "8"; expected int'],
    ["a number that is none", "max_batch_size: 1.5", "expected int"],
    ["a value given twice", 'name: "a" name: "b"', "name is given twice"],
    ["an unknown datatype", 'input { name: "x" data_type: FP32 }', "data_type is FP32; expected TYPE_BOOL"],
    ["another backend", 'backend: "python"', 'is "python"; supported: onnxruntime_onnx, ensemble'],
    [
      "a state from a file elsewhere",
      'sequence_batching { state { input_name: "a" output_name: "b" data_type: TYPE_FP32 initial_state { data_file: "../x" } } }',
      "must be a file in the model's initial_state folder",
    ],
    [
      "a state with two beginnings",
      'sequence_batching { state { input_name: "a" output_name: "b" data_type: TYPE_FP32 initial_state { zero_data: true } initial_state { zero_data: true } } }',
      "is given 2 times",
    ],
    ["two strategies", "sequence_batching { direct {} oldest {} }", "has both direct and oldest"],
    ["two batchers", "dynamic_batching {} sequence_batching {}", "cannot both be given"],
    [
      "an id that is no number and no text",
      'sequence_batching { control_input { name: "c" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 } } }',
      "an id is one of UINT64",
    ],
    [
      "a control with one value",
      'sequence_batching { control_input { name: "c" control { int32_false_true: 1 } } }',
      "int32_false_true needs two values",
    ],
    [
      "a control that there is not",
      'sequence_batching { control_input { name: "c" control { kind: constructor } } }',
      "kind is constructor",
    ],
    [
      "one kind of control twice",
      'sequence_batching { control_input { name: "a" control {} } control_input { name: "b" control {} } }',
      "is start, which another one is already",
    ],
    [
      "more slots than full",
      "max_batch_size: 2 sequence_batching { direct { minimum_slot_utilization: 1.5 } }",
      "0 to 1 is allowed",
    ],
    [
      "a preferred size beyond the batch",
      "max_batch_size: 2 sequence_batching { oldest { preferred_batch_size: 4 } }",
      "1 to max_batch_size (2) is allowed",
    ],
    [
      "an input that callers may leave out",
      'input { name: "x" data_type: TYPE_FP32 dims: 1 optional: true }',
      'input "x" optional is true; all inputs of a model are given here',
    ],
    [
      "an input of requests that are joined without a common shape",
      'input { name: "x" data_type: TYPE_FP32 dims: 1 allow_ragged_batch: true }',
      'input "x" allow_ragged_batch is true',
    ],
    [
      "a shape tensor",
      'output { name: "y" data_type: TYPE_INT32 dims: 1 is_shape_tensor: true }',
      'output "y" is_shape_tensor is true',
    ],
    [
      "an input made from a batch",
      'batch_input { kind: BATCH_ELEMENT_COUNT target_name: "n" data_type: TYPE_FP32 source_input: "x" }',
      "batch_input is given",
    ],
    [
      "an output parted by a batch",
      'batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }',
      "batch_output is given",
    ],
    ["a file outside the folder", 'default_model_filename: "../x.onnx"', "must be a file here"],
    ["text that is no text format", "{", "line 1"],
  ])("%s is refused with its path", (_what, text, message) => {
    expect(() => parseTritonConfig("m", text)).toThrow(
      expect.objectContaining({
        reason: "invalid-configuration",
        message: expect.stringContaining(message) as string,
      }) as Error,
    );
  });
});

it("accepts inputs that set a refused feature to false", () => {
  const text =
    'input { name: "x" data_type: TYPE_FP32 dims: 1 optional: false allow_ragged_batch: false is_shape_tensor: false }';
  expect(parseTritonConfig("m", text).inputs).toMatchObject([{ name: "x", shape: [1] }]);
  expect(parseTritonJson("m", '{"batchInput": [], "metricTags": {"a": "b"}}').unused).toEqual([
    "metric_tags",
  ]);
  expect(() =>
    parseTritonJson(
      "m",
      '{"input": [{"name": "x", "dataType": "TYPE_FP32", "dims": ["1"], "optional": true}]}',
    ),
  ).toThrow(expect.objectContaining({ reason: "invalid-configuration" }) as Error);
});

const call = housekeepingCall("test");
const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });
const nothing = (): Tensors => new Map();
const models: MemoryModels = {
  scale: oneStage([fp32("IN", -1, 4)], [fp32("OUT", -1, 4)], 1, nothing),
  add: oneStage([fp32("A", -1, 4), fp32("B", -1, 4)], [fp32("SUM", -1, 4)], 1, nothing),
};

describe("an ensemble", () => {
  const ensemble = `
    platform: "ensemble" max_batch_size: 2
    input { name: "X" data_type: TYPE_FP32 dims: 4 }
    output { name: "Y" data_type: TYPE_FP32 dims: 4 }
    ensemble_scheduling { step [
      { model_name: "add" model_version: -1
        input_map { key: "A" value: "twice" } input_map { key: "B" value: "X" } output_map { key: "SUM" value: "Y" } },
      { model_name: "scale" model_version: 1
        input_map { key: "IN" value: "X" } output_map { key: "OUT" value: "twice" } }
    ] }`;
  const files = {
    "scale/1/model.onnx": memoryFile("scale"),
    "add/1/model.onnx": memoryFile("add"),
  };
  const load = (text: string) =>
    modelRepository({
      store: memoryStore({ ...files, "sum/config.pbtxt": text }),
      source: memorySource(models),
      transforms: new Map(),
      sha256: sha256Of,
      clock: manualClock(),
    }).load("sum", undefined, call);

  it("becomes a pipeline in the order of its data", async () => {
    const { description, programs } = await load(ensemble);
    expect(programs.get("default")?.steps.map(({ id, inputs }) => [id, inputs])).toEqual([
      ["scale", { IN: "X" }],
      ["add", { A: "scale.OUT", B: "X" }],
    ]);
    expect(description.outputs).toEqual([fp32("Y", -1, 4)]);
  });

  it("is refused when a tensor comes from nowhere", async () => {
    await expect(
      load(ensemble.replace('value: "twice" } input_map', 'value: "thrice" } input_map')),
    ).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining('takes "thrice", which no step makes') as string,
    });
  });
});
