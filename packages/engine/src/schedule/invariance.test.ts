import { afterAll, describe, expect, it } from "vitest";
import { type Random, seededRandom } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { graphBuilder, writeModel } from "@longshore/graph";
import { onnxRuntime } from "@longshore/nodejs";
import { artifactOf } from "@longshore/testkit";
import { type InvarianceResult, testInvariance } from "./invariance.ts";

/** Real files in a real runtime: whether a row depends on its neighbours is a matter of kernels. */
const runtime = onnxRuntime();
afterAll(() => runtime.close());
const call = housekeepingCall("invariance");
const seed = 20_261_124;

const values = (count: number, random: Random): Float32Array =>
  Float32Array.from({ length: count }, () => random.next() * 2 - 1);

/** A dense layer in full precision. */
function plain(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", 64]);
  const weights = build.weights("w", "FP32", [64, 16], values(64 * 16, seededRandom(seed)));
  build.node("Relu", [build.node("MatMul", [x, weights])], { outputs: ["y"] });
  build.output("y", "FP32", ["batch", 16]);
  return writeModel(build.model({ name: "plain" }));
}

/** The same layer with weights in whole numbers and activations quantised as they come, by one scale for the whole batch. */
function dynamicallyQuantised(): Uint8Array {
  const random = seededRandom(seed);
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", 64]);
  const whole = Int8Array.from({ length: 64 * 16 }, () => Math.round((random.next() * 2 - 1) * 127));
  const weights = build.weights("w", "INT8", [64, 16], whole);
  build.node("DynamicQuantizeLinear", [x], { outputs: ["q", "scale", "zero"] });
  const product = build.node("MatMulInteger", ["q", weights, "zero"]);
  const back = build.node("Cast", [product], { attributes: { to: { int: 1 } } });
  build.node("Mul", [back, "scale"], { outputs: ["y"] });
  build.output("y", "FP32", ["batch", 16]);
  return writeModel(build.model({ name: "quantised" }));
}

/** Subtracts the mean over the batch. */
function centred(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", 4]);
  const mean = build.node("ReduceMean", [x], { attributes: { axes: { ints: [0] }, keepdims: { int: 1 } } });
  build.node("Sub", [x, mean], { outputs: ["y"] });
  build.output("y", "FP32", ["batch", 4]);
  return writeModel(build.model({ name: "centred" }));
}

/** A convolution whose sides are left free. */
function convolution(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", 3, "height", "width"]);
  const weights = build.weights("w", "FP32", [4, 3, 3, 3], values(108, seededRandom(seed)));
  const convolved = build.node("Conv", [x, weights], { attributes: { strides: { ints: [2, 2] } } });
  build.node("GlobalAveragePool", [convolved], { outputs: ["y"] });
  build.output("y", "FP32", ["batch", 4, 1, 1]);
  return writeModel(build.model({ name: "convolution" }));
}

async function test(file: Uint8Array): Promise<InvarianceResult> {
  const session = await runtime.load(await artifactOf(file), {}, call);
  try {
    return await testInvariance(session, { maxBatchSize: 8 }, seededRandom(seed), call);
  } finally {
    await session.release();
  }
}

describe("the test of batch invariance", () => {
  it("passes graphs whose rows are worked on alone", async () => {
    expect(await test(plain())).toMatchObject({ passed: true });
    expect(await test(convolution())).toMatchObject({ passed: true });
  });

  it("fails dynamic quantisation, whose scale comes from the whole batch", async () => {
    const result = await test(dynamicallyQuantised());
    expect(result).toMatchObject({
      passed: false,
      problem: "the answers for a row depend on the rows beside it",
    });
    expect(result.worstRatio).toBeGreaterThan(100);
  });

  it("fails normalisation over the batch", async () => {
    expect(await test(centred())).toMatchObject({ passed: false });
  });
});
