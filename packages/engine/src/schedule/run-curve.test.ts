import { describe, expect, it } from "vitest";
import { runCurve } from "./run-curve.ts";

function curveOf(...tookMs: readonly number[]) {
  const curve = runCurve();
  for (const one of tookMs) curve.seen(1, one);
  return curve.runMs(1);
}

describe("the forecast of a run", () => {
  it("leaves out one run that was interrupted, as by a machine that slept", () => {
    expect(curveOf(5, 5, 5, 5000, 5)).toBe(5);
  });

  it("counts runs that are slow time after time, and slow ones that are no interruption", () => {
    expect(curveOf(5, 5, 5, 5000, 5000)).toBe(2003);
    expect(curveOf(5, 5, 5, 45)).toBe(15);
  });

  it("takes the first runs as they are", () => {
    expect(curveOf(5, 5000)).toBe(2502.5);
  });
});
