import { graphBuilder, writeModel } from "@longshore/graph";
import type { Convolution } from "./layer.ts";
import { frameSteps, type Network } from "./network.ts";
import { channels, faultKinds, windowSteps } from "./series.ts";

/** Weights `[to, kernel, from]` as ONNX has them, `[to, from, kernel]`. */
function kernelsOf({ shape: { from, to, kernel }, weights }: Convolution): Float32Array {
  const out = new Float32Array(weights.values.length);
  for (let a = 0; a < to; a++) {
    for (let tap = 0; tap < kernel; tap++) {
      for (let b = 0; b < from; b++) {
        out[(a * from + b) * kernel + tap] = weights.values[(a * kernel + tap) * from + b] as number;
      }
    }
  }
  return out;
}

/**
 * A trained detector as ONNX. `readings` FP32 [batch, 32, 4096] -> `score` FP32 [batch, 1] (how likely something is wrong),
 * `kinds` FP32 [batch, 5] (how likely each kind is) and `where` INT64 [batch, 5] (the step where each kind is most likely).
 * Scores are smoothed over five frames before the largest is taken, so that one odd frame is not a fault.
 */
export function detectorModel(detector: Network): Uint8Array {
  const build = graphBuilder();
  const bias = (name: string, layer: Convolution): string =>
    build.weights(`${name}_bias`, "FP32", [layer.shape.to], Float32Array.from(layer.bias.values));
  const convolve = (name: string, layer: Convolution, input: string): string => {
    const { from, to, kernel, stride, dilation, before } = layer.shape;
    const after = (kernel - 1) * dilation - before - (stride - 1);
    const weights = build.weights(`${name}_weights`, "FP32", [to, from, kernel], kernelsOf(layer));
    return build.node("Conv", [input, weights, bias(name, layer)], {
      attributes: {
        strides: { ints: [stride] },
        dilations: { ints: [dilation] },
        pads: { ints: [before, Math.max(after, 0)] },
        kernel_shape: { ints: [kernel] },
      },
    });
  };
  const readings = build.input("readings", "FP32", ["batch", channels, windowSteps]);
  const entered = build.node("Relu", [convolve("entry", detector.entry, readings)]);
  const waist = build.node("Tanh", [convolve("waist", detector.waist, entered)], { outputs: ["waist"] });
  let flow = build.node("Relu", [convolve("spread", detector.spread, waist)]);
  for (const [index, layer] of detector.body.entries()) {
    flow = build.node("Add", [build.node("Relu", [convolve(`body${index}`, layer, flow)]), flow]);
  }
  const scores = convolve("exit", detector.exit, flow);
  const smooth = build.node("AveragePool", [scores], {
    attributes: { kernel_shape: { ints: [5] }, pads: { ints: [2, 2] }, strides: { ints: [1] } },
  });
  const most = build.node("ReduceMax", [smooth], {
    attributes: { axes: { ints: [2] }, keepdims: { int: 0 } },
  });
  build.node("Sigmoid", [most], { outputs: ["kinds"] });
  build.node("ReduceMax", ["kinds"], {
    attributes: { axes: { ints: [1] }, keepdims: { int: 1 } },
    outputs: ["score"],
  });
  const frame = build.node("ArgMax", [smooth], { attributes: { axis: { int: 2 }, keepdims: { int: 0 } } });
  build.node(
    "Mul",
    [frame, build.weights("frame_steps", "INT64", [], BigInt64Array.of(BigInt(frameSteps)))],
    {
      outputs: ["where"],
    },
  );
  build.output("score", "FP32", ["batch", 1]);
  build.output("kinds", "FP32", ["batch", faultKinds.length]);
  build.output("where", "INT64", ["batch", faultKinds.length]);
  return writeModel(build.model({ name: "anomaly" }));
}
