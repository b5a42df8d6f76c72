import type { Random } from "@longshore/core";
import { gaussian } from "@longshore/core/internal";
import { addProduct, transposed } from "./product.ts";

/** A stretch of activations: `[steps, channels]`, a step's channels side by side. */
export interface Activations {
  readonly steps: number;
  readonly channels: number;
  readonly values: Float64Array;
}

/** Shape of a convolution along time. Zeros surround the input. */
export interface ConvolutionShape {
  readonly from: number;
  readonly to: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** Zeros before the first step; as many as needed follow the last. */
  readonly before: number;
}

/** A layer's numbers, with their gradients and the moments that Adam keeps. */
export interface LayerParameters {
  readonly values: Float64Array;
  readonly gradients: Float64Array;
  readonly first: Float64Array;
  readonly second: Float64Array;
}

export function layerParametersOf(values: Float64Array): LayerParameters {
  const like = (): Float64Array => new Float64Array(values.length);
  return { values, gradients: like(), first: like(), second: like() };
}

/** A convolution that remembers its last input, so that it can be trained. */
export interface Convolution {
  readonly shape: ConvolutionShape;
  /** `[to, kernel, from]`. */
  readonly weights: LayerParameters;
  readonly bias: LayerParameters;
  forward(input: Activations): Activations;
  /** Takes the gradient of the output, adds to those of the parameters and returns that of the input. */
  backward(gradient: Activations): Activations;
}

/** Weights drawn with the spread of He et al. (2015), times `gain`. */
export function convolution(shape: ConvolutionShape, random: Random, gain = 1): Convolution {
  const { from, to, kernel, stride, dilation, before } = shape;
  const depth = kernel * from;
  const spread = gain * Math.sqrt(2 / depth);
  const weights = layerParametersOf(
    Float64Array.from({ length: to * depth }, () => gaussian(random) * spread),
  );
  const bias = layerParametersOf(new Float64Array(to));
  let columns: Float64Array = new Float64Array(0);
  let steps = 0;

  /** Visits each kernel position that meets a step of the input: row of `columns`, its offset, and the step. */
  function visit(outSteps: number, inSteps: number, each: (column: number, step: number) => void): void {
    for (let out = 0; out < outSteps; out++) {
      for (let tap = 0; tap < kernel; tap++) {
        const step = out * stride + tap * dilation - before;
        if (step >= 0 && step < inSteps) each(out * depth + tap * from, step * from);
      }
    }
  }

  return {
    shape,
    weights,
    bias,
    forward(input) {
      steps = input.steps;
      const outSteps = Math.ceil(input.steps / stride);
      columns = new Float64Array(outSteps * depth);
      visit(outSteps, steps, (column, step) => columns.set(input.values.subarray(step, step + from), column));
      const values = new Float64Array(outSteps * to);
      for (let out = 0; out < outSteps; out++) values.set(bias.values, out * to);
      addProduct(values, columns, weights.values, outSteps, to, depth);
      return { steps: outSteps, channels: to, values };
    },
    backward(gradient) {
      const outSteps = gradient.steps;
      for (let at = 0; at < gradient.values.length; at++) {
        bias.gradients[at % to] = (bias.gradients[at % to] as number) + (gradient.values[at] as number);
      }
      const across = transposed(gradient.values, outSteps, to);
      addProduct(weights.gradients, across, transposed(columns, outSteps, depth), to, depth, outSteps);
      const spread = new Float64Array(outSteps * depth);
      addProduct(spread, gradient.values, transposed(weights.values, to, depth), outSteps, depth, to);
      const values = new Float64Array(steps * from);
      visit(outSteps, steps, (column, step) => {
        for (let at = 0; at < from; at++) {
          values[step + at] = (values[step + at] as number) + (spread[column + at] as number);
        }
      });
      return { steps, channels: from, values };
    },
  };
}
