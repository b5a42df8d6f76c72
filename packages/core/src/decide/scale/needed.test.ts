import { expect, it } from "vitest";
import { seededRandom } from "../../words/base/index.ts";
import { neededEndpoints, predictScale, type ScaleInputs, blockingRatio, waitAbove } from "./needed.ts";
import { parseScaleObjective } from "./objective.ts";

const about = (over: Partial<ScaleInputs>): ScaleInputs => ({
  rates: Float64Array.of(10),
  dispersion: 1,
  runMs: Float64Array.of(100),
  aloneMs: Float64Array.of(100),
  slots: 1,
  most: 1000,
  ...over,
});

it("gives Erlang's loss, and his wait where nothing is refused", () => {
  expect(blockingRatio(0, 2)).toBe(1);
  expect(blockingRatio(2, 1)).toBeCloseTo(0.2, 12);
  expect(blockingRatio(300, 250)).toBeGreaterThan(0);
  // Two slots at a load of 1: a wait with probability 1/3, above t with 1/3 exp(-t / run).
  const above = waitAbove(2, 0.01, 100, 1, 1e6);
  expect(above(0)).toBeCloseTo(1 / 3, 9);
  expect(above(200)).toBeCloseTo(Math.exp(-2) / 3, 9);
});

it("gives the excess for what an overloaded fleet refuses", () => {
  // A load of 20 on 10 slots: half is refused, and the rest waits.
  const above = waitAbove(10, 0.2, 100, 1, 2000);
  expect(above(2000)).toBeCloseTo(0.5, 3);
  expect(above(500)).toBeGreaterThan(0.99);
  expect(waitAbove(0, 0.2, 100, 1, 2000)(0)).toBe(1);
});

it("predicts the lateness that a simulated fleet shows", () => {
  const random = seededRandom(11);
  const exponential = (mean: number): number => -mean * Math.log(1 - random.next());
  const runs = Float64Array.from({ length: 4000 }, () => exponential(100)).sort();
  const question = about({ rates: Float64Array.of(40), runMs: runs, aloneMs: runs });
  for (const endpoints of [5, 6, 8]) {
    const freeMs = new Float64Array(endpoints);
    let [late, nowMs] = [0, 0];
    const requests = 60_000;
    for (let one = 0; one < requests; one++) {
      nowMs += exponential(25);
      let best = 0;
      for (let at = 1; at < endpoints; at++) if ((freeMs[at] ?? 0) < (freeMs[best] ?? 0)) best = at;
      const endMs = Math.max(nowMs, freeMs[best] ?? 0) + exponential(100);
      freeMs[best] = endMs;
      if (endMs - nowMs > 400) late++;
    }
    const { lateRatio } = predictScale(question, endpoints, parseScaleObjective("p95=400ms"));
    expect(lateRatio / (late / requests)).toBeGreaterThan(0.8);
    expect(lateRatio / (late / requests)).toBeLessThan(1.25);
  }
});

it("finds the fewest that keep the objective, more for more requests, for more doubt and for a stricter objective", () => {
  const easy = parseScaleObjective("p95=300ms");
  const needed = (over: Partial<ScaleInputs>, objective = easy): number =>
    neededEndpoints(about(over), objective).endpoints;
  for (const rate of [0.1, 1, 10, 100, 1000]) {
    const question = about({ rates: Float64Array.of(rate) });
    const { endpoints, met, predicted } = neededEndpoints(question, easy);
    expect(met).toBe(true);
    expect(predicted.lateRatio).toBeLessThanOrEqual(0.05 + 1e-9);
    if (endpoints > 1) expect(predictScale(question, endpoints - 1, easy).lateRatio).toBeGreaterThan(0.05);
  }
  const rates = Float64Array.of(100);
  const usual = needed({ rates });
  expect(needed({ rates: Float64Array.of(60, 80, 100, 160) })).toBeGreaterThan(usual);
  expect(needed({ rates, dispersion: 5 })).toBeGreaterThan(usual);
  expect(needed({ rates }, parseScaleObjective("p99=150ms"))).toBeGreaterThan(usual);
  expect(needed({ rates, slots: 4 })).toBeLessThan(usual / 2);
  // Large fleets need less beyond their load than small ones.
  expect(needed({ rates: Float64Array.of(1000) }) / 100).toBeLessThan(usual / 10);
});

it("says when no number keeps the objective, and asks for no more than help", () => {
  const slow = about({
    aloneMs: Float64Array.of(500),
    runMs: Float64Array.of(400),
    rates: Float64Array.of(10),
  });
  const { endpoints, met } = neededEndpoints(slow, parseScaleObjective("p95=200ms"));
  expect(met).toBe(false);
  expect(endpoints).toBeLessThan(12);
  const few = neededEndpoints(
    about({ rates: Float64Array.of(1000), most: 3 }),
    parseScaleObjective("p95=200ms"),
  );
  expect(few).toMatchObject({ endpoints: 3, met: false });
});
