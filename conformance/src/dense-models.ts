import { seededRandom } from "@longshore/core";
import { graphBuilder, writeModel } from "@longshore/graph";

/** The layers of a dense network. */
export interface Dense {
  /** Name and shape of its input, all of whose numbers count. */
  readonly input: { readonly name: string; readonly shape: readonly number[] };
  /** Name of its output of 16 numbers. */
  readonly output: string;
  /** Other weights make another model of the same shape. */
  readonly seed: number;
}

/** Numbers between its light head and its heavy tail. */
export const waist = 64;
const width = 256;
const layers = 4;

/** A network that first makes 64 numbers of its input, and then works on them for some milliseconds. */
export function denseModel({ input, output, seed }: Dense): Uint8Array {
  const random = seededRandom(seed);
  const build = graphBuilder();
  const weights = (name: string, rows: number, columns: number): string => {
    const values = Float32Array.from(
      { length: rows * columns },
      () => (random.next() - 0.5) * Math.sqrt(12 / rows),
    );
    return build.weights(name, "FP32", [rows, columns], values);
  };
  const sizes = (name: string, ...values: readonly number[]): string =>
    build.weights(name, "INT64", [values.length], BigInt64Array.from(values, BigInt));
  const count = input.shape.reduce((product, size) => product * size, 1);
  const x = build.input(input.name, "FP32", [...input.shape]);
  const flat = build.node("Reshape", [x, sizes("flat", 1, count)]);
  const narrow = build.node("Tanh", [build.node("MatMul", [flat, weights("narrow", count, waist)])]);
  const wide = build.node("MatMul", [narrow, weights("wide", waist, width)]);
  let value = build.node("Expand", [wide, sizes("square", width, width)]);
  for (let layer = 0; layer < layers; layer++) {
    value = build.node("Tanh", [build.node("MatMul", [value, weights(`layer${layer}`, width, width)])]);
  }
  const mean = build.node("ReduceMean", [value], {
    attributes: { axes: { ints: [0] }, keepdims: { int: 1 } },
  });
  build.output(
    build.node("MatMul", [mean, weights("last", width, 16)], { outputs: [output] }),
    "FP32",
    [1, 16],
  );
  return writeModel(build.model({ name: "dense", opset: 13 }));
}
