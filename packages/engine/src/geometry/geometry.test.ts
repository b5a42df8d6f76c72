import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Point } from "./point.ts";
import { readingLines } from "./reading-order.ts";
import { convexHull, cornersOf, smallestRectangle } from "./rectangle.ts";

describe("smallest rectangle", () => {
  const points = fc.array(fc.record({ x: fc.nat(40), y: fc.nat(40) }), { minLength: 1, maxLength: 25 });

  it("agrees with OpenCV's minAreaRect", () => {
    const given: readonly Point[] = [
      [10, 10],
      [40, 25],
      [36, 33],
      [6, 18],
      [20, 18],
    ].map(([x = 0, y = 0]) => ({ x, y }));
    const found = smallestRectangle(given);
    expect(found?.centre.x).toBeCloseTo(23, 4);
    expect(found?.centre.y).toBeCloseTo(21.5, 4);
    const sides = [found?.width ?? 0, found?.height ?? 0].sort((a, b) => a - b);
    expect(sides[0]).toBeCloseTo(8.94427, 4);
    expect(sides[1]).toBeCloseTo(33.54102, 4);
  });

  it("holds every point and is no larger than any turned box around them", () => {
    fc.assert(
      fc.property(points, fc.double({ min: 0, max: Math.PI, noNaN: true }), (given, angle) => {
        const rectangle = smallestRectangle(given)!;
        const { centre, along, width, height } = rectangle;
        for (const { x, y } of given) {
          const u = (x - centre.x) * along.x + (y - centre.y) * along.y;
          const v = (y - centre.y) * along.x - (x - centre.x) * along.y;
          expect(Math.abs(u)).toBeLessThanOrEqual(width / 2 + 1e-6);
          expect(Math.abs(v)).toBeLessThanOrEqual(height / 2 + 1e-6);
        }
        const us = given.map(({ x, y }) => x * Math.cos(angle) + y * Math.sin(angle));
        const vs = given.map(({ x, y }) => y * Math.cos(angle) - x * Math.sin(angle));
        const area = (Math.max(...us) - Math.min(...us)) * (Math.max(...vs) - Math.min(...vs));
        expect(width * height).toBeLessThanOrEqual(area + 1e-6);
      }),
    );
  });

  it("stands on a convex hull that holds every point", () => {
    fc.assert(
      fc.property(points, (given) => {
        const hull = convexHull(given);
        for (const [index, a] of hull.entries()) {
          const b = hull[(index + 1) % hull.length] ?? a;
          for (const { x, y } of given) {
            expect((b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x)).toBeGreaterThanOrEqual(0);
          }
        }
      }),
    );
  });

  it("gives corners clockwise from the top left", () => {
    const corners = cornersOf({ centre: { x: 10, y: 10 }, along: { x: 0, y: 1 }, width: 4, height: 12 });
    expect(corners).toEqual([
      { x: 4, y: 8 },
      { x: 16, y: 8 },
      { x: 16, y: 12 },
      { x: 4, y: 12 },
    ]);
  });
});

describe("reading order", () => {
  const box = (left: number, top: number, wide: number, tall: number) =>
    [
      { x: left, y: top },
      { x: left + wide, y: top },
      { x: left + wide, y: top + tall },
      { x: left, y: top + tall },
    ] as const;

  it("puts boxes side by side into one line, of any size", () => {
    expect(readingLines([box(500, 12, 90, 40), box(10, 10, 90, 44), box(10, 60, 90, 40)])).toEqual([
      [1, 0],
      [2],
    ]);
    expect(readingLines([box(50, 1, 9, 4), box(1, 0, 9, 4), box(1, 5, 9, 4)])).toEqual([[1, 0], [2]]);
    expect(readingLines([])).toEqual([]);
  });
});
