import { float32Tensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { flag, maxSide, oneOf, parseParameters, whole } from "../parameters.ts";
import { imageSpec, type Pixels, pixelsAt, pixelsTensor } from "../pixels.ts";
import { specAt } from "../ports.ts";
import { defineTransform } from "../define.ts";
import type { Transform } from "../transform.ts";
import { methodFor, resizePixels } from "./resample.ts";

const name = "resize-image";

const schema = v.pipe(
  v.strictObject({
    longest: v.optional(whole(1, maxSide)),
    shortest: v.optional(whole(1, maxSide)),
    height: v.optional(whole(1, maxSide)),
    width: v.optional(whole(1, maxSide)),
    maxWidth: v.optional(whole(1, maxSide)),
    multiple: v.optional(whole(1, 1024), 1),
    enlarge: v.optional(flag(), false),
    method: v.optional(oneOf("auto", "bilinear", "area"), "auto"),
    padTo: v.optional(
      v.strictObject({
        height: v.optional(whole(1, maxSide), 1),
        width: v.optional(whole(1, maxSide), 1),
        value: v.optional(whole(0, 255), 0),
      }),
    ),
  }),
  v.check(
    (p) =>
      [p.longest, p.shortest, p.height ?? p.width].filter((rule) => rule !== undefined).length <= 1 &&
      (p.longest ?? p.shortest ?? p.height ?? p.width ?? (p.multiple > 1 ? p.multiple : undefined)) !==
        undefined,
    "allowed is one of: longest; shortest; height, width or both; or multiple alone",
  ),
);

type Parameters = v.InferOutput<typeof schema>;

/** The rule for the size of a resized image; see `targetSize`. */
export interface SizeRule {
  readonly longest?: number | undefined;
  readonly shortest?: number | undefined;
  readonly height?: number | undefined;
  readonly width?: number | undefined;
  readonly maxWidth?: number | undefined;
  readonly multiple: number;
  readonly enlarge: boolean;
}

function toMultiple(size: number, multiple: number, most = maxSide): number {
  const rounded = Math.max(Math.round(size / multiple), 1) * multiple;
  return rounded > most ? Math.max(Math.floor(most / multiple), 1) * multiple : rounded;
}

/**
 * The size that an image of `height` x `width` is resized to, before padding. `longest` and `shortest` keep the aspect ratio
 * (`longest` never enlarges unless configured to), as does `height` or `width` alone; both together stretch. Free sides are
 * rounded to `multiple`, at least one of it.
 */
export function targetSize(
  height: number,
  width: number,
  p: SizeRule,
): { readonly height: number; readonly width: number } {
  const bounded = (tall: number, wide: number): { height: number; width: number } => ({
    height: Math.min(Math.max(Math.round(tall), 1), maxSide),
    width: Math.min(Math.max(Math.round(wide), 1), p.maxWidth ?? maxSide),
  });
  if (p.height !== undefined || p.width !== undefined) {
    const ratio = p.height !== undefined ? p.height / height : p.width !== undefined ? p.width / width : 1;
    return bounded(
      p.height ?? toMultiple(height * ratio, p.multiple),
      p.width ?? toMultiple(width * ratio, p.multiple),
    );
  }
  let ratio = 1;
  if (p.longest !== undefined) ratio = p.longest / Math.max(height, width);
  if (p.shortest !== undefined) ratio = p.shortest / Math.min(height, width);
  if (p.longest !== undefined && !p.enlarge) ratio = Math.min(ratio, 1);
  return bounded(
    toMultiple(height * ratio, p.multiple, p.longest),
    toMultiple(width * ratio, p.multiple, p.longest),
  );
}

function padded(image: Pixels, pad: NonNullable<Parameters["padTo"]>): Pixels {
  const height = Math.max(image.height, pad.height);
  const width = Math.max(image.width, pad.width);
  if (height === image.height && width === image.width) return image;
  const data = new Uint8Array(height * width * image.channels).fill(pad.value);
  const row = image.width * image.channels;
  for (let y = 0; y < image.height; y++) {
    data.set(image.data.subarray(y * row, (y + 1) * row), y * width * image.channels);
  }
  return { height, width, channels: image.channels, data };
}

/**
 * `image` UINT8 [h, w, c] -> `image` UINT8 [h', w', c] and `scale` FP32 [2], the source pixels per output pixel down and
 * across. `method`: `bilinear`, `area` (mean of what a pixel covers), or `auto` (default): area when a side shrinks to less
 * than half. `padTo` fills with `value` at the right and bottom up to at least that size; `scale` knows nothing of it.
 */
export const resizeImage: Transform<unknown> = defineTransform({
  name,
  inputs: ["image"],
  outputs: ["image", "scale"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs, p) {
    const [height = -1, width = -1, channels = -1] = specAt(inputs, "image", "UINT8", 3).shape;
    const known = height > 0 && width > 0;
    const size = known
      ? targetSize(height, width, p)
      : {
          height: p.height ?? -1,
          width: p.width === undefined ? -1 : Math.min(p.width, p.maxWidth ?? p.width),
        };
    const pad = (side: number, least: number | undefined): number =>
      side === -1 ? -1 : Math.max(side, least ?? 1);
    return [
      imageSpec("image", pad(size.height, p.padTo?.height), pad(size.width, p.padTo?.width), channels),
      { name: "scale", datatype: "FP32", shape: [2] },
    ];
  },
  run(inputs, p) {
    const source = pixelsAt(inputs, "image", name);
    const { height, width } = targetSize(source.height, source.width, p);
    const method = p.method === "auto" ? methodFor(source, height, width) : p.method;
    const resized = resizePixels(source, height, width, method);
    return tensorsOf(
      pixelsTensor("image", p.padTo ? padded(resized, p.padTo) : resized),
      float32Tensor("scale", [2], Float32Array.of(source.height / height, source.width / width)),
    );
  },
});
