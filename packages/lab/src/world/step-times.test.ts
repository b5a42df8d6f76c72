import { expect, it } from "vitest";
import { toyModel } from "../fixtures/toy-model.ts";
import { bucketOf } from "./index.ts";
import { stepsWithin } from "./step-times.ts";
import type { StepTime } from "./simulated-model.ts";

const toy = toyModel();
const bucket = bucketOf(toy.profile, "base", { bytes: 1 });
const step = (id: string, graph: string | undefined, tookMs: number, runs = 1): StepTime => ({
  id,
  graph,
  tookMs,
  runs,
});

function within(steps: readonly StepTime[] | undefined, from: string, to: string) {
  const model = { description: toy.description, ...(steps ? { steps } : {}) };
  return stepsWithin(model, bucket, { from, to }).map(({ graph, ratio, runs }) => [
    graph,
    Math.round(1000 * ratio),
    runs,
  ]);
}

it("shares the time of a segment out between the steps between its cuts", () => {
  const steps = [step("fit", undefined, 10), step("c1", "detect", 30), step("read", "recognise", 60, 4)];
  expect(within(steps, "start", "end")).toEqual([
    [undefined, 100, 1],
    ["detect", 300, 1],
    ["recognise", 600, 4],
  ]);
  expect(within(steps, "start", "c1")).toEqual([
    [undefined, 250, 1],
    ["detect", 750, 1],
  ]);
  expect(within(steps, "c1", "end")).toEqual([["recognise", 1000, 4]]);
});

it("reports how many elements of a step are worked on together", () => {
  const steps = [step("fit", undefined, 10), { ...step("read", "recognise", 60, 24), together: 16 }];
  const model = { description: toy.description, steps };
  expect(stepsWithin(model, bucket, { from: "fit", to: "end" })).toEqual([
    { graph: "recognise", ratio: 1, runs: 24, together: 16 },
  ]);
});

it("divides a step that is cut inside as the profile divides its head", () => {
  // 40 of 100 ms lie before the cut, of which the first step has 20: half of the second.
  const inside = bucket.cuts.map((one) =>
    one.cut.id === "c1" ? { ...one, cut: { ...one.cut, id: "b.c1" } } : one,
  );
  const model = {
    description: toy.description,
    steps: [step("a", "a", 40), step("b", "b", 80), step("c", "c", 80)],
  };
  const ratios = (from: string, to: string) =>
    stepsWithin(model, { ...bucket, cuts: inside }, { from, to }).map(({ graph, ratio }) => [graph, ratio]);
  expect(ratios("start", "b.c1")).toEqual([
    ["a", 0.5],
    ["b", 0.5],
  ]);
  expect(ratios("b.c1", "end").map(([graph]) => graph)).toEqual(["b", "c"]);
  expect(ratios("b.c1", "end")[1]?.[1]).toBeCloseTo(2 / 3, 9);
});

it("takes a model for one run when no steps are known, or none that has the cut", () => {
  expect(within(undefined, "start", "end")).toEqual([["toy", 1000, 1]]);
  expect(within([step("fit", "fit", 10)], "c1", "end")).toEqual([["toy", 1000, 1]]);
});
