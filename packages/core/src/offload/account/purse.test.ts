import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Hold, Purse } from "./purse.ts";

describe("a purse", () => {
  it("never spends or holds more than its limit, whatever runs are begun and paid in whatever order", () => {
    const step = fc.record({
      begin: fc.boolean(),
      most: fc.double({ min: 0, max: 60, noNaN: true }),
      paid: fc.double({ min: 0, max: 200, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const purse = new Purse(100);
        const open: Hold[] = [];
        let spent = 0;
        for (const { begin, most, paid } of steps) {
          const hold = begin ? purse.hold(most) : open.shift();
          if (begin && hold) open.push(hold);
          if (!begin && hold) spent += hold.pay(paid);
          const held = open.reduce((sum, { mostMicros }) => sum + mostMicros, 0);
          expect(spent + held).toBeLessThanOrEqual(100 + 1e-9);
        }
      }),
    );
  });

  it("gives back what a run did not need, once", () => {
    const purse = new Purse(10);
    const hold = purse.hold(8)!;
    expect(purse.hold(3)).toBeUndefined();
    expect([hold.pay(2), hold.pay(2), purse.leftMicros]).toEqual([2, 0, 8]);
  });

  it("holds nothing for what has no known price", () => {
    expect(new Purse(1e12).hold(Infinity)).toBeUndefined();
  });
});
