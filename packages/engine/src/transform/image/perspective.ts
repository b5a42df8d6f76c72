import type { Pixels } from "../pixels.ts";

/** A corner in pixels, across and down. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Corners clockwise from the top left: top left, top right, bottom right, bottom left. */
export type Quadrilateral = readonly [Point, Point, Point, Point];

/** Distance of two points. */
export function distance(a: Point, b: Point): number {
  return Math.sqrt((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y));
}

/**
 * The map from output pixels to source pixels that takes the rectangle `width` x `height` to the quadrilateral: the
 * unit-square map of P. Heckbert, "Fundamentals of Texture Mapping and Image Warping" (1989), with the sides divided
 * into its coefficients so that an upright rectangle maps pixel to pixel without rounding.
 */
function homography(
  quadrilateral: Quadrilateral,
  height: number,
  width: number,
): readonly [number, number, number, number, number, number, number, number] {
  const [p0, p1, p2, p3] = quadrilateral;
  const sumX = p0.x - p1.x + p2.x - p3.x;
  const sumY = p0.y - p1.y + p2.y - p3.y;
  const dx1 = p1.x - p2.x;
  const dx2 = p3.x - p2.x;
  const dy1 = p1.y - p2.y;
  const dy2 = p3.y - p2.y;
  const determinant = dx1 * dy2 - dx2 * dy1;
  // three corners on a line have no perspective: the affine map of the first corners stands in
  const skewed = (sumX !== 0 || sumY !== 0) && Math.abs(determinant) > 1e-9;
  const g = skewed ? (sumX * dy2 - dx2 * sumY) / determinant : 0;
  const h = skewed ? (dx1 * sumY - sumX * dy1) / determinant : 0;
  return [
    (p1.x - p0.x + g * p1.x) / width,
    (p3.x - p0.x + h * p3.x) / height,
    p0.x,
    (p1.y - p0.y + g * p1.y) / width,
    (p3.y - p0.y + h * p3.y) / height,
    p0.y,
    g / width,
    h / height,
  ];
}

/**
 * The quadrilateral as an upright image of the given size: bilinear, edges repeated. Output pixel (0, 0) lies on the
 * first corner, so an upright box with whole corners is exactly a slice. PaddleOCR uses cubic interpolation here; the
 * recogniser does not tell the difference and bilinear costs a quarter.
 */
export function rectified(
  image: Pixels,
  quadrilateral: Quadrilateral,
  height: number,
  width: number,
): Pixels {
  const [a, b, c, d, e, f, g, h] = homography(quadrilateral, height, width);
  const { channels, data } = image;
  const out = new Uint8Array(height * width * channels);
  const right = image.width - 1;
  const bottom = image.height - 1;
  const stride = image.width * channels;
  let write = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const depth = g * x + h * y + 1;
      // beyond the horizon of a degenerate quadrilateral there is nothing: the nearest edge is repeated
      const w = depth > 1e-9 ? 1 / depth : 1e9;
      const sx = Math.min(Math.max((a * x + b * y + c) * w, 0), right);
      const sy = Math.min(Math.max((d * x + e * y + f) * w, 0), bottom);
      const x0 = sx | 0;
      const y0 = sy | 0;
      const tx = sx - x0;
      const ty = sy - y0;
      const upper = y0 * stride + x0 * channels;
      const nextX = x0 < right ? channels : 0;
      const nextY = y0 < bottom ? stride : 0;
      const w00 = (1 - tx) * (1 - ty);
      const w01 = tx * (1 - ty);
      const w10 = (1 - tx) * ty;
      const w11 = tx * ty;
      for (let channel = 0; channel < channels; channel++) {
        const at = upper + channel;
        out[write++] =
          (w00 * (data[at] as number) +
            w01 * (data[at + nextX] as number) +
            w10 * (data[at + nextY] as number) +
            w11 * (data[at + nextX + nextY] as number) +
            0.5) |
          0;
      }
    }
  }
  return { height, width, channels, data: out };
}

/** The image turned by 90 degrees against the clock. */
export function quarterTurned({ height, width, channels, data }: Pixels): Pixels {
  const out = new Uint8Array(data.byteLength);
  let write = 0;
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < height; x++) {
      const from = (x * width + (width - 1 - y)) * channels;
      for (let channel = 0; channel < channels; channel++) out[write++] = data[from + channel] as number;
    }
  }
  return { height: width, width: height, channels, data: out };
}
