import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { smallModels } from "../../test/models.ts";
import { graphBuilder, type ModelProto, readModel, writeModel } from "../onnx/index.ts";
import { splitGraph } from "./index.ts";

function chain(): ModelProto {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1]);
  const a = build.node("Relu", [x], { outputs: ["a"] });
  const b = build.node("Neg", [a], { outputs: ["b"] });
  build.output(build.node("Abs", [b], { outputs: ["y"] }), "FP32", [1]);
  return build.model({ name: "chain" });
}

describe("splitGraph", () => {
  it("sorts nodes that the file has out of order", () => {
    const model = chain();
    model.graph!.node.reverse();
    const split = splitGraph(readModel(writeModel(model)));
    expect(split.nodes.map((node) => node.opType)).toEqual(["Relu", "Neg", "Abs"]);
    expect(split.types.get("y")).toMatchObject({ element: 1, shape: [1] });
  });

  it("refuses cycles, values that nothing makes and values made twice", () => {
    const cyclic = chain();
    present(cyclic.graph!.node[0]).input[0] = "b";
    const missing = chain();
    present(missing.graph!.node[1]).input[0] = "gone";
    const twice = chain();
    present(twice.graph!.node[1]).output[0] = "a";
    const noOutput = chain();
    present(noOutput.graph!.output[0]).name = "nowhere";
    for (const model of [cyclic, missing, twice, noOutput]) {
      expect(() => splitGraph(model)).toThrow(expect.objectContaining({ reason: "invalid-model" }));
    }
  });

  it("leaves constants and dead nodes out of the graph that is split", () => {
    const split = splitGraph(readModel(present(smallModels["constants, and an input as output"])()));
    expect(split.nodes.map((node) => node.opType)).toEqual(["MatMul", "Add", "Relu", "MatMul", "Add"]);
    const model = chain();
    const [first] = model.graph!.node;
    model.graph!.node.push({ ...present(first), output: ["dead"] });
    expect(splitGraph(model).nodes).toHaveLength(3);
  });

  it("keeps nodes that draw at random out of the constants", () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [2]);
    const noise = build.node("RandomNormal", [], { attributes: { shape: { ints: [2] } } });
    build.output(build.node("Add", [x, noise], { outputs: ["y"] }), "FP32", [2]);
    expect(splitGraph(build.model({ name: "noise" })).nodes.map((node) => node.opType)).toEqual([
      "RandomNormal",
      "Add",
    ]);
  });

  it("says that no output can travel when all are sequences, and that an input must be a tensor", () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [2]);
    build.output(build.node("SequenceConstruct", [x], { outputs: ["list"] }));
    expect(() => splitGraph(build.model({ name: "list" }))).toThrow(
      expect.objectContaining({
        reason: "unsupported",
        message: expect.stringContaining('"list" (a sequence)'),
      }),
    );
    const eight = chain();
    const type = present(eight.graph!.input[0]).type!.value;
    if (type.case === "tensorType") type.value.elemType = 17;
    expect(() => splitGraph(eight)).toThrow(
      expect.objectContaining({ reason: "unsupported", message: expect.stringContaining("FLOAT8E4M3FN") }),
    );
  });
});
