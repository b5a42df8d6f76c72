import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { opened } from "../../test/models.ts";
import { call, ortRuntime } from "../../test/ort.ts";
import { type GraphBuilder, graphBuilder, writeModel } from "../onnx/index.ts";
import { findInputs } from "./index.ts";

async function foundShapes(write: (build: GraphBuilder) => void): Promise<readonly (readonly number[])[]> {
  const build = graphBuilder();
  write(build);
  const graph = opened(writeModel(build.model({ name: "guessed" })));
  const [inputs] = await findInputs(graph, ortRuntime(), [1], call);
  return [...present(inputs).values()].map((tensor) => tensor.spec.shape);
}

describe("inputs are found for", () => {
  it("images whose channels come last", async () => {
    const [shape] = await foundShapes((build) => {
      const x = build.input("image", "FP32", ["N", "M1", "M2", 3]);
      const planes = build.node("Transpose", [x], { attributes: { perm: { ints: [0, 3, 1, 2] } } });
      const w = build.weights("w", "FP32", [2, 3, 3, 3], new Float32Array(54));
      // Two convolutions with wide steps: an image of a few pixels is refused.
      const y = build.node("Conv", [planes, w], { attributes: { strides: { ints: [7, 7] } } });
      const v = build.weights("v", "FP32", [1, 2, 5, 5], new Float32Array(50));
      build.output(build.node("Conv", [y, v], { outputs: ["y"] }), "FP32");
    });
    expect(present(shape)[1]).toBeGreaterThan(30);
    expect(present(shape)[3]).toBe(3);
  });

  it("a cache that is declared empty", async () => {
    const shapes = await foundShapes((build) => {
      const past = build.input("past", "FP32", [1, 0, 8]);
      const x = build.input("x", "FP32", [1, "time", 8]);
      build.output(
        build.node("Concat", [past, x], { attributes: { axis: { int: 1 } }, outputs: ["y"] }),
        "FP32",
      );
    });
    expect(shapes[0]).toEqual([1, 0, 8]);
  });
});
