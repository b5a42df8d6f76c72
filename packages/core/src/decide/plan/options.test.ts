import { expect, it } from "vitest";
import { leadingOn } from "./options.ts";

/** Cuts of a pipeline whose every step only others have, and endpoints that run the steps between these cuts. */
function leads(cuts: number, ...steps: readonly (readonly [number, number])[]): number[] {
  const reach = Int32Array.from({ length: cuts }, (_, cut) => cut);
  const choice = { bucket: { reach }, to: cuts - 1 };
  const cells = { count: steps.length, from: steps.map(([from]) => from), to: steps.map(([, to]) => to) };
  return [...leadingOn(choice, cells)];
}

it("leads on from where somebody has each of the models that are left", () => {
  expect(leads(4, [0, 1], [1, 2], [2, 3])).toEqual([1, 1, 1, 1]);
  expect(leads(4, [0, 1], [2, 3])).toEqual([0, 0, 1, 1]);
  expect(leads(4, [0, 2], [2, 3])).toEqual([1, 0, 1, 1]);
});

it("finds that out at once where there are very many ways that lead nowhere", () => {
  const ways: [number, number][] = [];
  for (let from = 0; from < 60; from++) for (let to = from + 1; to < 60; to++) ways.push([from, to]);
  expect(leads(61, ...ways).indexOf(1)).toBe(60);
});
