import { expect, it } from "vitest";
import { parseScaleObjective } from "./objective.ts";

it("reads a latency, misses and a deadline in milliseconds or seconds", () => {
  expect(parseScaleObjective("p95=200ms")).toEqual({ latency: { ratio: 0.95, withinMs: 200 } });
  expect(parseScaleObjective(" p99.9 = 1.5s , misses=0.5%,deadline=300")).toEqual({
    latency: { ratio: 0.999, withinMs: 1500 },
    misses: { ratio: 0.005, deadlineMs: 300 },
  });
  // A latency is the deadline of misses that state none.
  expect(parseScaleObjective("p95=200,misses=1%").misses).toEqual({ ratio: 0.01, deadlineMs: 200 });
});

it.each([
  ["", "is not KEY=VALUE"],
  ["fast", "is not KEY=VALUE"],
  ["p95=200ms,p99=1s", "two latencies"],
  ["misses=1%,misses=2%", "'misses' twice"],
  ["cpu=70", "'cpu' is not known"],
  ["p40=200ms", "p40 is out of range"],
  ["p95=soon", "'soon' is no time"],
  ["p95=0ms", "'0ms' is no time"],
  ["misses=1%", "misses needs a deadline"],
  ["deadline=2s", "a deadline without misses"],
  ["misses=0%,deadline=2s", "no number of endpoints promises 0%"],
  ["misses=1,deadline=2s", "misses=1 is out of range"],
  ["p95=2s,misses=1%,deadline=1s", "the limits contradict each other"],
  ["p95=200ms,misses=10%,deadline=2s", "follows from"],
])("refuses '%s'", (text, why) => {
  expect(() => parseScaleObjective(text)).toThrow(
    expect.objectContaining({ reason: "invalid-input", message: expect.stringContaining(why) }),
  );
});
