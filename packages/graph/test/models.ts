import { type Datatype, type TensorSpec } from "@longshore/core";
import { seededRandom } from "@longshore/core";
import { type GraphBuilder, graphBuilder, readModel, tensorProto, writeModel } from "../src/index.ts";
import { cutTable, type OpenGraph, splitGraph } from "../src/index.ts";

// Small models for the tests, each with something that splitters trip over.

function values(count: number, seed: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: count }, () => random.next() - 0.5);
}

function weights(build: GraphBuilder, name: string, shape: readonly number[], seed = 1): string {
  return build.weights(
    name,
    "FP32",
    shape,
    values(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
  );
}

const ints = (list: readonly number[]): BigInt64Array => BigInt64Array.from(list, BigInt);

/** Opens bytes for splitting. */
export function opened(bytes: Uint8Array): OpenGraph {
  const split = splitGraph(readModel(bytes));
  return { split, table: cutTable(split) };
}

/** Two inputs, one of them whole numbers that index a table, whole-number output beside a fraction. */
function twoInputs(opset: number): Uint8Array {
  const build = graphBuilder();
  const ids = build.input("ids", "INT64", ["batch", 4]);
  const x = build.input("x", "FP32", ["batch", 8]);
  const rows = build.node("Gather", [weights(build, "table", [20, 2]), ids]);
  const flat = build.node("Reshape", [rows, build.weights("to", "INT64", [2], ints([0, -1]))]);
  const both = build.node("Add", [flat, x]);
  const scores = build.node("MatMul", [both, weights(build, "w", [8, 5], 2)], { outputs: ["scores"] });
  const best = build.node("ArgMax", [scores], { attributes: { axis: { int: 1 } }, outputs: ["best"] });
  build.output(build.node("Softmax", [scores], { attributes: { axis: { int: 1 } } }), "FP32", ["batch", 5]);
  build.output(best, "INT64", ["batch", 1]);
  build.output("scores", "FP32", ["batch", 5]);
  return writeModel(build.model({ name: "two", opset }));
}

/** Names that no file name, address or label could hold. */
function oddNames(): Uint8Array {
  const build = graphBuilder();
  const x = build.input('{"1": "x"}', "FP32", ["n", 3]);
  const a = build.node("Relu", [x], { outputs: ["a/b:0"] });
  const b = build.node("Neg", [a], { outputs: ["später ✓ ../.."] });
  build.output(build.node("Add", [b, x], { outputs: ["out\n"] }), "FP32", ["n", 3]);
  return writeModel(build.model({ name: "odd" }));
}

/** An LSTM with state in and out, shape arithmetic, and an output that is made half-way. */
function lstm(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["time", "batch", 3]);
  const h = build.input("h", "FP32", [1, "batch", 4]);
  const c = build.input("c", "FP32", [1, "batch", 4]);
  const scaled = build.node("Tanh", [x]);
  const outputs = ["all", "h_next", "c_next"];
  build.node(
    "LSTM",
    [scaled, weights(build, "w", [1, 16, 3]), weights(build, "r", [1, 16, 4], 2), "", "", h, c],
    { attributes: { hidden_size: { int: 4 } }, outputs },
  );
  const shape = build.node("Shape", ["all"]);
  const time = build.node("Gather", [shape, build.weights("zero", "INT64", [1], ints([0]))]);
  const rest = build.weights("rest", "INT64", [2], ints([-1, 4]));
  const target = build.node("Concat", [time, rest], { attributes: { axis: { int: 0 } } });
  const flat = build.node("Reshape", ["all", target]);
  build.output(build.node("Sigmoid", [flat], { outputs: ["y"] }), "FP32", ["time", "batch", 4]);
  build.output("h_next", "FP32", [1, "batch", 4]);
  build.output("c_next", "FP32", [1, "batch", 4]);
  return writeModel(build.model({ name: "lstm", opset: 14 }));
}

/** A loop whose body captures an outer tensor, after and before other nodes. */
function loop(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [2, 3]);
  build.node("Mul", [x, weights(build, "w", [3])], { outputs: ["step"] });
  const start = build.node("Relu", [x], { outputs: ["start"] });
  const body = graphBuilder(["step"]);
  body.input("turn", "INT64", []);
  const go = body.input("go", "BOOL", []);
  const state = body.input("state", "FP32", [2, 3]);
  const next = body.node("Add", [state, "step"], { outputs: ["next"] });
  body.output(body.node("Identity", [go], { outputs: ["still"] }), "BOOL", []);
  body.output(next, "FP32", [2, 3]);
  body.output(
    body.node("ReduceSum", [next], { outputs: ["sum"], attributes: { keepdims: { int: 0 } } }),
    "FP32",
    [],
  );
  const times = build.weights("times", "INT64", [], ints([3]));
  const yes = build.weights("yes", "BOOL", [], Uint8Array.of(1));
  build.node("Loop", [times, yes, start], {
    attributes: { body: { graph: body.graph("body") } },
    outputs: ["last", "sums"],
  });
  build.output(build.node("Neg", ["last"], { outputs: ["y"] }), "FP32", [2, 3]);
  build.output(build.node("Exp", ["sums"], { outputs: ["z"] }), "FP32", [3]);
  return writeModel(build.model({ name: "loop", opset: 13 }));
}

