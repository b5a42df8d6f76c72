import { seededRandom } from "@longshore/core";
import { describe, expect, it } from "vitest";
import { balanced, frontier } from "./index.ts";

describe("balanced", () => {
  it("keeps a point within a tenth of the best pace for endpoints of any of its relative speeds", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = seededRandom(seed);
      const points = Array.from({ length: 1 + Math.floor(random.next() * 30) }, () => ({
        head: random.next() * 100,
        tail: random.next() * 100,
        transfer: random.next() * 1000,
      }));
      const kept = new Set(balanced(points));
      for (const factor of [0.25, 0.5, 1, 2, 4]) {
        const pace = points.map(({ head, tail }) => Math.max(factor * head, tail));
        const best = Math.min(...pace);
        expect(Math.min(...pace.filter((_pace, at) => kept.has(at)))).toBeLessThanOrEqual(1.1 * best);
      }
    }
  });

  it("keeps the middle of a chain that is never the best for one request alone", () => {
    const chain = [
      { head: 0, tail: 100, transfer: 100 },
      { head: 50, tail: 50, transfer: 400 },
      { head: 52, tail: 48, transfer: 300 },
      { head: 100, tail: 0, transfer: 1 },
    ];
    expect(frontier(chain)).toEqual([0, 3]);
    expect(balanced(chain)).toContain(2);
  });
});
