import { float32Tensor, float32View, tensorsOf } from "@longshore/core";
import { describe, expect, it } from "vitest";
import { artifactOf, call, ortRuntime } from "../../test/ort.ts";
import { graphBuilder, writeModel } from "./index.ts";

describe("graphBuilder", () => {
  it("writes a model that the runtime runs", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", ["batch", 2]);
    const w = build.weights("w", "FP32", [2, 2], Float32Array.of(1, 0, 0, -1));
    const product = build.node("Gemm", [x, w, ""], {
      attributes: { transB: { int: 1 }, alpha: { float: 2 } },
    });
    build.output(build.node("Relu", [product], { outputs: ["y"] }), "FP32", ["batch", 2]);
    const bytes = writeModel(build.model({ name: "gemm", opset: 13 }));
    const session = await ortRuntime().load(artifactOf(bytes), {}, call);
    const out = await session.run(tensorsOf(float32Tensor("x", [1, 2], Float32Array.of(3, 4))), ["y"], call);
    expect([...float32View(out.get("y")!)]).toEqual([6, 0]);
  });

  it("writes bodies that read values of the graph around them", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [2]);
    const condition = build.input("c", "BOOL", []);
    const branch = (name: string, operator: string) => {
      const body = graphBuilder(["x"]);
      body.output(body.node(operator, ["x"], { outputs: [name] }), "FP32", [2]);
      return { graph: body.graph(name) };
    };
    const y = build.node("If", [condition], {
      attributes: { then_branch: branch("a", "Relu"), else_branch: branch("b", "Neg") },
      outputs: ["y"],
    });
    build.output(y, "FP32", [2]);
    const session = await ortRuntime().load(artifactOf(writeModel(build.model({ name: "if" }))), {}, call);
    const feeds = tensorsOf(float32Tensor("x", [2], Float32Array.of(-1, 2)), {
      spec: { name: "c", datatype: "BOOL", shape: [] },
      bytes: Uint8Array.of(0),
    });
    expect([...float32View((await session.run(feeds, ["y"], call)).get("y")!)]).toEqual([1, -2]);
    expect(x).toBe("x");
  });

  it("refuses a node with an unknown input, a name made twice, and a model without outputs", () => {
    const build = graphBuilder();
    build.input("x", "FP32", [1]);
    const invalid = expect.objectContaining({ reason: "invalid-model" });
    expect(() => build.node("Relu", ["z"])).toThrow(invalid);
    expect(() => build.weights("x", "FP32", [1], new Float32Array(1))).toThrow(invalid);
    expect(() => build.model({ name: "none" })).toThrow(invalid);
  });
});
