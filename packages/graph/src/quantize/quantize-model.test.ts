import { float32Tensor, float32View, tensorsOf } from "@longshore/core";
import { describe, expect, it } from "vitest";
import { realFiles } from "../../test/files.ts";
import { drawn, mobileNetwork, pictures } from "../../test/networks.ts";
import { opened } from "../../test/models.ts";
import { call, ortRuntime } from "../../test/ort.ts";
import { present } from "../../test/present.ts";
import { graphBuilder, readModel, writeModel } from "../onnx/index.ts";
import { findInputs, guessInputs, tensorAgreement } from "../profile/index.ts";
import { graphAnswers, meanAgreement, quantizeModel, withHalfWeights } from "./index.ts";

const runtime = ortRuntime();

async function agreementOn(before: Uint8Array, after: Uint8Array, seed: number): Promise<number> {
  const held = pictures(4, seed);
  const [expected, actual] = [
    await graphAnswers(readModel(before), held, runtime, call),
    await graphAnswers(readModel(after), held, runtime, call),
  ];
  return meanAgreement(actual, expected, tensorAgreement);
}

describe("quantizeModel", () => {
  it("makes a network of 8 bits that agrees on inputs that it has not seen", async () => {
    const file = mobileNetwork(12);
    const made = await quantizeModel({ file, inputs: pictures(8), runtime, agreementRatio: 0.97 }, call);
    expect(made.leftOut).toEqual([]);
    // The convolution after the mean of each channel is too small to gain.
    expect(made.layers).toHaveLength(5);
    expect(made.agreementRatio).toBeGreaterThanOrEqual(0.97);
    expect(await agreementOn(file, made.file, 2)).toBeGreaterThan(0.95);
    const operators = present(readModel(made.file).graph).node.map((node) => node.opType);
    // A swish costs no more than a clip of codes and a product; factors and shifts cost nothing.
    expect(operators.filter((one) => one === "HardSigmoid")).toHaveLength(1);
    expect(operators.filter((one) => one === "Div")).toEqual([]);
  });

  it("keeps a row's answer with any neighbours in the batch", async () => {
    const made = await quantizeModel(
      { file: mobileNetwork(12), inputs: pictures(4), runtime, agreementRatio: 0.9 },
      call,
    );
    const [row] = pictures(1, 3);
    const values = float32View(present(present(row).get("x")));
    const hostile = Float32Array.from({ length: 3 * values.length }, (_, at) =>
      at < values.length ? (values[at] ?? 0) : (values[at % values.length] ?? 0) * 100,
    );
    const model = readModel(made.file);
    const [alone] = await graphAnswers(model, [present(row)], runtime, call);
    const [beside] = await graphAnswers(
      model,
      [tensorsOf(float32Tensor("x", [3, 4, 16, 16], hostile))],
      runtime,
      call,
    );
    const one = float32View(present(present(alone).get("y")));
    expect(float32View(present(present(beside).get("y"))).subarray(0, one.length)).toEqual(one);
  });

  it("leaves out the layers that hurt most until the agreement holds, and says which", async () => {
    const options = { file: mobileNetwork(12, 6), inputs: pictures(4), runtime };
    const all = await quantizeModel({ ...options, agreementRatio: 0 }, call);
    const wanted = 1 - (1 - all.agreementRatio) / 1.5;
    const made = await quantizeModel({ ...options, agreementRatio: wanted }, call);
    expect(made.agreementRatio).toBeGreaterThanOrEqual(wanted);
    expect(made.leftOut.length).toBeGreaterThan(0);
    expect(made.layers.length + made.leftOut.length).toBe(all.layers.length);
  });

  it("calls a judge instead, and refuses when nothing may have 8 bits", async () => {
    const options = { file: mobileNetwork(12), inputs: pictures(2), runtime };
    const judged: number[] = [];
    const judge = (file: Uint8Array) => Promise.resolve(judged.push(file.byteLength) > 1 ? 1 : 0.5);
    const made = await quantizeModel({ ...options, judge }, call);
    expect(made.agreementRatio).toBe(1);
    await expect(quantizeModel({ ...options, judge: () => Promise.resolve(0) }, call)).rejects.toMatchObject({
      reason: "unsupported",
    });
  });

  it("quantises products of matrices with stored weights", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", ["n", 32]);
    const w = build.weights("w", "FP32", [32, 64], drawn(2048, 1, 0.2));
    const b = build.weights("b", "FP32", [64], drawn(64, 2));
    const v = build.weights("v", "FP32", [8, 64], drawn(512, 3, 0.2));
    const hidden = build.node("Relu", [build.node("Add", [build.node("MatMul", [x, w]), b])]);
    build.output(
      build.node("Gemm", [hidden, v], { outputs: ["y"], attributes: { transB: { int: 1 } } }),
      "FP32",
      ["n", 8],
    );
    const inputs = [4, 5].map((seed) => tensorsOf(float32Tensor("x", [16, 32], drawn(512, seed))));
    const file = writeModel(build.model({ name: "dense" }));
    const made = await quantizeModel({ file, inputs, runtime, agreementRatio: 0.97 }, call);
    expect(made.layers).toHaveLength(2);
    expect(made.file.byteLength).toBeLessThan(0.5 * file.byteLength);
  });

  it("keeps the bias of channels whose weights are next to nothing", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [1, 4, 16, 16]);
    const weights = drawn(8 * 4 * 9, 1, 0.2).map((value, at) => (at < 4 * 4 * 9 ? value * 1e-9 : value));
    const bias = Float32Array.from({ length: 8 }, (_, channel) => (channel < 4 ? 1.5 : 0.1));
    const [w, b] = [build.weights("w", "FP32", [8, 4, 3, 3], weights), build.weights("b", "FP32", [8], bias)];
    const v = build.weights("v", "FP32", [4, 8, 3, 3], drawn(4 * 8 * 9, 2, 0.2));
    const attributes = { pads: { ints: [1, 1, 1, 1] } };
    const first = build.node("Relu", [build.node("Conv", [x, w, b], { attributes })]);
    build.output(build.node("Conv", [first, v], { outputs: ["y"], attributes }), "FP32", [1, 4, 16, 16]);
    const file = writeModel(build.model({ name: "dead channels" }));
    const made = await quantizeModel({ file, inputs: pictures(4), runtime, agreementRatio: 0.97 }, call);
    expect(made.leftOut).toEqual([]);
  });

  it.each([[[]], [[1]], [[1, 8]], [[16, 8]], [[16, 1]]])(
    "adds like a product of matrices, in shape %j",
    async (shape) => {
      const build = graphBuilder();
      const x = build.input("x", "FP32", [16, 32]);
      // Outputs of different size, and so of different steps.
      const values = drawn(256, 1, 0.2).map((value, at) => value * (1 + (at % 8)));
      const hidden = build.node("Relu", [
        build.node("MatMul", [x, build.weights("v", "FP32", [32, 32], drawn(1024, 5, 0.2))]),
      ]);
      const added = drawn(
        shape.reduce((count: number, size) => count * size, 1),
        2,
      ).map((value) => value + 5);
      const [w, c] = [build.weights("w", "FP32", [32, 8], values), build.weights("c", "FP32", shape, added)];
      build.output(build.node("Gemm", [hidden, w, c], { outputs: ["y"] }), "FP32", [16, 8]);
      const inputs = [3, 4].map((seed) => tensorsOf(float32Tensor("x", [16, 32], drawn(512, seed))));
      const file = writeModel(build.model({ name: "added" }));
      const made = await quantizeModel({ file, inputs, runtime, agreementRatio: 0.97 }, call);
      expect(made.leftOut).toEqual([]);
    },
  );

  it("quantises sums with a stored table of more values than a call has arguments", async () => {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [1, 16, 128, 128]);
    const table = build.weights("table", "FP32", [1, 16, 128, 128], drawn(16 * 128 * 128, 1));
    const [w, v] = [2, 3].map((seed) =>
      build.weights(`w${seed}`, "FP32", [16, 16, 1, 1], drawn(256, seed, 0.2)),
    ) as [string, string];
    const sum = build.node("Add", [build.node("Conv", [x, w]), table]);
    build.output(build.node("Conv", [sum, v], { outputs: ["y"] }), "FP32", [1, 16, 128, 128]);
    const inputs = [tensorsOf(float32Tensor("x", [1, 16, 128, 128], drawn(16 * 128 * 128, 4)))];
    const file = writeModel(build.model({ name: "positions" }));
    const made = await quantizeModel({ file, inputs, runtime, agreementRatio: 0.95 }, call);
    expect(made.layers).toHaveLength(2);
  });

  it("refuses a network without such weights, and no inputs", async () => {
    const build = graphBuilder();
    build.output(build.node("Relu", [build.input("x", "FP32", [4])], { outputs: ["y"] }), "FP32", [4]);
    const file = writeModel(build.model({ name: "plain" }));
    const inputs = [guessInputs(opened(file).split, 1)];
    await expect(quantizeModel({ file, inputs, runtime }, call)).rejects.toMatchObject({
      reason: "unsupported",
    });
    await expect(quantizeModel({ file, inputs: [], runtime }, call)).rejects.toMatchObject({
      reason: "invalid-input",
    });
  });
});

describe("withHalfWeights", () => {
  it.each(["ocr orient", "silero without if"])(
    "halves %s, weights in nodes and bodies included",
    async (name) => {
      const file = present(realFiles[name])();
      const small = writeModel(withHalfWeights(readModel(file)));
      expect(small.byteLength).toBeLessThan(0.65 * file.byteLength);
      const inputs = await findInputs(opened(file), runtime, [1, 2], call);
      const [expected, actual] = [
        await graphAnswers(readModel(file), inputs, runtime, call),
        await graphAnswers(readModel(small), inputs, runtime, call),
      ];
      // Recurrent networks carry the rounding of their weights on.
      expect(meanAgreement(actual, expected, tensorAgreement)).toBeGreaterThan(0.97);
    },
  );
});
