import { LongshoreError, tensorsOf } from "@longshore/core";
import {
  blobAt,
  defineTransform,
  imageSpec,
  parameters,
  pixelsTensor,
  type Transform,
} from "@longshore/engine";
import * as v from "valibot";
import { imageFormat, openImage } from "./sharp-image.ts";

const name = "decode-image";

const schema = v.strictObject({
  channels: v.optional(v.picklist([1, 3], "allowed is 1 (grey) or 3 (colour)"), 3),
  maxPixels: v.optional(parameters.whole(1, 1_000_000_000), 50_000_000),
  background: v.optional(parameters.whole(0, 255), 255),
});

function mediaError(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError("invalid-media", "execute", `${name}: ${message}`, { cause });
}

/**
 * `bytes` BYTES [1], a JPEG, PNG or WebP file -> `image` UINT8 [h, w, channels] in sRGB, upright by its EXIF orientation.
 * Transparent parts are laid on a grey of `background` (255, white); 16 bits become 8; `channels` 3 or 1. Of an animation
 * the first picture. Throws `invalid-media` for anything broken, cut, of another format, or of more than `maxPixels`
 * (50 million), which is checked before a pixel is decoded. Decoders differ by a level or two between platforms.
 */
export const decodeImage: Transform<unknown> = defineTransform({
  name,
  inputs: ["bytes"],
  outputs: ["image"],
  parse: (given) => parameters.parseParameters(name, schema, given),
  specs: (_inputs, { channels }) => [imageSpec("image", -1, -1, channels)],
  async run(inputs, { channels, maxPixels, background }) {
    const bytes = blobAt(inputs, "bytes", name);
    if (!imageFormat(bytes)) {
      throw mediaError(`${bytes.byteLength} bytes that are no JPEG, PNG or WebP file`);
    }
    try {
      const { data, info } = await openImage(bytes, maxPixels)
        .autoOrient()
        .flatten({ background: { r: background, g: background, b: background } })
        .toColourspace(channels === 1 ? "b-w" : "srgb")
        .raw({ depth: "uchar" })
        .toBuffer({ resolveWithObject: true });
      // copied, because memory that native code made cannot be transferred out of a lane's thread
      const pixels = {
        height: info.height,
        width: info.width,
        channels: info.channels,
        data: new Uint8Array(data),
      };
      return tensorsOf(pixelsTensor("image", pixels));
    } catch (thrown) {
      const detail = thrown instanceof Error ? thrown.message : String(thrown);
      throw mediaError(
        `the image file is broken or too large (${maxPixels} pixels are accepted): ${detail}`,
        thrown,
      );
    }
  },
});
