import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian, seededRandom } from "../../words/base/index.ts";
import { deviceSpeed } from "./device-speed.ts";
import { durationBelief } from "./duration-belief.ts";
import { estimateOf, meanOf, quantileOf } from "../../words/estimate/index.ts";
import { speedBelief } from "./speed-belief.ts";

describe("durationBelief", () => {
  it("is a wide prior before anything was seen, and again when all has grown old", () => {
    const belief = durationBelief({ priorMs: 100, maxAgeMs: 1000 });
    expect(belief.estimate(0)).toMatchObject({ origin: "prior", observedAtMs: -Infinity });
    expect(quantileOf(belief.estimate(0), 0.5)).toBeCloseTo(100, 0);
    expect(belief.longestMs(0)).toBe(Infinity);
    expect(belief.estimate(0).values[15]).toBeCloseTo(400, 0);
    belief.seen(20, 50);
    expect(belief.estimate(60)).toMatchObject({ origin: "measured", observedAtMs: 50 });
    expect(belief.estimate(2000).origin).toBe("prior");
  });

  it("does not take one sample for a certainty", () => {
    const belief = durationBelief({ priorMs: 100 });
    belief.seen(20, 0);
    const { values } = belief.estimate(0);
    expect((values[15] ?? NaN) / (values[0] ?? NaN)).toBeGreaterThan(2);
    expect(quantileOf(belief.estimate(0), 0.5)).toBeCloseTo(20, -1);
  });

  it("becomes the distribution of what is seen", () => {
    const random = seededRandom(5);
    const belief = durationBelief({ priorMs: 1000 });
    for (let index = 0; index < 200; index++) belief.seen(50 + 5 * gaussian(random), index);
    expect(meanOf(belief.estimate(200))).toBeCloseTo(50, -0.5);
    expect(quantileOf(belief.estimate(200), 0.9)).toBeLessThan(60);
  });

  it("is the distribution of the latest samples that are young enough, in whatever order they came", () => {
    const sample = fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 300 }));
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 60 }), (samples) => {
        const belief = durationBelief({ priorMs: 10, capacity: 16, maxAgeMs: 1000 });
        let nowMs = 0;
        const seen = samples.map(([tookMs, pauseMs]) => {
          nowMs += pauseMs;
          belief.seen(tookMs, nowMs);
          return { tookMs, nowMs };
        });
        expect(belief.longestMs(nowMs)).toBe(belief.estimate(nowMs).values[15]);
        const young = seen.slice(-16).filter((one) => nowMs - one.nowMs <= 1000);
        fc.pre(young.length >= 8);
        const { values } = estimateOf(
          young.map(({ tookMs }) => tookMs),
          { observedAtMs: nowMs, origin: "measured" },
        );
        expect(belief.estimate(nowMs).values).toEqual(values);
      }),
    );
  });

  it("ignores what is no duration", () => {
    const belief = durationBelief({ priorMs: 100 });
    for (const bad of [NaN, -1, Infinity]) belief.seen(bad, 0);
    belief.seen(1, NaN);
    expect(belief.estimate(0).origin).toBe("prior");
  });
});

