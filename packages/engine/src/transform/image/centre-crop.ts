import { tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { maxSide, parseParameters, whole } from "../parameters.ts";
import { imageSpec, type Pixels, pixelsAt, pixelsTensor } from "../pixels.ts";
import { inputError, specAt } from "../ports.ts";
import { defineTransform } from "../define.ts";
import type { Transform } from "../transform.ts";

const name = "centre-crop";

const schema = v.strictObject({ height: whole(1, maxSide), width: whole(1, maxSide) });

/** A copy of the rectangle whose top left pixel is (`top`, `left`); it must lie inside the image. */
export function sliced(image: Pixels, top: number, left: number, height: number, width: number): Pixels {
  const { channels, data } = image;
  const out = new Uint8Array(height * width * channels);
  const row = width * channels;
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * image.width + left) * channels;
    out.set(data.subarray(from, from + row), y * row);
  }
  return { height, width, channels, data: out };
}

/**
 * `image` UINT8 [h, w, c] -> `image` UINT8 [height, width, c], its middle; classifiers need it after a resize by `shortest`.
 */
export const centreCrop: Transform<unknown> = defineTransform({
  name,
  inputs: ["image"],
  outputs: ["image"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs, { height, width }) {
    return [imageSpec("image", height, width, specAt(inputs, "image", "UINT8", 3).shape[2] ?? -1)];
  },
  run(inputs, { height, width }) {
    const image = pixelsAt(inputs, "image", name);
    if (image.height < height || image.width < width) {
      throw inputError(
        name,
        `image is ${image.height} x ${image.width}; a middle of ${height} x ${width} does not fit in it`,
      );
    }
    const top = (image.height - height) >> 1;
    const left = (image.width - width) >> 1;
    return tensorsOf(pixelsTensor("image", sliced(image, top, left, height, width)));
  },
});
