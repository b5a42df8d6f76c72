import { tensorsOf } from "@longshore/core";
import { joinElements } from "@longshore/core/internal";
import * as v from "valibot";
import { flag, maxSide, parseParameters, real, whole } from "../parameters.ts";
import { type Pixels, pixelsAt, pixelsTensor } from "../pixels.ts";
import { floatsAt, inputError, specAt } from "../ports.ts";
import { distance, type Point, type Quadrilateral } from "../../geometry/index.ts";
import { defineTransform } from "../define.ts";
import type { Transform } from "../transform.ts";
import { quarterTurned, rectified } from "./perspective.ts";
import { methodFor, resizePixels } from "./resample.ts";

const name = "crop-image";

const schema = v.strictObject({
  height: v.optional(whole(1, maxSide)),
  maxWidth: v.optional(whole(1, maxSide), maxSide),
  turnTall: v.optional(flag(), true),
  tallRatio: v.optional(real(1, 100), 1.5),
  maxBoxes: v.optional(whole(1, 100_000), 1000),
  maxPixels: v.optional(whole(1, 1 << 30), 64_000_000),
});

type Parameters = v.InferOutput<typeof schema>;

/** Boxes as quadrilaterals, cut off at the edges of the image: [n, 4, 2] corners or [n, 4] left, top, right, bottom. */
function quadrilaterals(
  values: Float32Array,
  shape: readonly number[],
  image: Pixels,
): readonly Quadrilateral[] {
  const count = shape[0] ?? 0;
  const corners = shape.length === 3 && shape[1] === 4 && shape[2] === 2;
  if (!corners && !(shape.length === 2 && shape[1] === 4)) {
    throw inputError(name, `boxes is [${shape.join(", ")}]; [n, 4, 2] corners or [n, 4] edges are needed`);
  }
  const point = (x: number | undefined, y: number | undefined): Point => {
    if (x === undefined || y === undefined || !Number.isFinite(x) || !Number.isFinite(y)) {
      throw inputError(name, "boxes holds a coordinate that is not finite");
    }
    return { x: Math.min(Math.max(x, 0), image.width), y: Math.min(Math.max(y, 0), image.height) };
  };
  return Array.from({ length: count }, (_, index): Quadrilateral => {
    const at = values.subarray(index * (corners ? 8 : 4));
    if (corners) return [point(at[0], at[1]), point(at[2], at[3]), point(at[4], at[5]), point(at[6], at[7])];
    return [point(at[0], at[1]), point(at[2], at[1]), point(at[2], at[3]), point(at[0], at[3])];
  });
}

function sizeOf([p0, p1, p2, p3]: Quadrilateral): { readonly height: number; readonly width: number } {
  const side = (length: number): number => Math.max(Math.round(length), 1);
  return {
    height: side(Math.max(distance(p0, p3), distance(p1, p2))),
    width: side(Math.max(distance(p0, p1), distance(p3, p2))),
  };
}

function crop(image: Pixels, box: Quadrilateral, p: Parameters): Pixels {
  const { height, width } = sizeOf(box);
  const upright = rectified(image, box, height, width);
  const turned = p.turnTall && height / width >= p.tallRatio ? quarterTurned(upright) : upright;
  if (p.height === undefined) return turned;
  const free = Math.round((turned.width * p.height) / turned.height);
  const wide = Math.min(Math.max(free, 1), p.maxWidth);
  return resizePixels(turned, p.height, wide, methodFor(turned, p.height, wide));
}

/**
 * `image` UINT8 [h, w, c] and `boxes` FP32 [n, 4, 2] (corners x, y in its pixels, clockwise from the top left) or [n, 4]
 * (left, top, right, bottom) -> `crops`, ragged UINT8 [n, -1, -1, c]: each box seen straight on. Crops that are `tallRatio`
 * (1.5) or more times as tall as wide are turned by 90 degrees against the clock, as in PaddleOCR, unless `turnTall` is
 * false. `height` resizes each to that height and at most `maxWidth`. `maxBoxes` (1000) and `maxPixels` (64 million in
 * all, before resizing) refuse what would fill memory: `invalid-input`.
 */
export const cropImage: Transform<unknown> = defineTransform({
  name,
  inputs: ["image", "boxes"],
  outputs: ["crops"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs, p) {
    const channels = specAt(inputs, "image", "UINT8", 3).shape[2] ?? -1;
    const count = specAt(inputs, "boxes", "FP32", 3).shape[0] ?? -1;
    return [{ name: "crops", datatype: "UINT8", shape: [count, p.height ?? -1, -1, channels], ragged: true }];
  },
  run(inputs, p) {
    const image = pixelsAt(inputs, "image", name);
    const { values, shape } = floatsAt(inputs, "boxes", name);
    if ((shape[0] ?? 0) > p.maxBoxes) {
      throw inputError(name, `${shape[0]} boxes came; at most ${p.maxBoxes} are cut out`);
    }
    const boxes = quadrilaterals(values, shape, image);
    let pixels = 0;
    for (const box of boxes) {
      const { height, width } = sizeOf(box);
      pixels += height * width;
    }
    if (pixels > p.maxPixels) {
      throw inputError(name, `the boxes cover ${pixels} pixels; at most ${p.maxPixels} are cut out`);
    }
    return tensorsOf(
      joinElements(
        "crops",
        boxes.map((box) => pixelsTensor("crops", crop(image, box, p))),
        { datatype: "UINT8", shape: [p.height ?? -1, -1, image.channels] },
      ),
    );
  },
});
