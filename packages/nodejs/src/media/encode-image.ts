import { bytesTensor, LongshoreError, tensorsOf } from "@longshore/core";
import { defineTransform, parameters, pixelsAt, type Transform } from "@longshore/engine";
import * as v from "valibot";
import { openPixels, written } from "./sharp-image.ts";

const name = "encode-image";

const schema = v.strictObject({
  format: v.optional(parameters.oneOf("jpeg", "png", "webp"), "jpeg"),
  quality: v.optional(parameters.whole(1, 100), 85),
});

/**
 * `image` UINT8 [h, w, 1 to 4] (grey, grey and alpha, colour, colour and alpha) -> `bytes` BYTES [1], a file of `format` (jpeg by
 * default) with `quality` 85; png is without loss. Throws `invalid-input` for an image that the format cannot hold.
 */
export const encodeImage: Transform<unknown> = defineTransform({
  name,
  inputs: ["image"],
  outputs: ["bytes"],
  parse: (given) => parameters.parseParameters(name, schema, given),
  specs: () => [{ name: "bytes", datatype: "BYTES", shape: [1] }],
  async run(inputs, { format, quality }) {
    const { height, width, channels, data } = pixelsAt(inputs, "image", name);
    try {
      const image = openPixels(data, height, width, channels as 1 | 2 | 3 | 4); // pixelsAt gives 1 to 4
      return tensorsOf(bytesTensor("bytes", [await written(image, format, quality).toBuffer()]));
    } catch (thrown) {
      const detail = thrown instanceof Error ? thrown.message : String(thrown);
      throw new LongshoreError(
        "invalid-input",
        "execute",
        `${name}: ${height} x ${width} pixels do not become ${format}: ${detail}`,
        { cause: thrown },
      );
    }
  },
});
