import { expect, it } from "vitest";
import { LongshoreError, seededRandom } from "../base/index.ts";
import { letBack } from "./ejection-cap.ts";
import type { Place } from "./place.ts";
import { placeHealth } from "./place-health.ts";
import { slowStart } from "./slow-start.ts";

it("gives a place that has just come one request at once, and further ones by and by", () => {
  const slow = slowStart();
  expect(slow.chargeMs(3, 20, 5)).toBe(0);
  slow.begin(1000);
  expect(slow.chargeMs(0, 20, 1000)).toBe(0);
  expect(slow.chargeMs(1, 20, 1000)).toBeCloseTo(180, 5);
  expect(slow.chargeMs(1, 20, 6000)).toBeCloseTo(20, 5);
  expect(slow.chargeMs(5, 20, 11_000)).toBe(0);
});

it("leaves at most half of the places that answer alone for their failures, and those that do not answer all", () => {
  const places = Array.from({ length: 6 }, (_, index) => {
    const health = placeHealth(seededRandom(index));
    // As much of a place as the cap looks at.
    return { health } as unknown as Place;
  });
  const fail = (index: number, reason: "no-answer" | "unreachable"): void =>
    places[index]?.health.failed(new LongshoreError(reason, "execute", "it failed"), index);
  for (let index = 0; index < 3; index++) fail(index, "no-answer");
  expect(letBack(places, 10).size).toBe(0);
  fail(3, "no-answer");
  expect([...letBack(places, 10)]).toHaveLength(1);
  // Of the five that still answer two may be left alone.
  fail(5, "unreachable");
  const back = letBack(places, 10);
  expect(back.size).toBe(2);
  expect(back.has(places[5] as Place)).toBe(false);
  expect(letBack(places, 60_000).size).toBe(0);
});
