import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  constantTrace,
  familyTrace,
  linkShapes,
  meanBitsPerSecond,
  packetTrace,
  poissonArrivals,
  rateTrace,
  inEvenSteps,
  scaled,
  steadyArrivals,
  stretched,
  syntheticTrace,
  type Trace,
  traceFamilies,
  uploadMs,
} from "./index.ts";

const packetTraces = fc
  .array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 40 })
  .map((gaps) => {
    let at = 0;
    return packetTrace(
      "p",
      Float64Array.from(gaps, (gap, index) => (at += index === 0 ? gap + 1 : gap)),
    );
  });
const rateTraces = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 0, max: 30_000_000 })), {
    minLength: 1,
    maxLength: 20,
  })
  .map((steps) => {
    let fromMs = 0;
    const entries = steps.map(([spanMs, bitsPerSecond]) => {
      const entry = { fromMs, bitsPerSecond };
      fromMs += spanMs;
      return entry;
    });
    return rateTrace("r", entries, fromMs);
  });

function agrees(trace: Trace, fromMs: number, packets: number): void {
  const start = trace.positionAt(fromMs);
  const doneMs = trace.instantOf(start + packets);
  if (doneMs === Infinity) {
    expect(trace.packets).toBe(0);
    return;
  }
  expect(doneMs).toBeGreaterThanOrEqual(fromMs - 1e-6);
  // Not earlier: just before, fewer packets could have passed.
  expect(trace.positionAt(doneMs - 0.001) - start).toBeLessThan(packets + 1e-6);
  expect(trace.positionAt(doneMs + 0.001) - start).toBeGreaterThanOrEqual(packets - 1e-6);
}

describe("a trace", () => {
  it("gives the earliest instant at which n packets passed, packets and rates alike", () => {
    fc.assert(
      fc.property(
        fc.oneof(packetTraces, rateTraces),
        fc.nat(20_000),
        fc.integer({ min: 1, max: 300 }),
        (trace, fromMs, packets) => agrees(trace, fromMs, packets),
      ),
    );
  });

  it("takes the end of a round that rounding lies beyond for its end", () => {
    const slow = rateTrace("slow", [{ fromMs: 0, bitsPerSecond: 4 }], 5);
    // A packet takes 584,000 rounds and ends with the last of them.
    expect(slow.instantOf(slow.positionAt(15_815) + 1) - 15_815).toBeCloseTo(584_000 * 5, 3);
  });

  it("never carries anything when all its rates are 0", () => {
    expect(uploadMs(rateTrace("dead", [{ fromMs: 0, bitsPerSecond: 0 }], 1000), 0, 1)).toBe(Infinity);
  });

  it("takes the time that the rate says", () => {
    // 100 packets of 1,460 bytes at 1.168 Mbit/s: 100 a second.
    expect(uploadMs(constantTrace(1_168_000), 0, 146_000)).toBeCloseTo(1000, 6);
    expect(uploadMs(scaled(constantTrace(1_168_000), 4), 0, 146_000)).toBeCloseTo(250, 6);
  });

  it("keeps its mean when resampled", () => {
    fc.assert(
      fc.property(packetTraces, fc.integer({ min: 1, max: 400 }), (trace, stepMs) => {
        const again = inEvenSteps(trace, stepMs);
        expect(again.packets).toBeCloseTo(trace.packets, 6);
        expect(again.lengthMs).toBe(trace.lengthMs);
      }),
    );
  });
});

describe("synthetic traces", () => {
  it.each(Object.entries(linkShapes))("%s has its mean rate, says synthetic, and replays", (name, shape) => {
    const trace = syntheticTrace(shape, 7, 600_000, name);
    const stalled = 1 / (1 + (shape.stallsPerSecond * shape.stallMeanMs) / 1000);
    expect(meanBitsPerSecond(trace) / (shape.meanBitsPerSecond * stalled)).toBeGreaterThan(0.75);
    expect(meanBitsPerSecond(trace) / (shape.meanBitsPerSecond * stalled)).toBeLessThan(1.25);
    expect(trace.origin).toBe("synthetic");
    expect(trace.name).toContain("synthetic, seed 7");
    const again = syntheticTrace(shape, 7, 600_000, name);
    expect(again.instantOf(1234.5)).toBe(trace.instantOf(1234.5));
    expect(syntheticTrace(shape, 8, 600_000, name).instantOf(1234.5)).not.toBe(trace.instantOf(1234.5));
  });

  it("a stalling uplink has silences of more than a second, a steady one has none", () => {
    const longest = (trace: Trace): number => {
      let most = 0;
      for (let at = 0; at < trace.lengthMs; at += 50)
        most = Math.max(most, trace.instantOf(trace.positionAt(at) + 1) - at);
      return most;
    };
    expect(longest(syntheticTrace(linkShapes.stalling, 3, 300_000))).toBeGreaterThan(1000);
    expect(longest(syntheticTrace(linkShapes.steady, 3, 300_000))).toBeLessThan(10);
  });
});

it("arrivals keep their shape when stretched", () => {
  const arrivals = poissonArrivals(4, 2000, 11);
  expect((arrivals[1999] ?? 0) / 2000).toBeCloseTo(250, -1.5);
  expect(stretched(arrivals, 2)[1999]).toBeCloseTo(2 * (arrivals[1999] ?? 0), 6);
  expect(steadyArrivals(500, 3)).toEqual([0, 500, 1000]);
});

describe("families of links", () => {
  it.each(traceFamilies)(
    "%s carries something, says synthetic, and is the same for the same seed",
    (family) => {
      const trace = familyTrace(family, 3, 60_000);
      expect(trace).toMatchObject({ origin: "synthetic", name: `${family} (synthetic, seed 3)` });
      expect(trace.lengthMs).toBeCloseTo(60_000, 6);
      expect(meanBitsPerSecond(trace)).toBeGreaterThan(0.1e6);
      expect(familyTrace(family, 3, 60_000).instantOf(500)).toBe(trace.instantOf(500));
    },
  );

  it("differ in their difficulty", () => {
    const inSecond = (family: string): ((second: number) => number) => {
      const trace = familyTrace(family, 1);
      return (second) => trace.positionAt((second + 1) * 1000) - trace.positionAt(second * 1000);
    };
    const falling = inSecond("drift");
    expect(falling(5)).toBeGreaterThan(20 * falling(175));
    const quick = inSecond("quick-constant");
    expect(quick(0)).toBeCloseTo(quick(90), 6);
    const gone = inSecond("long-outages");
    const silent = Array.from({ length: 180 }, (_, second) => gone(second)).filter(
      (packets) => packets === 0,
    );
    expect(silent.length).toBeGreaterThan(15);
    expect(() => familyTrace("none", 1)).toThrow(/no family "none"; there are markov-modulated/u);
  });
});
