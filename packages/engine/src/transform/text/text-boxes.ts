import { float32Tensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import {
  cornersOf,
  grown,
  type Point,
  type Quadrilateral,
  readingLines,
  smallestRectangle,
} from "../../geometry/index.ts";
import { parseParameters, real, whole } from "../parameters.ts";
import { floatsAt, inputError } from "../ports.ts";
import type { Transform } from "../transform.ts";
import { meanInside, regions } from "./regions.ts";

const name = "text-boxes";

const schema = v.strictObject({
  threshold: v.optional(real(0, 1), 0.3),
  minScore: v.optional(real(0, 1), 0.6),
  unclipRatio: v.optional(real(0, 10), 1.5),
  minSide: v.optional(real(0, 1000), 3),
  maxBoxes: v.optional(whole(1, 100_000), 1000),
});

type Parameters = v.InferOutput<typeof schema>;

interface Found {
  readonly box: Quadrilateral;
  readonly score: number;
}

function boxOf(
  map: Float32Array,
  height: number,
  width: number,
  points: readonly Point[],
  p: Parameters,
): Found | undefined {
  const rectangle = smallestRectangle(points);
  if (!rectangle || Math.min(rectangle.width, rectangle.height) < p.minSide) return undefined;
  const score = meanInside(map, height, width, cornersOf(rectangle));
  if (score < p.minScore) return undefined;
  const perimeter = 2 * (rectangle.width + rectangle.height);
  const area = rectangle.width * rectangle.height;
  // a single pixel has neither area nor perimeter
  const wider = grown(rectangle, perimeter === 0 ? 0 : (area * p.unclipRatio) / perimeter);
  if (Math.min(wider.width, wider.height) < p.minSide + 2) return undefined;
  return { box: cornersOf(wider), score };
}

/**
 * `map` FP32 [1, 1, h, w] (how likely each pixel is text) and `scale` FP32 [2] (source pixels per map pixel, down and across) ->
 * `boxes` FP32 [n, 4, 2] in source pixels, corners clockwise from the top left, in reading order, and `scores` FP32 [n].
 *
 * The post-processing of "Real-time Scene Text Detection with Differentiable Binarization" (Liao et al., 2020) as PaddleOCR
 * does it: pixels above `threshold` (0.3), their regions, the smallest rectangle around each, its mean likelihood at least
 * `minScore` (0.6), grown by area * `unclipRatio` (1.5) / perimeter. For a rectangle PaddleOCR's round offset followed by
 * another smallest rectangle is this same growth. Departures: holes inside a region are not regions of their own, and
 * corners are not rounded to whole pixels.
 */
export const textBoxes: Transform<unknown> = defineTransform({
  name,
  inputs: ["map", "scale"],
  outputs: ["boxes", "scores"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: () => [
    { name: "boxes", datatype: "FP32", shape: [-1, 4, 2] },
    { name: "scores", datatype: "FP32", shape: [-1] },
  ],
  run(inputs, p) {
    const { values: map, shape } = floatsAt(inputs, "map", name);
    const [down, across] = floatsAt(inputs, "scale", name).values;
    const [height = 0, width = 0] = shape.slice(-2);
    const leading = shape.slice(0, -2);
    if (shape.length < 2 || leading.some((size) => size !== 1)) {
      throw inputError(name, `map is [${shape.join(", ")}]; [1, 1, height, width] is needed`);
    }
    if (!(down !== undefined && across !== undefined && down > 0 && across > 0 && down + across < 1e6)) {
      throw inputError(name, "scale needs two figures above 0, down and across");
    }
    const found: Found[] = [];
    for (const points of regions(map, height, width, p.threshold)) {
      const box = boxOf(map, height, width, points, p);
      if (box) found.push(box);
      if (found.length === p.maxBoxes) break;
    }
    const ordered = readingLines(found.map(({ box }) => box)).flat();
    const boxes = new Float32Array(ordered.length * 8);
    const scores = new Float32Array(ordered.length);
    for (const [index, at] of ordered.entries()) {
      const one = found[at];
      if (!one) continue;
      scores[index] = one.score;
      for (const [corner, { x, y }] of one.box.entries()) {
        boxes[index * 8 + corner * 2] = Math.min(Math.max(x, 0), width) * across;
        boxes[index * 8 + corner * 2 + 1] = Math.min(Math.max(y, 0), height) * down;
      }
    }
    return tensorsOf(
      float32Tensor("boxes", [ordered.length, 4, 2], boxes),
      float32Tensor("scores", [ordered.length], scores),
    );
  },
});
