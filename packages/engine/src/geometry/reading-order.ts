import type { Quadrilateral } from "./point.ts";

/** Where a box stands: its middle and its height. */
interface Place {
  readonly index: number;
  readonly left: number;
  readonly middle: number;
  readonly height: number;
}

function placeOf([p0, p1, p2, p3]: Quadrilateral, index: number): Place {
  return {
    index,
    left: Math.min(p0.x, p3.x),
    middle: (p0.y + p1.y + p2.y + p3.y) / 4,
    height: Math.abs(p3.y + p2.y - p0.y - p1.y) / 2,
  };
}

/**
 * Groups boxes into lines from top to bottom, each from left to right; gives the positions of the boxes. A box belongs to
 * a line when the middles are closer than half of the lesser height. PaddleOCR uses 10 pixels there, which is right for one
 * resolution only.
 */
export function readingLines(boxes: readonly Quadrilateral[]): readonly (readonly number[])[] {
  const places = boxes.map(placeOf).sort((a, b) => a.middle - b.middle || a.left - b.left);
  const lines: Place[][] = [];
  for (const place of places) {
    const last = lines.at(-1)?.at(-1);
    const together = last && place.middle - last.middle < Math.min(last.height, place.height) / 2;
    if (together) lines.at(-1)?.push(place);
    else lines.push([place]);
  }
  return lines.map((line) => line.sort((a, b) => a.left - b.left || a.middle - b.middle).map((p) => p.index));
}
