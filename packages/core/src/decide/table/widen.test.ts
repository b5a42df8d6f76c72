import { expect, it } from "vitest";
import { estimateSize } from "../../words/estimate/index.ts";
import { widen } from "./index.ts";

it("spreads a certain time around its median, after the wait", () => {
  const values = new Float64Array(estimateSize).fill(150);
  widen(values, 0.3, 50);
  expect(((values[7] ?? 0) + (values[8] ?? 0)) / 2).toBeCloseTo(150, 0);
  expect(values[15]).toBeCloseTo(50 + 100 * Math.exp(0.3 * 1.8627), 6);
  expect([...values]).toEqual([...values].sort((one, other) => one - other));
});

it("adds nothing to times that are as wide already, and only what is missing to narrower ones", () => {
  const wide = new Float64Array(estimateSize).fill(100);
  widen(wide, 0.4, 0);
  const again = wide.slice();
  widen(again, 0.3, 0);
  expect(again).toEqual(wide);
  const grown = new Float64Array(estimateSize).fill(100);
  widen(grown, 0.24, 0);
  widen(grown, 0.4, 0);
  for (const [index, value] of grown.entries()) expect(value).toBeCloseTo(wide[index] ?? 0, 6);
});