/** A choice whose branches capture an outer tensor and a stored one. */
function choice(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [4]);
  const c = build.input("c", "BOOL", []);
  const doubled = build.node("Add", [x, x], { outputs: ["doubled"] });
  const squared = build.node("Mul", [doubled, doubled], { outputs: ["squared"] });
  weights(build, "w", [4]);
  const branch = (name: string, operator: string, second: string) => {
    const body = graphBuilder(["doubled", "squared", "w"]);
    body.output(body.node(operator, ["squared", second], { outputs: [name] }), "FP32", [4]);
    return { graph: body.graph(name) };
  };
  const y = build.node("If", [c], {
    attributes: { then_branch: branch("t", "Sub", "w"), else_branch: branch("e", "Add", "doubled") },
    outputs: ["y"],
  });
  build.output(build.node("Sqrt", [build.node("Abs", [y])], { outputs: ["root"] }), "FP32", [4]);
  build.output(squared, "FP32", [4]);
  return writeModel(build.model({ name: "choice", opset: 13 }));
}

/** Texts and truths cross beside numbers. */
function texts(): Uint8Array {
  const build = graphBuilder();
  const words = build.input("words", "BYTES", ["n"]);
  const x = build.input("x", "FP32", ["n"]);
  const above = build.node("Greater", [x, build.weights("zero", "FP32", [], Float32Array.of(0))]);
  const none = build.weights("none", "BYTES", [1], ["-"]);
  build.output(build.node("Where", [above, words, none], { outputs: ["kept"] }), "BYTES", ["n"]);
  build.output(build.node("Not", [above], { outputs: ["dropped"] }), "BOOL", ["n"]);
  return writeModel(build.model({ name: "texts", opset: 16 }));
}

/** Constants of every making: stored, in nodes, filled, and computed from those. */
function constants(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["n", 4]);
  const filled = build.node("ConstantOfShape", [build.weights("size", "INT64", [2], ints([4, 4]))], {
    attributes: { value: { tensor: tensorProto("", "FP32", [1], Float32Array.of(0.25)) } },
  });
  const bias = build.node("Constant", [], {
    attributes: { value: { tensor: tensorProto("", "FP32", [4], Float32Array.of(1, 2, 3, 4)) } },
  });
  const scaled = build.node("Mul", [filled, weights(build, "w", [4, 4])], { outputs: ["scaled"] });
  const first = build.node("MatMul", [x, scaled]);
  const second = build.node("Add", [first, bias]);
  const third = build.node("MatMul", [build.node("Relu", [second]), scaled]);
  build.output(build.node("Add", [third, bias], { outputs: ["y"] }), "FP32", ["n", 4]);
  build.output(scaled, "FP32", [4, 4]);
  build.output(x, "FP32", ["n", 4]);
  return writeModel(build.model({ name: "constants" }));
}

/** A network of file version 3, which lists its weights among the inputs. */
function oldFile(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 2, 6, 6]);
  const conv = build.node("Conv", [x, weights(build, "w", [3, 2, 3, 3])]);
  const pooled = build.node("MaxPool", [build.node("Relu", [conv])], {
    attributes: { kernel_shape: { ints: [2, 2] } },
  });
  build.output(build.node("GlobalAveragePool", [pooled], { outputs: ["y"] }), "FP32", [1, 3, 1, 1]);
  const model = build.model({ name: "old", opset: 7, irVersion: 3 });
  const declared = graphBuilder();
  declared.input("w", "FP32", [3, 2, 3, 3]);
  model.graph?.input.push(...declared.graph("").input);
  return writeModel(model);
}

/** Small models by what is special about them. */
export const smallModels: Readonly<Record<string, () => Uint8Array>> = {
  "two inputs, whole numbers, opset 13": () => twoInputs(13),
  "two inputs, whole numbers, opset 21": () => twoInputs(21),
  "names with any characters": oddNames,
  "LSTM with state": lstm,
  "loop that captures": loop,
  "choice that captures": choice,
  "texts and truths": texts,
  "constants, and an input as output": constants,
  "file version 3, opset 7": oldFile,
};

/** A graph in which a sequence lies between tensors. */
export function withSequence(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [4]);
  const a = build.node("Relu", [x], { outputs: ["a"] });
  const parts = build.node("SplitToSequence", [a], { outputs: ["parts"] });
  const joined = build.node("ConcatFromSequence", [parts], {
    attributes: { axis: { int: 0 } },
    outputs: ["joined"],
  });
  build.output(build.node("Neg", [joined], { outputs: ["y"] }), "FP32", [4]);
  build.output(parts);
  return writeModel(build.model({ name: "sequence", opset: 13 }));
}

/** Spec of an input, for sketches. */
export function spec(name: string, datatype: Datatype, shape: readonly number[]): TensorSpec {
  return { name, datatype, shape };
}
