import { createRequire } from "node:module";
import type sharp from "sharp";
import type { Sharp, SharpOptions } from "sharp";

/** File formats of images that are read and written. All others, SVG among them, would open more code than is needed. */
export type ImageFormat = "jpeg" | "png" | "webp";

function begins(bytes: Uint8Array, at: number, ...magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[at + index] === byte);
}

/** The format that the first bytes show; undefined for any other. */
export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  if (begins(bytes, 0, 0xff, 0xd8, 0xff)) return "jpeg";
  if (begins(bytes, 0, 0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return "png";
  if (begins(bytes, 0, 0x52, 0x49, 0x46, 0x46) && begins(bytes, 8, 0x57, 0x45, 0x42, 0x50)) return "webp";
  return undefined;
}

const load = createRequire(import.meta.url);

/**
 * The library, loaded with its native code at the first image: many servers never see one. It is set up for many small images:
 * one thread for each (they already run side by side in the thread pool) and no cache of operations, since no request repeats
 * another. Both settings hold for the whole process; repeating them changes nothing.
 */
export function loadSharp(): (bytes: Uint8Array, options: SharpOptions) => Sharp {
  // A CommonJS module is its default export.
  const library = load("sharp") as typeof sharp;
  library.concurrency(1);
  library.cache(false);
  return library;
}

/** Opens a file; it fails when broken or larger than `maxPixels`. Warnings that cameras cause are let pass. */
export function openImage(bytes: Uint8Array, maxPixels: number): Sharp {
  return loadSharp()(bytes, { failOn: "error", limitInputPixels: maxPixels, sequentialRead: true });
}

/** Opens pixels in memory, interleaved. */
export function openPixels(data: Uint8Array, height: number, width: number, channels: 1 | 2 | 3 | 4): Sharp {
  return loadSharp()(data, { raw: { width, height, channels }, limitInputPixels: false });
}

/** Writes in the given format. `quality` (1 to 100) is for jpeg and webp; png is without loss. */
export function written(image: Sharp, format: ImageFormat, quality: number): Sharp {
  switch (format) {
    case "jpeg":
      return image.jpeg({ quality });
    case "webp":
      return image.webp({ quality, effort: 2 });
    case "png":
      return image.png({ compressionLevel: 6 });
  }
}
