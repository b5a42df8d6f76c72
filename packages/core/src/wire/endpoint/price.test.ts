import { untyped } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { certain } from "../../words/estimate/index.ts";
import type { EndpointInfo, Offer } from "./endpoint.ts";
import { checkRates, moveMicros, pricedOffers, ratesOf, runMicros, type StatedRates } from "./price.ts";

const info = (id: string, stated: StatedRates): EndpointInfo => ({
  id,
  tier: "edge",
  zone: "eu",
  trust: "listed",
  codecs: [],
  state: "none",
  offers: true,
  rates: ratesOf(stated, id),
});

const offer = (path: readonly string[], costMicros: number): Offer => ({
  segment: { model: "m", version: "1", digest: "d", variant: "v", from: "start", to: "end" },
  path,
  zones: ["eu"],
  trust: "listed",
  completionMs: certain(200),
  queueMs: 100,
  energyMillijoules: 0,
  costMicros,
  agreementRatio: 1,
  upTo: { bytes: 1 },
  codecs: [],
  expiresAtMs: 0,
  origin: "promised",
});

describe("prices", () => {
  it.each([
    [{ microsPerSecond: -1 }, "servers[0].microsPerSecond is -1"],
    [{ microsPerRequest: NaN }, "servers[0].microsPerRequest is NaN"],
    [{ microsPerMegabyteIn: Infinity }, "servers[0].microsPerMegabyteIn is Infinity"],
    [
      { microsPerSecond: 2e15 },
      "servers[0].microsPerSecond is 2000000000000000; it must be a number from 0 to 1000000000000000",
    ],
    [{ microsPerJoule: untyped("3") }, 'servers[0].microsPerJoule is "3"'],
  ])("refuse %o with path and value", (stated, why) => {
    expect(() => checkRates(stated, "servers[0]")).toThrow(why);
  });

  it("are unknown where none is stated, and known where 0 is", () => {
    expect(ratesOf({ activeWatts: 5 }, "a").unpriced).toBe(true);
    expect(ratesOf({ microsPerSecond: 0 }, "a").unpriced).toBeUndefined();
    expect(ratesOf({}, "a", true).unpriced).toBeUndefined();
  });

  it("add up request, run, energy and bytes of each direction", () => {
    const rates = ratesOf(
      {
        microsPerSecond: 10,
        microsPerRequest: 2,
        microsPerJoule: 3,
        microsPerMegabyte: 5,
        microsPerMegabyteOut: 7,
      },
      "a",
    );
    expect(runMicros(rates, 500, 2000)).toBe(2 + 5 + 6);
    expect(moveMicros(rates, 2e6, 1e6)).toBe(10 + 7);
  });

  it("bound an offer from below, along all of the path that is known", () => {
    const a = info("a", { microsPerSecond: 10, microsPerRequest: 2 });
    const b = info("b", { microsPerSecond: 1000 });
    const infoOf = (id: string): EndpointInfo | undefined => (id === "b" ? b : undefined);
    const [low, high, far] = pricedOffers(
      [offer(["a"], 0), offer(["a"], 50), offer(["a", "b", "c"], 0)],
      a,
      infoOf,
    );
    // The queue costs nothing: 100 ms of run.
    expect([low!.costMicros, high!.costMicros, far!.costMicros]).toEqual([3, 50, 103]);
  });
});
