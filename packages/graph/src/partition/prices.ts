/*
 * Prices of time at the head, time at the tail and bytes: only their proportions matter, so all of them are the triangle
 * a + b + c = 1. Regions of prices are convex polygons in it.
 */

/** A point's costs, or the prices of them: head, tail, transfer. */
export type Triple = readonly [number, number, number];

/** The whole triangle. */
export const allPrices: readonly Triple[] = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];

/** The cost of a point at some prices. */
export function price(point: Triple, prices: Triple): number {
  return point[0] * prices[0] + point[1] * prices[1] + point[2] * prices[2];
}

/** Area of all prices. */
export const triangleArea = 0.5;

/** Area of a polygon of prices, seen along the third of them. */
export function area(polygon: readonly Triple[]): number {
  let twice = 0;
  for (const [index, corner] of polygon.entries()) {
    const next = polygon[(index + 1) % polygon.length] ?? corner;
    twice += corner[0] * next[1] - next[0] * corner[1];
  }
  return Math.abs(twice) / 2;
}

/** The part of a convex polygon where `normal . corner` is at most 0 (Sutherland and Hodgman, 1974). */
export function clip(polygon: readonly Triple[], normal: Triple): readonly Triple[] {
  const nothing = 1e-12;
  const heights = polygon.map((corner) => price(corner, normal));
  if (heights.every((height) => height <= nothing)) return polygon;
  const kept: Triple[] = [];
  for (const [index, corner] of polygon.entries()) {
    const following = (index + 1) % polygon.length;
    const [here = 0, there = 0] = [heights[index], heights[following]];
    const next = polygon[following] ?? corner;
    if (here <= nothing) kept.push(corner);
    if ((here <= nothing && there > nothing) || (here > nothing && there <= nothing)) {
      const share = here / (here - there);
      kept.push([
        corner[0] + (next[0] - corner[0]) * share,
        corner[1] + (next[1] - corner[1]) * share,
        corner[2] + (next[2] - corner[2]) * share,
      ]);
    }
  }
  return kept;
}
