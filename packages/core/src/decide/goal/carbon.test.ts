import { untyped } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { carbonIntensity, microgramsOf } from "./carbon.ts";

const at = (hour: number): number => hour * 3_600_000;

describe("the CO2 of zones", () => {
  it("is that of the nearest zone around, at each hour of the day in UTC", () => {
    const carbon = carbonIntensity(
      { eu: 300, "eu/fr": { "0-7": 40, "7-24": 60 }, device: 0 },
      "carbon.zones",
    );
    const grams = (zone: string, hour = 12): number | undefined =>
      carbon.gramsPerKilowattHour(zone, at(hour));
    expect([grams("eu"), grams("eu/de/store-7"), grams("eu/fr"), grams("eu/fr/paris", 6.99)]).toEqual([
      300, 300, 60, 40,
    ]);
    // Days after and before the epoch.
    expect([grams("eu/fr", 24 * 20_000 + 7), grams("eu/fr", -1), grams("device")]).toEqual([60, 60, 0]);
    expect([grams("us"), grams("europe"), grams("")]).toEqual([undefined, undefined, undefined]);
  });

  it("counts micrograms: a kilowatt hour at 400 g", () => {
    expect(microgramsOf(3.6e9, 400)).toBe(400e6);
  });

  it.each([
    [{ eu: -1 }, "z.eu is -1; it must be grams of CO2 per kilowatt hour, from 0 to 10000"],
    [{ eu: NaN }, "z.eu is NaN"],
    [{ eu: 1e6 }, "z.eu is 1000000"],
    [{ eu: { "0-24": Infinity } }, "z.eu.0-24 is Infinity"],
    [{ eu: {} }, "z.eu states nothing for the hour from 0"],
    [{ eu: { "0-7": 1, "8-24": 1 } }, "z.eu states nothing for the hour from 7"],
    [{ eu: { "0-8": 1, "7-24": 1 } }, "z.eu states the hour from 7 twice"],
    [{ eu: { "0-25": 1 } }, "z.eu has the hours '0-25'"],
    [{ eu: { "7-7": 1 } }, "z.eu has the hours '7-7'"],
    [{ eu: { night: 1 } }, "z.eu has the hours 'night'"],
    [{ eu: "much" }, "z.eu"],
  ])("refuses %j with path and value", (zones, message) => {
    expect(() => carbonIntensity(untyped(zones), "z")).toThrow(message);
  });
});
