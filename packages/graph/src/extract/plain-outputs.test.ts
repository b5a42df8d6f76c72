import { endCut, float32Tensor, float32View, startCut, tensorsOf } from "@longshore/core";
import { expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { artifactOf, call, ortRuntime } from "../../test/ort.ts";
import { withSequence } from "../../test/models.ts";
import { graphBuilder, readModel, writeModel } from "../onnx/index.ts";
import { verifySplit } from "../profile/index.ts";
import { plainOutputs } from "./plain-outputs.ts";
import { onnxSource } from "./source.ts";
import { splitGraph } from "./split-graph.ts";

/** The output of converters for a classical classifier: a label, and a list of maps from class to score. */
function classifier(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", 2]);
  const scaled = build.node("Scaler", [x], {
    domain: "ai.onnx.ml",
    attributes: { offset: { floats: [0.5, 0] }, scale: { floats: [2, 1] } },
  });
  const [label, scores] = ["label", "scores"];
  build.node("LinearClassifier", [scaled], {
    domain: "ai.onnx.ml",
    attributes: {
      classlabels_ints: { ints: [3, 5, 9] },
      coefficients: { floats: [1, 0, 0, 1, -1, 1] },
      intercepts: { floats: [0, 0.1, 0.2] },
      post_transform: { text: "SOFTMAX" },
    },
    outputs: [label, scores],
  });
  const zipped = build.node("ZipMap", [scores], {
    domain: "ai.onnx.ml",
    attributes: { classlabels_int64s: { ints: [3, 5, 9] } },
    outputs: ["zipped"],
  });
  build.output(label, "INT64", ["batch"]);
  build.output(zipped);
  return writeModel(build.model({ name: "classical", domains: { "ai.onnx.ml": 1 } }));
}

it("gives the scores that a list of maps holds as a table, whole and cut", async () => {
  const source = onnxSource();
  const file = artifactOf(writeModel(plainOutputs(readModel(classifier()))));
  const signature = await source.inspect(file, call);
  expect(signature.outputs).toEqual([
    { name: "label", datatype: "INT64", shape: [-1] },
    { name: "zipped", datatype: "FP32", shape: [-1, 3] },
  ]);
  const runtime = ortRuntime();
  const whole = await runtime.load(await source.extract(file, startCut, endCut, call), {}, call);
  const x = tensorsOf(float32Tensor("x", [2, 2], Float32Array.of(3, 0, 0, 3)));
  const answer = await whole.run(x, ["label", "zipped"], call);
  const scores = float32View(present(answer.get("zipped")));
  expect(present(answer.get("zipped")).spec.shape).toEqual([2, 3]);
  expect(scores[0]! + scores[1]! + scores[2]!).toBeCloseTo(1, 5);
  const graph = await source.open(file, call);
  const cuts = graph.table.cuts.map((cut) => cut.id);
  expect(cuts.length).toBeGreaterThan(0);
  const check = await verifySplit({ graph, runtime, cuts, inputs: [x] }, call);
  expect(check.worst).toBeLessThanOrEqual(1);
});

it("says which outputs are left out, and changes nothing where there is nothing to make plain", async () => {
  const split = splitGraph(readModel(withSequence()));
  expect(split.leftOut).toEqual(['"parts" (a sequence)']);
  const build = graphBuilder();
  build.output(build.node("Relu", [build.input("x", "FP32", [2])], { outputs: ["y"] }), "FP32", [2]);
  const plain = readModel(writeModel(build.model({ name: "plain" })));
  expect(splitGraph(plain).leftOut).toEqual([]);
  expect(plainOutputs(plain)).toBe(plain);
});
