import { seededRandom } from "@longshore/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dags, legalByForce } from "../../test/dags.ts";
import { present } from "../../test/present.ts";
import { type Dag, frontier, priceFrontier, splitCost, type SplitCosts } from "./index.ts";

const costs = (dag: Dag): fc.Arbitrary<SplitCosts> => {
  const list = (length: number): fc.Arbitrary<number[]> =>
    fc.array(fc.integer({ min: 0, max: 20 }), { minLength: length, maxLength: length });
  return fc.record({ head: list(dag.nodes), tail: list(dag.nodes), transfer: list(dag.tensors.length) });
};

const nothing = (length: number): number[] => Array.from({ length }, () => 0);

describe("priceFrontier", () => {
  it("finds the winners among all legal sets, for any graph and any costs", () => {
    fc.assert(
      fc.property(
        dags(9).chain((dag) => costs(dag).map((cost) => ({ dag, cost }))),
        fc.integer(),
        ({ dag, cost }, seed) => {
          const zero = nothing(dag.nodes);
          const free = nothing(dag.tensors.length);
          const points = legalByForce(dag).map((set) => ({
            head: splitCost(dag, set, { head: cost.head, tail: zero, transfer: free }),
            tail: splitCost(dag, set, { head: zero, tail: cost.tail, transfer: free }),
            transfer: splitCost(dag, set, { head: zero, tail: zero, transfer: cost.transfer }),
          }));
          const found = present(priceFrontier(dag, cost));
          const name = (point: { head: number; tail: number; transfer: number }): string =>
            [point.head, point.tail, point.transfer].map((one) => one.toFixed(6)).join();
          const exact = new Set(frontier(points).map((index) => name(present(points[index]))));
          for (const point of found) expect(exact).toContain(name(point));
          const random = seededRandom(seed);
          for (let draw = 0; draw < 30; draw++) {
            const [a, b, c] = [random.next(), random.next(), random.next()];
            const price = (one: { head: number; tail: number; transfer: number }): number =>
              a * one.head + b * one.tail + c * one.transfer;
            expect(Math.min(...found.map(price))).toBeCloseTo(Math.min(...points.map(price)), 6);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("needs no list of the sets: fifty branches side by side have more than a thousand million million", () => {
    const branches = 50;
    const dag: Dag = {
      nodes: branches + 1,
      tensors: [
        { producer: -1, consumers: Array.from({ length: branches }, (_, index) => index), kept: false },
        ...Array.from({ length: branches }, (_, index) => ({
          producer: index,
          consumers: [branches],
          kept: false,
        })),
        { producer: branches, consumers: [], kept: true },
      ],
    };
    const random = seededRandom(5);
    const list = (length: number): number[] => Array.from({ length }, () => 1 + random.next());
    const cost = { head: list(dag.nodes), tail: list(dag.nodes), transfer: list(dag.tensors.length) };
    const found = present(priceFrontier(dag, cost));
    expect(found.length).toBeGreaterThan(1);
    for (const { set, head, tail, transfer } of found) {
      expect(splitCost(dag, set, cost)).toBeCloseTo(head + tail + transfer, 9);
    }
  });
});
