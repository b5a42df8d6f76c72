import { seededRandom } from "@longshore/core";
import { graphBuilder, writeModel } from "@longshore/graph";

function noise(count: number, fanIn: number, next: () => number): Float32Array {
  const scale = Math.sqrt(6 / fanIn);
  return Float32Array.from({ length: count }, () => (next() * 2 - 1) * scale);
}

/**
 * A small convolutional network: [batch, 3, side, side] to [batch, 10], about 20 ms on one core for a side of 112. Batching
 * gains nothing on such networks on a processor. The weights mean nothing; their cost is real.
 */
export function smallConvolution(seed: number, side = 112): Uint8Array {
  const random = seededRandom(seed);
  const build = graphBuilder();
  let value = build.input("x", "FP32", ["batch", 3, side, side]);
  let channels = 3;
  for (const [index, [width, stride]] of (
    [
      [48, 1],
      [96, 2],
      [144, 1],
      [192, 2],
      [192, 1],
    ] as const
  ).entries()) {
    const weights = build.weights(
      `w${index}`,
      "FP32",
      [width, channels, 3, 3],
      noise(width * channels * 9, channels * 9, () => random.next()),
    );
    const convolved = build.node("Conv", [value, weights], {
      attributes: {
        kernel_shape: { ints: [3, 3] },
        pads: { ints: [1, 1, 1, 1] },
        strides: { ints: [stride, stride] },
      },
    });
    value = build.node("Relu", [convolved]);
    channels = width;
  }
  const pooled = build.node("Flatten", [build.node("GlobalAveragePool", [value])]);
  const head = build.weights(
    "head",
    "FP32",
    [channels, 10],
    noise(channels * 10, channels, () => random.next()),
  );
  build.node("Softmax", [build.node("MatMul", [pooled, head])], { outputs: ["y"] });
  build.output("y", "FP32", ["batch", 10]);
  return writeModel(build.model({ name: "small-convolution" }));
}

/** The mean of a row of any length: almost nothing to compute, an answer of four bytes. */
export function meanOfRow(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", "length"]);
  const axes = { axes: { ints: [1] }, keepdims: { int: 1 } };
  build.output(build.node("ReduceMean", [x], { attributes: axes, outputs: ["y"] }), "FP32", ["batch", 1]);
  return writeModel(build.model({ name: "mean", opset: 17 }));
}

/** A running total: [1, 1] added to the state [1, 1], which is the answer and the next state. */
export function runningTotal(): Uint8Array {
  const build = graphBuilder();
  const sum = build.node("Add", [build.input("x", "FP32", [1, 1]), build.input("s", "FP32", [1, 1])], {
    outputs: ["total"],
  });
  build.output(sum, "FP32", [1, 1]);
  build.output(build.node("Identity", [sum], { outputs: ["next"] }), "FP32", [1, 1]);
  return writeModel(build.model({ name: "total", opset: 17 }));
}

/** Its `model.yaml`. */
export const runningTotalConfig = `name: total
sequence:
  maxIdleMs: 60000
  states: [{ input: s, output: next, datatype: FP32, shape: [1, 1] }]
`;
