import { float32Tensor, seededRandom, type Tensors, tensorsOf } from "@longshore/core";
import { gaussian } from "@longshore/core/internal";
import { graphBuilder, type GraphBuilder, tensorProto, type TensorProto, writeModel } from "../src/index.ts";

/** Seeded values for weights and inputs. */
export function drawn(count: number, seed: number, spread = 1): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: count }, () => gaussian(random) * spread);
}

/** Inputs `x` of a small picture network. */
export function pictures(count: number, seed = 1, rows = 1): readonly Tensors[] {
  return Array.from({ length: count }, (_, at) =>
    tensorsOf(float32Tensor("x", [rows, 4, 16, 16], drawn(rows * 1024, seed * 1000 + at))),
  );
}

/** A converter's form of `HardSwish`: `x clip(x + 3, 0, 6) / 6`, clip by attributes as before version 11. */
export function spelledSwish(build: GraphBuilder, x: string, opset: number): string {
  const three = build.node("Constant", [], { attributes: { value: { tensor: scalar(3) } } });
  const six = build.node("Constant", [], { attributes: { value: { tensor: scalar(6) } } });
  const sum = build.node("Add", [x, three]);
  const zero = build.node("Constant", [], { attributes: { value: { tensor: scalar(0) } } });
  const clipped =
    opset < 11
      ? build.node("Clip", [sum], { attributes: { min: { float: 0 }, max: { float: 6 } } })
      : build.node("Clip", [sum, zero, six]);
  return build.node("Div", [build.node("Mul", [x, clipped]), six]);
}

function scalar(value: number): TensorProto {
  return tensorProto("", "FP32", [], Float32Array.of(value));
}

/**
 * A network like those that converters of mobile networks write: convolution, learned factor and shift, spelled-out swish,
 * again factor and shift, a depthwise convolution with a border, a gate from the mean of each channel, a transposed
 * convolution, normalisation; weights in `Constant` nodes. `loud` makes one layer hard to write in 8 bits.
 */
export function mobileNetwork(opset: number, loud = 1): Uint8Array {
  const build = graphBuilder();
  let seed = 10;
  const stored = (shape: readonly number[], spread = 0.4): string => {
    const count = shape.reduce((product, size) => product * size, 1);
    const tensor = tensorProto("", "FP32", shape, drawn(count, seed++, spread));
    return build.node("Constant", [], { attributes: { value: { tensor } } });
  };
  const one = (value: number): string =>
    build.node("Constant", [], {
      attributes: { value: { tensor: tensorProto("", "FP32", [1], Float32Array.of(value)) } },
    });
  const conv = (x: string, shape: readonly number[], group = 1, pad = 0): string =>
    build.node("Conv", [x, stored(shape), stored([shape[0] ?? 1])], {
      attributes: {
        group: { int: group },
        pads: { ints: [pad, pad, pad, pad] },
        kernel_shape: { ints: shape.slice(2) },
      },
    });
  const x = build.input("x", "FP32", ["batch", 4, 16, 16]);
  let y = conv(x, [16, 4, 3, 3], 1, 1);
  y = build.node("Add", [build.node("Mul", [one(1.3), y]), one(0.4)]);
  y = spelledSwish(build, y, opset);
  y = build.node("Add", [build.node("Mul", [one(0.5 * loud), y]), one(-0.3)]);
  y = conv(y, [16, 1, 3, 3], 16, 1);
  const gate = build.node("HardSigmoid", [conv(build.node("GlobalAveragePool", [y]), [16, 16, 1, 1])], {
    attributes: { alpha: { float: 0.2 }, beta: { float: 0.5 } },
  });
  y = build.node("Add", [y, build.node("Mul", [y, gate])]);
  y = build.node("Relu", [conv(y, [16, 16, 1, 1])]);
  y = build.node("ConvTranspose", [y, stored([16, 8, 2, 2])], {
    attributes: { strides: { ints: [2, 2] }, kernel_shape: { ints: [2, 2] } },
  });
  const positive = build.node("Constant", [], {
    attributes: {
      value: {
        tensor: tensorProto(
          "",
          "FP32",
          [8],
          drawn(8, 5).map((value) => value * value + 0.5),
        ),
      },
    },
  });
  y = build.node("BatchNormalization", [y, stored([8], 1), stored([8]), stored([8]), positive]);
  build.output(build.node("Sigmoid", [conv(y, [2, 8, 1, 1])], { outputs: ["y"] }), "FP32", [
    "batch",
    2,
    32,
    32,
  ]);
  return writeModel(build.model({ name: "mobile", opset }));
}
