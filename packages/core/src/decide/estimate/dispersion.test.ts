import { expect, it } from "vitest";
import { exponential, seededRandom } from "../../words/base/index.ts";
import { dispersionMeter } from "./dispersion.ts";

/** Counts of a Poisson process in ticks, each arrival bringing `burst` packets. */
function counts(perTick: number, burst: number, ticks: number): readonly number[] {
  const random = seededRandom(8);
  const all = Array.from({ length: ticks }, () => 0);
  for (
    let at = exponential(random, burst / perTick);
    at < ticks;
    at += exponential(random, burst / perTick)
  ) {
    all[Math.floor(at)] = (all[Math.floor(at)] ?? 0) + burst;
  }
  return all;
}

it("finds the size of bursts, whatever the rate", () => {
  for (const [perTick, burst] of [
    [20, 1],
    [60, 6],
  ] as const) {
    const meter = dispersionMeter(1);
    let sum = 0;
    const seen = counts(perTick, burst, 3000);
    for (const packets of seen) {
      meter.count(packets, true);
      sum += meter.dispersion;
    }
    expect(sum / seen.length / burst).toBeGreaterThan(0.75);
    expect(sum / seen.length / burst).toBeLessThan(1.35);
  }
});

it("takes neither outages nor idle time for bursts", () => {
  const meter = dispersionMeter(1.6);
  for (let round = 0; round < 100; round++) {
    for (let tick = 0; tick < 20; tick++) meter.count(tick < 10 ? 9 : 0, true);
    meter.count(500, false);
  }
  expect(meter.dispersion).toBeLessThan(0.5);
});

it.each([30, 5, 0.7])("finds a line even that carries %d packets a tick", (perTick) => {
  const meter = dispersionMeter(1.6);
  for (let tick = 0; tick < 2000; tick++)
    meter.count(Math.floor((tick + 1) * perTick) - Math.floor(tick * perTick), true);
  expect(meter.dispersion).toBeLessThan(0.2);
});

it("does not find a slow link even because most of its ticks hold one packet or none", () => {
  const meter = dispersionMeter(1.6);
  let sum = 0;
  const seen = counts(0.7, 1, 6000);
  for (const packets of seen) {
    meter.count(packets, true);
    sum += meter.dispersion;
  }
  expect(sum / seen.length).toBeGreaterThan(0.75);
  expect(sum / seen.length).toBeLessThan(1.35);
});
