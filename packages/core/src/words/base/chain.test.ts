import * as fc from "fast-check";
import { expect, it } from "vitest";
import { Chain, type Chained } from "./chain.ts";

function valuesOf<T>(chain: Chain<T>): readonly T[] {
  const values: T[] = [];
  for (let link = chain.first; link; link = link.after) values.push(link.value);
  return values;
}

it("keeps the same values in the same order as a list with the same additions and removals", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20)), (steps) => {
      const chain = new Chain<number>();
      const links: Chained<number>[] = [];
      let list: number[] = [];
      for (const [value, step] of steps.entries()) {
        const link = links[step];
        if (link) {
          expect(chain.remove(link)).toBe(list.includes(link.value));
          list = list.filter((one) => one !== link.value);
        } else {
          links.push(chain.add(value));
          list.push(value);
        }
        expect([chain.size, ...valuesOf(chain)]).toEqual([list.length, ...list]);
      }
    }),
  );
});

it("does not remove a value of another chain, and a removed value does not lead to present ones", () => {
  const [chain, other] = [new Chain<string>(), new Chain<string>()];
  const [a, b] = [chain.add("a"), chain.add("b")];
  expect(other.remove(a)).toBe(false);
  expect(chain.remove(a)).toBe(true);
  expect([a.after, chain.first, chain.size]).toEqual([undefined, b, 1]);
});
