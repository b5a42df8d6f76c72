import type { Datatype } from "@longshore/core";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type FixtureNode, type FixtureTensor, type FixtureValue, onnxFile } from "./onnx-fixtures.ts";

/**
 * The models that the examples of Triton's clients use, under the names and with the tensors that they expect. Some of the
 * originals are custom backends or Python; these are ONNX files of a few hundred bytes that answer alike:
 *
 * | model | answer |
 * |---|---|
 * | `simple`, `simple_int8`, `simple_string` | `OUTPUT0 = INPUT0 + INPUT1`, `OUTPUT1 = INPUT0 - INPUT1`, rows of 16 |
 * | `simple_identity`, `identity_fp32` | `OUTPUT0 = INPUT0`: texts, and numbers of any row length |
 * | `simple_sequence` | `OUTPUT = INPUT`, 1 more at the start; direct strategy |
 * | `simple_dyna_sequence` | as above, and at the end the correlation id more; oldest strategy |
 * | `simple_string_dyna_sequence` | the sum since the start (implicit state), at the end the id (a text of digits) more |
 * | `accumulate_int32` | the sum since the start, from implicit state; direct strategy |
 */

/** The content of a folder of models: path to content. */
export type ModelFiles = Readonly<Record<string, Uint8Array | string>>;

const int32 = 6;
const string = 8;
const int8 = 3;
const int64 = 7;

const cast = (input: string, output: string, to: number): FixtureNode => ({
  op: "Cast",
  inputs: [input],
  outputs: [output],
  attributes: { to: { int: to } },
});

const node = (op: string, inputs: readonly string[], output: string): FixtureNode => ({
  op,
  inputs,
  outputs: [output],
});

const value = (name: string, datatype: Datatype, ...sizes: readonly (number | string)[]): FixtureValue => ({
  name,
  datatype,
  shape: ["rows", ...sizes],
});

const one: FixtureTensor = {
  name: "one",
  datatype: "INT32",
  shape: [1],
  bytes: new Uint8Array(Int32Array.of(1).buffer),
};

/** Sum and difference; datatypes that ONNX Runtime does not add by itself go through INT32. */
function addSub(datatype: Datatype, through: number | undefined): Uint8Array {
  const names =
    through === undefined ? ["INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1"] : ["a", "b", "sum", "rest"];
  const [a = "", b = "", sum = "", rest = ""] = names;
  const before = through === undefined ? [] : [cast("INPUT0", a, int32), cast("INPUT1", b, int32)];
  const after = through === undefined ? [] : [cast(sum, "OUTPUT0", through), cast(rest, "OUTPUT1", through)];
  return onnxFile({
    inputs: [value("INPUT0", datatype, 16), value("INPUT1", datatype, 16)],
    outputs: [value("OUTPUT0", datatype, 16), value("OUTPUT1", datatype, 16)],
    nodes: [...before, node("Add", [a, b], sum), node("Sub", [a, b], rest), ...after],
  });
}

function identity(datatype: Datatype): Uint8Array {
  return onnxFile({
    inputs: [value("INPUT0", datatype, "size")],
    outputs: [value("OUTPUT0", datatype, "size")],
    nodes: [node("Identity", ["INPUT0"], "OUTPUT0")],
  });
}

const numbers = (...names: readonly string[]): readonly FixtureValue[] =>
  names.map((name) => value(name, "INT32", 1));

function sequence(): Uint8Array {
  return onnxFile({
    inputs: numbers("INPUT", "START", "READY"),
    outputs: numbers("OUTPUT"),
    nodes: [node("Mul", ["START", "READY"], "begun"), node("Add", ["INPUT", "begun"], "OUTPUT")],
  });
}

function dynamicSequence(): Uint8Array {
  return onnxFile({
    inputs: [...numbers("INPUT", "START", "END", "READY"), value("CORRID", "UINT64", 1)],
    outputs: numbers("OUTPUT"),
    nodes: [
      node("Mul", ["START", "READY"], "begun"),
      node("Add", ["INPUT", "begun"], "counted"),
      cast("CORRID", "id", int32),
      node("Mul", ["END", "id"], "last"),
      node("Add", ["counted", "last"], "OUTPUT"),
    ],
  });
}

/** `NEXT = INPUT + (START ? 0 : STATE)`. */
const accumulation: readonly FixtureNode[] = [
  node("Sub", ["one", "START"], "goes-on"),
  node("Mul", ["STATE", "goes-on"], "before"),
  node("Add", ["INPUT", "before"], "NEXT"),
];

