import type { Transform } from "@longshore/engine";
import { decodeImage } from "./decode-image.ts";
import { encodeImage } from "./encode-image.ts";
import { prepareSharp } from "./sharp-image.ts";

export { jpegCodec, webpCodec } from "./image-codec.ts";

/** The transforms that need a platform's media decoders: `decode-image` and `encode-image`, by sharp. */
export function mediaTransforms(): readonly Transform<unknown>[] {
  prepareSharp();
  return [decodeImage, encodeImage];
}
