import { tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { parseParameters, real } from "../parameters.ts";
import { imageSpec, type Pixels, pixelsAt, pixelsTensor } from "../pixels.ts";
import { floatsAt, inputError, specAt } from "../ports.ts";
import { defineTransform } from "../define.ts";
import type { Transform } from "../transform.ts";

const name = "turn-upright";

const schema = v.strictObject({ threshold: v.optional(real(0, 1), 0.9) });

/** The image turned by 180 degrees. */
export function turned({ height, width, channels, data }: Pixels): Pixels {
  const out = new Uint8Array(data.byteLength);
  const pixels = height * width;
  for (let pixel = 0; pixel < pixels; pixel++) {
    const from = pixel * channels;
    const to = (pixels - 1 - pixel) * channels;
    for (let channel = 0; channel < channels; channel++) out[to + channel] = data[from + channel] as number;
  }
  return { height, width, channels, data: out };
}

/**
 * `image` UINT8 [h, w, c] and `scores` FP32 [1, 2] (upright, upside down) -> `image`, turned by 180 degrees when the second
 * class wins with a score above `threshold` (default 0.9, as PaddleOCR), otherwise the input itself.
 */
export const turnUpright: Transform<unknown> = defineTransform({
  name,
  inputs: ["image", "scores"],
  outputs: ["image"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs) {
    const [height = -1, width = -1, channels = -1] = specAt(inputs, "image", "UINT8", 3).shape;
    return [imageSpec("image", height, width, channels)];
  },
  run(inputs, { threshold }) {
    const image = pixelsAt(inputs, "image", name);
    const { values, shape } = floatsAt(inputs, "scores", name);
    const [upright, upsideDown] = values;
    if (values.length !== 2 || upright === undefined || upsideDown === undefined) {
      throw inputError(name, `scores is [${shape.join(", ")}]; two scores are needed`);
    }
    const turn = upsideDown > upright && upsideDown > threshold;
    return tensorsOf(pixelsTensor("image", turn ? turned(image) : image));
  },
});
