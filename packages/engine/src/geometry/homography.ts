import type { Quadrilateral } from "./point.ts";

/**
 * The map from output pixels to source pixels that takes the rectangle `width` x `height` to the quadrilateral: the
 * unit-square map of P. Heckbert, "Fundamentals of Texture Mapping and Image Warping" (1989), with the sides divided
 * into its coefficients so that an upright rectangle maps pixel to pixel without rounding.
 */
export function homography(
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
