import { type CutProfile, tensorOf } from "@longshore/core";
import { describe, expect, it } from "vitest";
import { cutTable, graphBuilder, graphCosts, splitGraph } from "../index.ts";

/** Two branches of one input that meet: legal sets that do not lie within each other. */
function forked(): ReturnType<typeof splitGraph> {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["n", 100]);
  const w = build.weights("w", "FP32", [100, 10], new Float32Array(1000));
  const left = build.node("MatMul", [x, w], { outputs: ["left"] });
  const right = build.node("MatMul", [x, w], { outputs: ["right"] });
  build.output(build.node("Add", [left, right], { outputs: ["y"] }), "FP32", ["n", 10]);
  return splitGraph(build.model({ name: "forked" }));
}

function measuredCut(id: string, headMs: readonly number[], tailMs: readonly number[]): CutProfile {
  return { cut: { id, crossing: [], reveals: "features" }, headMs, tailMs, headMemoryBytes: 0, codings: [] };
}

/** Of a profile that has the whole elsewhere alone. */
const wholeThere = [measuredCut("start", [0], [30, 50])];

const inputs = new Map([["x", tensorOf("x", "FP32", [2, 100], new Uint8Array(800))]]);

describe("graphCosts", () => {
  it("shares the whole's time out by the shares of heads that were measured, and by work between them", () => {
    const split = forked();
    const table = cutTable(split);
    // Sets in order: one branch, the other branch, both.
    expect(table.sets.map((set) => set[0])).toEqual([1, 2, 3]);
    const ends = [measuredCut("start", [0], [40]), measuredCut("end", [30, 50], [0])];
    const unmeasured = graphCosts(split, table, ends, inputs);
    expect(unmeasured.measuredCuts).toBe(0);
    expect([...unmeasured.nodeMs].reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(40);
    expect(unmeasured.nodeMs[0]).toBe(unmeasured.nodeMs[1]);
    expect(unmeasured.nodeMs[2]).toBeLessThan(unmeasured.nodeMs[0]!);
    // Head and tail together take longer than the whole, and the second cut does not lie around the first.
    const cuts = [measuredCut("c1", [20], [60]), measuredCut("c2", [70], [10]), measuredCut("c3", [45], [5])];
    const { nodeMs, measuredCuts, spread } = graphCosts(split, table, [...cuts, ...ends], inputs);
    expect(measuredCuts).toBe(2);
    expect([...nodeMs]).toEqual([expect.closeTo(10), expect.closeTo(26), expect.closeTo(4)]);
    expect(spread).toEqual([0.75, 1.25]);
  });

  it("takes the time of the whole from where it was measured, and refuses a profile that has none", () => {
    const split = forked();
    const { nodeMs, spread } = graphCosts(split, cutTable(split), wholeThere, inputs);
    expect([...nodeMs].reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(40);
    expect(spread).toEqual([0.75, 1.25]);
    for (const cuts of [[], [measuredCut("start", [0], [0])], [measuredCut("c1", [1], [2])]]) {
      expect(() => graphCosts(split, cutTable(split), cuts, inputs)).toThrow("no times of the whole");
    }
  });

  it("lets texts of unknown size travel", () => {
    const build = graphBuilder();
    const label = build.node("Identity", [build.input("t", "BYTES", [1])], { outputs: ["label"] });
    build.output(label, "BYTES", [1]);
    const split = splitGraph(build.model({ name: "texts" }));
    const { canTravel, tensorBytes } = graphCosts(split, cutTable(split), wholeThere, new Map());
    expect(canTravel).toEqual([true, true]);
    expect([...tensorBytes].every((size) => size > 0)).toBe(true);
  });

  it("never lets a later cut take back costs of an earlier one", () => {
    const split = forked();
    const cuts = [
      measuredCut("c1", [50], [50]),
      measuredCut("c3", [30], [70]),
      measuredCut("end", [40], [0]),
    ];
    const { nodeMs } = graphCosts(split, cutTable(split), cuts, inputs);
    expect([...nodeMs]).toEqual([20, 0, 20]);
  });

  it("counts bytes of tensors for the input's sizes, and weights at every node that reads them", () => {
    const split = forked();
    const { tensorBytes, nodeBytes, canTravel } = graphCosts(split, cutTable(split), wholeThere, inputs);
    expect(Object.fromEntries(split.names.map((name, at) => [name, tensorBytes[at]]))).toEqual({
      x: 800,
      left: 80,
      right: 80,
      y: 80,
    });
    expect([...nodeBytes]).toEqual([4000, 4000, 0]);
    expect(canTravel).toEqual([true, true, true, true]);
  });
});
