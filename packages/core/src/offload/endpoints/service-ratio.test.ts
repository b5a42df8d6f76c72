import { describe, expect, it } from "vitest";
import type { Offer } from "../../wire/endpoint/index.ts";
import { certain } from "../../words/estimate/index.ts";
import { endCut } from "../../words/model/index.ts";
import { promiseGrowth, serviceRatio } from "./service-ratio.ts";

describe("promiseGrowth", () => {
  it("tells by how much promises grew for the same, whatever the queue", () => {
    const offer = (from: string, runMs: number, queueMs: number): Offer => ({
      segment: { model: "m", version: "1", digest: "d", variant: "v", from, to: endCut },
      path: ["edge"],
      zones: ["z"],
      trust: "operated",
      completionMs: certain(runMs + queueMs, { observedAtMs: 0, origin: "measured" }),
      queueMs,
      energyMillijoules: 0,
      costMicros: 0,
      agreementRatio: 1,
      upTo: { bytes: 1 },
      codecs: [],
      expiresAtMs: 0,
      origin: "promised",
    });
    const before = [offer("start", 100, 0), offer("c1", 50, 0), offer("c2", 10, 0)];
    const now = [offer("start", 200, 70), offer("c1", 100, 0), offer("c2", 11, 5)];
    const growth = promiseGrowth();
    expect(growth.factor(before)).toBe(1);
    expect(growth.factor(now)).toBeCloseTo(2, 9);
    // The same is said of the model and of its version.
    expect(growth.factor(now)).toBe(1);
    expect(growth.factor([offer("c9", 200, 0)])).toBe(1);
    expect(growth.factor(before)).toBeCloseTo(0.5, 9);
  });
});

describe("serviceRatio", () => {
  it("takes what two models say of one slowing for one, and what one says twice for two", () => {
    const slowed = (): ReturnType<typeof serviceRatio> => {
      const service = serviceRatio();
      service.seen(400, 100, 0);
      return service;
    };
    const seen = slowed().ratio(1);
    const both = slowed();
    both.promised(1.5, 1, "a");
    both.promised(1.5, 1, "b");
    expect(both.ratio(1) * 1.5).toBeCloseTo(seen, 6);
    const twice = slowed();
    twice.promised(1.25, 1, "a");
    twice.promised(1.2, 1, "a");
    expect(twice.ratio(1) * 1.5).toBeCloseTo(seen, 6);
  });

  it("remembers the growth of so many contents only, whatever an endpoint makes up", () => {
    const service = serviceRatio();
    service.seen(400, 100, 0);
    const seen = service.ratio(1);
    service.promised(1.5, 1, "a");
    expect(service.ratio(1) * 1.5).toBeCloseTo(seen, 6);
    for (let one = 0; one < 2000; one++) service.promised(1.1, 1, `made-up-${one}`);
    expect(service.ratio(1) * 1.1).toBeCloseTo(seen, 6);
  });

  it("measures a run by how its own content's promise grew while it was under way", () => {
    const service = serviceRatio();
    service.promised(2, 1, "a");
    service.promised(1.01, 1, "b");
    service.seen(200, 100, 2, 0, "a");
    expect(service.ratio(2)).toBeCloseTo(1, 2);
    service.seen(101, 100, 2, 0, "b");
    service.seen(100, 100, 2, 0, "c");
    expect(service.ratio(2)).toBeCloseTo(1, 2);
  });

  it("believes most of a run that is far slower than usual, and a quick one after it only if it repeats", () => {
    const service = serviceRatio();
    for (let run = 0; run < 20; run++) service.seen(60 * (run % 2 === 0 ? 0.9 : 1.1), 60, run * 500);
    service.seen(480, 60, 10_000);
    expect(service.ratio(10_000)).toBeGreaterThan(6);
    service.seen(60, 60, 10_500);
    expect(service.ratio(10_500)).toBeGreaterThan(2);
    service.seen(60, 60, 11_000);
    service.seen(60, 60, 11_500);
    expect(service.ratio(11_500)).toBeLessThan(2);
  });
});
