import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { dags, legalByForce } from "../../test/dags.ts";
import { compareSets, countLegalSets, crossingTensors, legalSets, nodeCount, prefixSets } from "./index.ts";

describe("legalSets", () => {
  it("finds exactly the downward-closed sets, each once, in a total order", () => {
    fc.assert(
      fc.property(dags(9), (dag) => {
        const found = legalSets(dag) ?? [];
        const expected = legalByForce(dag);
        expect(found.map((set) => set.join()).sort()).toEqual(expected.map((set) => set.join()).sort());
        expect(countLegalSets(dag)).toBe(expected.length);
        for (let index = 1; index < found.length; index++) {
          expect(compareSets(present(found[index - 1]), present(found[index]))).toBeLessThan(0);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("gives up beyond the limit and not below it", () => {
    // Twelve nodes beside each other: 4096 sets.
    const dag = { nodes: 12, tensors: [] };
    expect(countLegalSets(dag, 4096)).toBe(4096);
    expect(countLegalSets(dag, 4095)).toBeUndefined();
    expect(legalSets(dag, 4095)).toBeUndefined();
  });

  it("offers legal prefixes for graphs that are too wide to list", () => {
    fc.assert(
      fc.property(dags(9), (dag) => {
        const legal = new Set(legalByForce(dag).map((set) => set.join()));
        const prefixes = prefixSets(dag);
        expect(prefixes.every((set) => legal.has(set.join()))).toBe(true);
        expect(nodeCount(present(prefixes[0]))).toBe(0);
        expect(nodeCount(prefixes.at(-1)!)).toBe(dag.nodes);
      }),
      { numRuns: 200 },
    );
  });
});

describe("crossingTensors", () => {
  it("lets a tensor cross once however many nodes use it, and past a cut after its last use only when it is wanted", () => {
    const dag = {
      nodes: 3,
      tensors: [
        { producer: -1, consumers: [0], kept: false },
        { producer: 0, consumers: [1, 2], kept: false },
        { producer: 1, consumers: [], kept: true },
        { producer: 2, consumers: [], kept: true },
      ],
    };
    const crossings = (legalSets(dag) ?? []).map((set) => crossingTensors(dag, set).join());
    expect(crossings).toEqual(["0", "1", "1,2", "1,3", "2,3"]);
  });
});