function textSequence(): Uint8Array {
  return onnxFile({
    inputs: [...numbers("INPUT", "STATE", "START", "END", "READY"), value("CORRID", "BYTES", 1)],
    outputs: numbers("OUTPUT", "NEXT"),
    weights: [one],
    nodes: [
      ...accumulation,
      cast("CORRID", "wide", int64),
      cast("wide", "id", int32),
      node("Mul", ["END", "id"], "last"),
      node("Add", ["NEXT", "last"], "OUTPUT"),
    ],
  });
}

function accumulator(): Uint8Array {
  return onnxFile({
    inputs: numbers("INPUT", "STATE", "START"),
    outputs: numbers("OUTPUT", "NEXT"),
    weights: [one],
    nodes: [...accumulation, node("Identity", ["NEXT"], "OUTPUT")],
  });
}

const port = (name: string, type: string, size: number): string =>
  `{ name: "${name}" data_type: ${type} dims: [ ${size} ] }`;

function config(
  name: string,
  inputs: readonly string[],
  outputs: readonly string[],
  rest: readonly string[] = [],
): string {
  return [
    `name: "${name}"`,
    'platform: "onnxruntime_onnx"',
    "max_batch_size: 8",
    `input [ ${inputs.join(", ")} ]`,
    `output [ ${outputs.join(", ")} ]`,
    ...rest,
    "",
  ].join("\n");
}

function addSubConfig(name: string, type: string): string {
  return config(
    name,
    [port("INPUT0", type, 16), port("INPUT1", type, 16)],
    [port("OUTPUT0", type, 16), port("OUTPUT1", type, 16)],
  );
}

function identityConfig(name: string, type: string): string {
  return config(name, [port("INPUT0", type, -1)], [port("OUTPUT0", type, -1)]);
}

const flag = (name: string, kind: string): string =>
  `{ name: "${name}" control [ { kind: CONTROL_SEQUENCE_${kind} int32_false_true: [ 0, 1 ] } ] }`;
const correlation = (type: string): string =>
  `{ name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: ${type} } ] }`;
const sum =
  'state [ { input_name: "STATE" output_name: "NEXT" data_type: TYPE_INT32 dims: [ 1 ] ' +
  'initial_state { name: "zero" data_type: TYPE_INT32 dims: [ 1 ] zero_data: true } } ]';

function sequenceConfig(name: string, strategy: string, controls: readonly string[], state = ""): string {
  return config(
    name,
    [port("INPUT", "TYPE_INT32", 1)],
    [port("OUTPUT", "TYPE_INT32", 1)],
    [`sequence_batching { ${strategy} control_input [ ${controls.join(", ")} ] ${state} }`],
  );
}

const oldest =
  "max_sequence_idle_microseconds: 10000000 oldest { max_candidate_sequences: 1024 max_queue_delay_microseconds: 1000 }";

/** The files of all these models, by path inside a repository. */
export function tritonModels(): ModelFiles {
  const start = flag("START", "START");
  const end = flag("END", "END");
  const ready = flag("READY", "READY");
  return {
    "simple/config.pbtxt": addSubConfig("simple", "TYPE_INT32"),
    "simple/1/model.onnx": addSub("INT32", undefined),
    "simple_int8/config.pbtxt": addSubConfig("simple_int8", "TYPE_INT8"),
    "simple_int8/1/model.onnx": addSub("INT8", int8),
    "simple_string/config.pbtxt": addSubConfig("simple_string", "TYPE_STRING"),
    "simple_string/1/model.onnx": addSub("BYTES", string),
    "simple_identity/config.pbtxt": identityConfig("simple_identity", "TYPE_STRING"),
    "simple_identity/1/model.onnx": identity("BYTES"),
    "identity_fp32/config.pbtxt": identityConfig("identity_fp32", "TYPE_FP32"),
    "identity_fp32/1/model.onnx": identity("FP32"),
    "simple_sequence/config.pbtxt": sequenceConfig(
      "simple_sequence",
      "max_sequence_idle_microseconds: 5000000 direct { }",
      [start, ready],
    ),
    "simple_sequence/1/model.onnx": sequence(),
    "simple_dyna_sequence/config.pbtxt": sequenceConfig("simple_dyna_sequence", oldest, [
      start,
      end,
      ready,
      correlation("TYPE_UINT64"),
    ]),
    "simple_dyna_sequence/1/model.onnx": dynamicSequence(),
    "simple_string_dyna_sequence/config.pbtxt": sequenceConfig(
      "simple_string_dyna_sequence",
      oldest,
      [start, end, ready, correlation("TYPE_STRING")],
      sum,
    ),
    "simple_string_dyna_sequence/1/model.onnx": textSequence(),
    "accumulate_int32/config.pbtxt": sequenceConfig("accumulate_int32", "direct { }", [start], sum),
    "accumulate_int32/1/model.onnx": accumulator(),
  };
}

/** Writes models into a folder, which it makes; a repository that a server can be started on. */
export async function writeModels(folder: string, files: ModelFiles = tritonModels()): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
}
