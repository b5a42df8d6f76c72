import { distance, type Point, type Quadrilateral } from "./point.ts";

/** A rectangle that may be turned: its centre, the unit vector along its width, and its sides. */
export interface Rectangle {
  readonly centre: Point;
  readonly along: Point;
  readonly width: number;
  readonly height: number;
}

function cross(o: Point, a: Point, b: Point): number {
  return (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
}

/** Convex hull in order around it, without collinear points (A. M. Andrew, "Another efficient algorithm...", 1979). */
export function convexHull(points: readonly Point[]): readonly Point[] {
  const sorted = [...points].sort((a, b) => a.x - b.x || a.y - b.y);
  const chain = (ordered: readonly Point[]): Point[] => {
    const hull: Point[] = [];
    for (const point of ordered) {
      let [before, last] = hull.slice(-2);
      while (hull.length >= 2 && before && last && cross(before, last, point) <= 0) {
        hull.pop();
        [before, last] = hull.slice(-2);
      }
      hull.push(point);
    }
    hull.pop();
    return hull;
  };
  if (sorted.length < 2) return sorted;
  const hull = [...chain(sorted), ...chain(sorted.toReversed())];
  return hull.length > 0 ? hull : sorted.slice(0, 1);
}

/**
 * The smallest rectangle around some points: one of its sides lies on a side of the hull (H. Freeman and R. Shapira, 1975).
 * Every side is tried against all hull points, which for the few corners of a text region beats calipers.
 */
export function smallestRectangle(points: readonly Point[]): Rectangle | undefined {
  const hull = convexHull(points);
  const [only] = hull;
  if (!only) return undefined;
  let best: Rectangle = { centre: only, along: { x: 1, y: 0 }, width: 0, height: 0 };
  let bestArea = Infinity;
  for (const [index, from] of hull.entries()) {
    const to = hull[(index + 1) % hull.length] ?? from;
    const length = distance(from, to);
    if (length === 0) continue;
    const along = { x: (to.x - from.x) / length, y: (to.y - from.y) / length };
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const { x, y } of hull) {
      const u = x * along.x + y * along.y;
      const v = y * along.x - x * along.y;
      left = Math.min(left, u);
      right = Math.max(right, u);
      top = Math.min(top, v);
      bottom = Math.max(bottom, v);
    }
    const area = (right - left) * (bottom - top);
    if (area >= bestArea) continue;
    bestArea = area;
    const u = (left + right) / 2;
    const v = (top + bottom) / 2;
    best = {
      centre: { x: u * along.x - v * along.y, y: u * along.y + v * along.x },
      along,
      width: right - left,
      height: bottom - top,
    };
  }
  return best;
}

/** The rectangle with all four sides moved outwards by `margin`. */
export function grown(rectangle: Rectangle, margin: number): Rectangle {
  return { ...rectangle, width: rectangle.width + 2 * margin, height: rectangle.height + 2 * margin };
}

/**
 * Corners clockwise from the top left, as PaddleOCR orders them: of the two leftmost corners the upper is the top left, of
 * the two rightmost the lower is the bottom right.
 */
export function cornersOf({ centre, along, width, height }: Rectangle): Quadrilateral {
  const corner = (u: number, v: number): Point => ({
    x: centre.x + (along.x * u * width - along.y * v * height) / 2,
    y: centre.y + (along.y * u * width + along.x * v * height) / 2,
  });
  const sorted = [corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)].sort(
    (a, b) => a.x - b.x || a.y - b.y,
  );
  const [a = centre, b = centre, c = centre, d = centre] = sorted;
  const [topLeft, bottomLeft] = a.y <= b.y ? [a, b] : [b, a];
  const [topRight, bottomRight] = c.y <= d.y ? [c, d] : [d, c];
  return [topLeft, topRight, bottomRight, bottomLeft];
}