describe("speedBelief", () => {
  it("starts wide around the prior and narrows around what is seen", () => {
    const belief = speedBelief();
    expect(belief.ratio().origin).toBe("prior");
    expect(quantileOf(belief.ratio(), 0.5)).toBeCloseTo(1, 1);
    for (let index = 0; index < 10; index++) belief.seen(30, 10, index);
    expect(belief.ratio()).toMatchObject({ origin: "measured", observedAtMs: 9 });
    expect(meanOf(belief.ratio())).toBeCloseTo(3, 9);
  });

  it.each([0.6, 1.4, 2, 4])("notices within ten runs that an endpoint became %d times slower", (factor) => {
    const random = seededRandom(17);
    const belief = speedBelief();
    const noise = (): number => Math.exp(0.05 * gaussian(random));
    for (let index = 0; index < 40; index++) belief.seen(10 * noise(), 10, index);
    expect(belief.drifts).toBe(0);
    for (let index = 0; index < 10; index++) belief.seen(10 * factor * noise(), 10, 40 + index);
    expect(belief.drifts).toBe(1);
    expect(meanOf(belief.ratio()) / factor).toBeGreaterThan(0.85);
    expect(meanOf(belief.ratio()) / factor).toBeLessThan(1.15);
  });

  it("notices within seven runs that a busy endpoint rests, however much its runs varied", () => {
    const random = seededRandom(5);
    for (let round = 0; round < 20; round++) {
      const belief = speedBelief();
      for (let index = 0; index < 32; index++) belief.seen(30 * Math.exp(0.4 * gaussian(random)), 10, index);
      for (let index = 0; index < 7; index++)
        belief.seen(10 * Math.exp(0.05 * gaussian(random)), 10, 32 + index);
      expect(meanOf(belief.ratio())).toBeCloseTo(1, 0);
    }
  });

  it("does not take what comes on top of brief runs for slowness of long ones, unless only brief ones come", () => {
    const belief = speedBelief();
    for (let index = 0; index < 60; index++) {
      belief.seen(84, 80, index);
      // Beside another run, or behind messages: 10 ms on top of 5.
      belief.seen(15, 5, index);
    }
    expect(meanOf(belief.ratio())).toBeCloseTo(1.05, 9);
    expect(belief.drifts).toBe(0);
    for (let index = 60; index < 120; index++) belief.seen(15, 5, index);
    expect(meanOf(belief.ratio())).toBeCloseTo(3, 9);
  });

  it("goes on learning after a run whose profiled time is absurd", () => {
    const belief = speedBelief();
    for (let index = 0; index < 20; index++) belief.seen(11, 10, index);
    belief.seen(11, 1e9, 20);
    for (let index = 21; index < 81; index++) belief.seen(30, 10, index);
    expect(meanOf(belief.ratio())).toBeCloseTo(3, 1);
  });

  it("forgets the first run of all, which loads and warms, as soon as there is a quicker one", () => {
    const belief = speedBelief();
    belief.seen(40, 10, 0);
    expect(meanOf(belief.ratio())).toBeCloseTo(4, 9);
    for (let index = 1; index < 5; index++) belief.seen(11, 10, index);
    expect(meanOf(belief.ratio())).toBeCloseTo(1.1, 9);
  });

  it("knows a device after five runs, of which the first ones were cold, also when it warms up late", () => {
    const after = (...ratios: readonly number[]): number => {
      const belief = speedBelief();
      for (const [index, ratio] of ratios.entries()) belief.seen(10 * ratio, 10, index);
      return meanOf(belief.ratio());
    };
    expect(after(12, 7, 3.1, 2.9, 3)).toBeCloseTo(3, 1);
    expect(after(6, 6.2, 5.9, 6, 6.1, 6, 3, 3.1, 2.9)).toBeCloseTo(3, 1);
    // Runs that are only a little quicker drop nothing.
    expect(after(3.3, 3, 3.2, 2.8, 3)).toBeCloseTo(3.06, 3);
  });

  it("starts where others of the device are, and asks them until it has runs of its own", () => {
    const device = deviceSpeed();
    const one = device.follow("reference", "a", 1.5);
    const other = device.follow("reference", "b");
    expect(one.mean() / 1.5).toBeCloseTo(other.mean(), 9);
    for (let run = 0; run < 5; run++) one.seen(30, 10, run);
    expect(other.mean()).toBeCloseTo(3, 9);
    expect(other.ratio().origin).toBe("prior");
    expect(device.follow("another machine", "c").mean()).toBeCloseTo(1, 9);
    // Another input of the same variant is more alike than another model.
    const larger = device.follow("reference", "a");
    for (let run = 0; run < 5; run++) other.seen(50, 10, run);
    expect(larger.mean()).toBeCloseTo(3, 9);
    other.seen(50, 10, 5);
    expect(other.mean()).toBeCloseTo(5, 9);
    expect(other.runs).toBe(6);
  });

  it("takes single outliers for outliers", () => {
    const belief = speedBelief();
    for (let index = 0; index < 60; index++) belief.seen(index % 12 === 11 ? 200 : 10, 10, index);
    expect(belief.drifts).toBe(0);
    expect(quantileOf(belief.ratio(), 0.5)).toBeCloseTo(1, 5);
  });

  it.each([0.05, 0.15, 0.3])(
    "takes chance for a change of speed in one of 700 runs at most, where runs vary by %d",
    (spread) => {
      const random = seededRandom(7);
      const belief = speedBelief();
      for (let index = 0; index < 20_000; index++)
        belief.seen(10 * Math.exp(spread * gaussian(random)), 10, index);
      expect(belief.drifts).toBeLessThan(20_000 / 700);
    },
  );

  it("never becomes anything but positive numbers", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.double(), fc.double())), (pairs) => {
        const belief = speedBelief();
        for (const [observed, profile] of pairs) belief.seen(observed, profile, 0);
        for (const value of belief.ratio().values) expect(value > 0 && value < Infinity).toBe(true);
      }),
    );
  });
});
