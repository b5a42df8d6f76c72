import { expect, it } from "vitest";
import { LongshoreError, seededRandom } from "../../words/base/index.ts";
import { readmitted } from "./ejection-cap.ts";
import { endpointHealth } from "./endpoint-health.ts";
import { slowStart } from "./slow-start.ts";

it("gives an endpoint that has just come one request at once, and further ones by and by", () => {
  const slow = slowStart();
  expect(slow.chargeMs(3, 20, 5)).toBe(0);
  slow.begin(1000);
  expect(slow.chargeMs(0, 20, 1000)).toBe(0);
  expect(slow.chargeMs(1, 20, 1000)).toBeCloseTo(180, 5);
  expect(slow.chargeMs(1, 20, 6000)).toBeCloseTo(20, 5);
  expect(slow.chargeMs(5, 20, 11_000)).toBe(0);
});

it("leaves at most half of the endpoints that answer alone for their failures, and those that do not answer all", () => {
  const endpoints = Array.from({ length: 6 }, (_, index) => ({
    health: endpointHealth(seededRandom(index)),
  }));
  const fail = (index: number, reason: "no-answer" | "unreachable"): void =>
    endpoints[index]?.health.failed(new LongshoreError(reason, "execute", "it failed"), index);
  for (let index = 0; index < 3; index++) fail(index, "no-answer");
  expect(readmitted(endpoints, 10).size).toBe(0);
  fail(3, "no-answer");
  expect([...readmitted(endpoints, 10)]).toHaveLength(1);
  // Of the five that still answer two may be left alone.
  fail(5, "unreachable");
  const back = readmitted(endpoints, 10);
  expect(back.size).toBe(2);
  expect(back.has(endpoints[5]!)).toBe(false);
  expect(readmitted(endpoints, 60_000).size).toBe(0);
});
