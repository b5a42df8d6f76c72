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
