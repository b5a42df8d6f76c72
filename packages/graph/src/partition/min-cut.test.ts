import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dags, legalByForce } from "../../test/dags.ts";
import { cheapestSet, type Dag, hasNode, prefixSet, splitCost, type SplitCosts } from "./index.ts";

const costs = (dag: Dag): fc.Arbitrary<SplitCosts> => {
  const list = (length: number) =>
    fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: length, maxLength: length });
  return fc.record({ head: list(dag.nodes), tail: list(dag.nodes), transfer: list(dag.tensors.length) });
};

describe("cheapestSet", () => {
  it("finds a legal set that costs as little as the best of all legal sets", () => {
    fc.assert(
      fc.property(
        dags(9).chain((dag) => costs(dag).map((cost) => ({ dag, cost }))),
        ({ dag, cost }) => {
          const legal = legalByForce(dag);
          const found = cheapestSet(dag, cost);
          expect(legal.some((set) => set.join() === found.join())).toBe(true);
          const least = Math.min(...legal.map((set) => splitCost(dag, set, cost)));
          expect(splitCost(dag, found, cost)).toBeCloseTo(least, 6);
        },
      ),
      { numRuns: 400 },
    );
  });

  it("pays a tensor once, not once for each node that uses it", () => {
    // One node feeds three: cutting after it carries one tensor of cost 10. Paid three times, staying whole would win.
    const dag: Dag = {
      nodes: 4,
      tensors: [
        { producer: -1, consumers: [0], kept: false },
        { producer: 0, consumers: [1, 2, 3], kept: false },
      ],
    };
    const found = cheapestSet(dag, { head: [1, 9, 9, 9], tail: [50, 2, 2, 2], transfer: [100, 10] });
    expect(found).toEqual(prefixSet(dag, 1));
  });

  it("never sends a result back to the head, however cheap that would be", () => {
    // The middle node is far cheaper at the tail and the last far cheaper at the head: going there and back is no cut.
    const dag: Dag = {
      nodes: 3,
      tensors: [
        { producer: -1, consumers: [0], kept: false },
        { producer: 0, consumers: [1], kept: false },
        { producer: 1, consumers: [2], kept: false },
      ],
    };
    const found = cheapestSet(dag, { head: [0, 50, 0], tail: [90, 0, 90], transfer: [0, 0, 0] });
    expect(hasNode(found, 2) && !hasNode(found, 1)).toBe(false);
    expect(splitCost(dag, found, { head: [0, 50, 0], tail: [90, 0, 90], transfer: [0, 0, 0] })).toBe(50);
  });

  it("keeps pinned nodes at the head", () => {
    const dag: Dag = {
      nodes: 2,
      tensors: [
        { producer: -1, consumers: [0], kept: false },
        { producer: 0, consumers: [1], kept: false },
        { producer: 1, consumers: [], kept: true },
      ],
    };
    const found = cheapestSet(dag, { head: [5, 100], tail: [1, 1], transfer: [Infinity, 1, 0] });
    expect(found).toEqual(prefixSet(dag, 1));
  });
});
