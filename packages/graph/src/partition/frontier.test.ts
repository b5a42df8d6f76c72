import { seededRandom } from "@longshore/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { candidates, frontier, type SplitPoint } from "./index.ts";

const points = fc.array(
  fc.record({
    head: fc.integer({ min: 0, max: 50 }),
    tail: fc.integer({ min: 0, max: 50 }),
    transfer: fc.integer({ min: 0, max: 50 }),
  }),
  { minLength: 1, maxLength: 12 },
);

const price = (point: SplitPoint, a: number, b: number, c: number): number =>
  a * point.head + b * point.tail + c * point.transfer;

describe("frontier", () => {
  it("holds a cheapest point for any prices", () => {
    fc.assert(
      fc.property(points, fc.integer(), (list, seed) => {
        const kept = frontier(list).map((index) => present(list[index]));
        const random = seededRandom(seed);
        for (let draw = 0; draw < 50; draw++) {
          const [a, b, c] = [random.next(), random.next(), random.next()];
          const best = Math.min(...list.map((point) => price(point, a, b, c)));
          expect(Math.min(...kept.map((point) => price(point, a, b, c)))).toBeCloseTo(best, 9);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("leaves out a point that no prices favour, though nothing dominates it", () => {
    const chain = [
      { head: 0, tail: 100, transfer: 100 },
      { head: 50, tail: 50, transfer: 1000 },
      { head: 90, tail: 10, transfer: 5 },
      { head: 100, tail: 0, transfer: 1 },
    ];
    expect(frontier(chain)).toEqual([0, 2, 3]);
  });

  it("keeps near misses when there is slack", () => {
    const close = [
      { head: 0, tail: 100, transfer: 100 },
      { head: 50, tail: 50, transfer: 51.2 },
      { head: 100, tail: 0, transfer: 1 },
    ];
    expect(frontier(close)).toEqual([0, 2]);
    expect(frontier(close, 0.05)).toEqual([0, 1, 2]);
    const wide = { head: 20, tail: 80, transfer: 3000 };
    expect(frontier([...close, wide], 0.05)).toEqual([0, 1, 2]);
  });

  it("keeps one of two that differ by less than counts, and the best of all besides", () => {
    // An operator of ten numbers lies between the two.
    const before = { head: 3e10, tail: 3e10, transfer: 1000 };
    const behind = { head: before.head + 10, tail: before.tail - 10, transfer: 1000 };
    const ends = [
      { head: 0, tail: 9e10, transfer: 6e5 },
      { head: 9e10, tail: 0, transfer: 4e5 },
    ];
    expect(frontier([before, behind, ...ends])).toEqual([1, 2, 3]);
    expect(frontier([behind, before, ...ends])).toEqual([1, 2, 3]);
  });
});

describe("candidates", () => {
  it("keeps to its limit, with both ends", () => {
    const curve = Array.from({ length: 200 }, (_unused, index) => ({
      head: index,
      tail: 199 - index,
      transfer: (index - 199) ** 2,
    }));
    const chosen = candidates(curve, 10);
    expect(chosen.length).toBeLessThanOrEqual(10);
    expect(chosen[0]).toBe(0);
    expect(chosen.at(-1)).toBe(199);
  });

  it("is the same in any units, also where a point wins in a sliver", () => {
    // Of the OCR detector: the third is the best by a 50,000th where bytes cost next to nothing.
    const points = [
      { head: 91634553910, tail: 929040672, transfer: 12582912 },
      { head: 326718492, tail: 16695710400, transfer: 524288 },
      { head: 54952436175, tail: 7262526720, transfer: 15728640 },
      { head: 3726007469, tail: 16108686784, transfer: 4718592 },
    ];
    const huge = { head: 97539891214, tail: 16756959712, transfer: 4e12 };
    expect(frontier(points)).toContain(2);
    expect(frontier([...points, huge])).toEqual(frontier(points));
  });
});
