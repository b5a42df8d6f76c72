import { describe, expect, it } from "vitest";
import { regimes } from "./regimes.ts";
import { serviceRatio } from "./service-ratio.ts";

/** Ten times slower. */
const slow = Math.log(10);

describe("regimes", () => {
  it("expects no jump before the first, and then as many as it has seen, back to where they led", () => {
    const seen = regimes(0);
    expect(seen.endedRatio(0, 15_000, 15_000)).toBe(0);
    for (let spell = 1; spell <= 10; spell++)
      seen.jumped(spell % 2 === 1 ? 0 : slow, spell % 2 === 1 ? slow : 0, 15_000 * spell);
    const nowMs = 151_000;
    expect(seen.endedRatio(0, 500, nowMs)).toBeLessThan(0.05);
    const soon = seen.endedRatio(0, 15_000, nowMs);
    expect(soon).toBeGreaterThan(0.5);
    expect(soon).toBeLessThan(0.8);
    const { levels, weights } = seen.next(0);
    const upward = weights.filter((_, index) => Math.abs((levels[index] ?? 0) - slow) < 0.01);
    expect(upward.reduce((sum, one) => sum + one, 0)).toBeGreaterThan(0.9);
  });
});

describe("serviceRatio of a server whose speed jumps", () => {
  function jumpy(spells: number): ReturnType<typeof serviceRatio> {
    const service = serviceRatio();
    for (let run = 0; run < 30 * spells; run++)
      service.seen(40 * (Math.floor(run / 30) % 2 === 0 ? 1 : 10), 40, run * 500);
    return service;
  }

  it("counts the way back to a quick spell with the time since the last run", () => {
    const service = jumpy(6);
    expect(service.spread(90_000)?.values[0]).toBeGreaterThan(5);
    const later = service.spread(110_000);
    expect(later?.values[0]).toBeCloseTo(1, 0);
    expect(later?.values[15]).toBeGreaterThan(5);
    expect(service.ratio(90_000)).toBeGreaterThan(8);
  });

  it("has no spread where the first runs only showed what a promise was worth", () => {
    const service = serviceRatio();
    for (let run = 0; run < 40; run++) service.seen(4, 40, run * 500);
    expect(service.spread(60_000)).toBeUndefined();
  });

  it("takes a run that lasts far too long for one at a slower speed, before it ends", () => {
    const service = jumpy(5);
    expect(service.overdue(35, 40, 75_000)).toBeUndefined();
    const rest = service.overdue(120, 40, 75_000)?.values ?? [];
    expect(rest[8]).toBeGreaterThan(200);
    expect(service.ratio(75_000)).toBeGreaterThan(8);
    // The next answer shows that it was only this one.
    service.seen(40, 40, 75_100);
    expect(service.ratio(75_100)).toBeLessThan(1.5);
  });

  it("stays at a slow speed while cancelled runs were too long for a quick one", () => {
    const service = jumpy(6);
    for (let atMs = 95_000; atMs <= 110_000; atMs += 5000) service.lasted(300, 40, atMs);
    expect(service.ratio(110_000)).toBeGreaterThan(9);
    expect(service.spread(110_500)?.values[0]).toBeGreaterThan(5);
  });
});
