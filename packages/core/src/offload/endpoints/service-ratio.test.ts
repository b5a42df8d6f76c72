import { describe, expect, it } from "vitest";
import type { Offer } from "../../wire/endpoint/index.ts";
import { seededRandom } from "../../words/base/index.ts";
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
    expect(growth(before)).toBe(1);
    expect(growth(now)).toBeCloseTo(2, 9);
    // The same is said of the model and of its version.
    expect(growth(now)).toBe(1);
    expect(growth([offer("c9", 200, 0)])).toBe(1);
    expect(growth(before)).toBeCloseTo(0.5, 9);
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
});

describe("a server whose load changes", () => {
  /** Factors of log-normal runs, sigma 0.3. */
  const runs = (seed: number): (() => number) => {
    const random = seededRandom(seed);
    return () => {
      const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
      return Math.exp(0.3 * radius * Math.cos(2 * Math.PI * random.next()));
    };
  };

  it("is believed as slow as it became after a few runs, however much runs vary", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const service = serviceRatio();
      const next = runs(seed);
      let nowMs = 0;
      for (let run = 0; run < 60; run++) service.seen(60 * next(), 60, (nowMs += 500));
      for (let run = 0; run < 6; run++) service.seen(8 * 60 * next(), 60, (nowMs += 500));
      expect(service.ratio(nowMs)).toBeGreaterThan(5);
      expect(service.ratio(nowMs)).toBeLessThan(12);
    }
  });

  it("may still be as slow as it was, while its factor fades for want of runs", () => {
    const service = serviceRatio();
    service.seen(480, 60, 0);
    const seen = service.ratio(0);
    expect(service.slowRatio(0)).toBe(seen);
    expect(service.ratio(30_000)).toBeLessThan(0.6 * seen);
    expect(service.slowRatio(30_000)).toBeCloseTo(seen, 9);
    // What it has taken into its promises counts once.
    service.promised(2, 30_000);
    expect(service.slowRatio(30_000)).toBeCloseTo(seen / 2, 9);
  });

  it("is believed by its first run again after its factor was forgotten", () => {
    const service = serviceRatio();
    for (let run = 0; run < 30; run++) service.seen(480, 60, run * 500);
    service.seen(480, 60, 75_000);
    expect(service.ratio(75_000)).toBeGreaterThan(6);
    const healed = serviceRatio();
    for (let run = 0; run < 30; run++) healed.seen(480, 60, run * 500);
    healed.seen(60, 60, 75_000);
    expect(healed.ratio(75_000)).toBeLessThan(1.5);
  });
});

describe("spread", () => {
  it("is 0 for a server whose runs take what it promises, from the first run on", () => {
    const steady = serviceRatio();
    for (let run = 0; run < 50; run++) {
      steady.seen(100, 100, run * 500);
      expect(steady.spread(run * 500)).toBe(0);
    }
  });

  it("is learned from runs that vary, and forgotten while nothing runs there", () => {
    const varying = serviceRatio();
    for (let run = 0; run < 200; run++) varying.seen(run % 2 === 0 ? 140 : 71, 100, run * 500);
    expect(varying.spread(100_000)).toBeGreaterThan(0.25);
    expect(varying.spread(100_000)).toBeLessThan(0.45);
    expect(varying.spread(100_000 + 120_000)).toBeLessThan(0.05);
  });
});
