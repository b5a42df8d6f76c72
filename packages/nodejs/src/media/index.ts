import type { Transform } from "@longshore/engine";
import { decodeImage } from "./decode-image.ts";
import { encodeImage } from "./encode-image.ts";

export { jpegCodec, webpCodec } from "./image-codec.ts";

/**
 * The transforms that need a platform's media decoders: `decode-image` and `encode-image`, by sharp.
 *
 * @example
 * ```ts
 * import { mediaTransforms } from "@longshore/nodejs";
 *
 * console.log(mediaTransforms().map(({ name }) => name).sort().join(", ")); // decode-image, encode-image
 * ```
 */
export function mediaTransforms(): readonly Transform<unknown>[] {
  return [decodeImage, encodeImage];
}
