import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBodyPool } from "./body-pool.ts";

/** Memory that is out, as its taker sees it. */
interface Out {
  readonly owner: number;
  readonly view: Uint8Array;
}

const isAll = (view: Uint8Array, value: number): boolean => view.every((one) => one === value);

describe("memory of bodies", () => {
  it("shows every view its own body or nothing, with any holder and any later body", () => {
    const step = fc.record({
      length: fc.constantFrom(1, 64, 100, 101),
      gives: fc.boolean(),
      which: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const pool = createBodyPool(300);
        const out: Out[] = [];
        const kept: Out[] = [];
        for (const [index, { length, gives, which }] of steps.entries()) {
          const owner = (index % 255) + 1;
          if (gives && out.length > 0) {
            const [given] = out.splice(which % out.length, 1);
            if (given) {
              pool.give(given.view.buffer);
              kept.push(given);
            }
          } else {
            const view = new Uint8Array(pool.take(length));
            expect(view.byteLength).toBe(length);
            view.fill(owner);
            out.push({ owner, view });
          }
          expect(pool.spareBytes).toBeLessThanOrEqual(300);
          for (const one of out) expect(isAll(one.view, one.owner)).toBe(true);
          for (const one of kept) expect(one.view.byteLength).toBe(0);
        }
      }),
    );
  });

  it("uses memory of the same length again and no other", () => {
    const pool = createBodyPool(1000);
    new Uint8Array(pool.take(100)).fill(1);
    const first = pool.take(100);
    new Uint8Array(first).fill(7);
    pool.give(first);
    expect(pool.spareBytes).toBe(100);
    expect(new Uint8Array(pool.take(99))[0]).toBe(0);
    expect(new Uint8Array(pool.take(100))[0]).toBe(7);
    expect(pool.spareBytes).toBe(0);
  });

  it("leaves memory alone that was moved elsewhere, that is shared, and that is more than it keeps", () => {
    const pool = createBodyPool(1000);
    const moved = pool.take(100);
    structuredClone(moved, { transfer: [moved] });
    pool.give(moved);
    pool.give(new SharedArrayBuffer(100));
    pool.give(new ArrayBuffer(1001));
    expect(pool.spareBytes).toBe(0);
  });
});
