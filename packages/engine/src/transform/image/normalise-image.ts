import { numericTensor, tensorsOf } from "@longshore/core";
import { toHalf } from "@longshore/core/internal";
import * as v from "valibot";
import { oneOf, parseParameters, real } from "../parameters.ts";
import { pixelsAt } from "../pixels.ts";
import { inputError, specAt } from "../ports.ts";
import { defineTransform } from "../define.ts";
import type { Transform } from "../transform.ts";

const name = "normalise-image";

const perChannel = (fallback: number, least: number): v.GenericSchema<unknown, number[]> =>
  v.optional(
    v.pipe(
      v.array(real(least, 1e6), "allowed is a list of 1 to 4 numbers"),
      v.minLength(1, "allowed is a list of 1 to 4 numbers"),
      v.maxLength(4, "allowed is a list of 1 to 4 numbers"),
    ),
    [fallback],
  );

const schema = v.strictObject({
  mean: perChannel(0, -1e6),
  std: perChannel(1, 1e-6),
  scale: v.optional(real(1e-9, 1e6), 1 / 255),
  order: v.optional(oneOf("rgb", "bgr"), "rgb"),
  layout: v.optional(oneOf("nchw", "nhwc"), "nchw"),
  datatype: v.optional(oneOf("FP32", "FP16"), "FP32"),
});

/** One figure for all channels, or one for each. */
function figure(list: readonly number[], channel: number, channels: number, parameter: string): number {
  const value = list.length === 1 ? list[0] : list[channel];
  if (value === undefined || (list.length > 1 && list.length !== channels)) {
    throw inputError(name, `${parameter} has ${list.length} figures but the image has ${channels} channels`);
  }
  return value;
}

/**
 * `image` UINT8 [h, w, c] -> `tensor` FP32 [1, c, h, w] (or [1, h, w, c]) of (pixel * scale - mean) / std. `mean` and
 * `std` go with the channels of the output, in its `order`. A table of 256 values for each channel does the arithmetic.
 */
export const normaliseImage: Transform<unknown> = defineTransform({
  name,
  inputs: ["image"],
  outputs: ["tensor"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs, { layout, datatype }) {
    const [height = -1, width = -1, channels = -1] = specAt(inputs, "image", "UINT8", 3).shape;
    const shape = layout === "nchw" ? [1, channels, height, width] : [1, height, width, channels];
    return [{ name: "tensor", datatype, shape }];
  },
  run(inputs, p) {
    const { height, width, channels, data } = pixelsAt(inputs, "image", name);
    const size = height * width;
    const half = p.datatype === "FP16";
    const out = half ? new Uint16Array(size * channels) : new Float32Array(size * channels);
    const planar = p.layout === "nchw";
    for (let channel = 0; channel < channels; channel++) {
      const mean = figure(p.mean, channel, channels, "mean");
      const std = figure(p.std, channel, channels, "std");
      const table = half ? new Uint16Array(256) : new Float32Array(256);
      for (let level = 0; level < 256; level++) {
        const value = (level * p.scale - mean) / std;
        table[level] = half ? toHalf(value) : value;
      }
      // bgr swaps the colours and keeps a fourth channel where it is
      let read = p.order === "bgr" && channel < 3 && channels >= 3 ? 2 - channel : channel;
      let write = planar ? channel * size : channel;
      const step = planar ? 1 : channels;
      for (let pixel = 0; pixel < size; pixel++, read += channels, write += step) {
        out[write] = table[data[read] as number] as number;
      }
    }
    const shape = planar ? [1, channels, height, width] : [1, height, width, channels];
    return tensorsOf(numericTensor("tensor", p.datatype, shape, out));
  },
});
