import { expect, it } from "vitest";
import { exponential, seededRandom } from "../../words/base/index.ts";
import { backlogValues, devicePrice, idleDevice } from "./device-price.ts";
import { deviceDemand } from "./device-demand.ts";

it("is nothing on a beat whose gaps are longer than a run", () => {
  const values = backlogValues([500, 500], 400, 1);
  expect(devicePrice([500], values, 400, 1).heldMs(400)).toBe(0);
  expect(devicePrice([500], values, 400, 1).heldMs(700)).toBeGreaterThan(200);
});

it("comes near the waiting time of a queue with Poisson arrivals", () => {
  const random = seededRandom(1);
  const runMs = 100;
  // At a load of 0.3, a run at an idle device keeps others waiting for lambda L L / (2 (1 - load)).
  const gaps = Float64Array.from({ length: 2000 }, () => exponential(random, runMs / 0.3));
  const price = devicePrice(gaps, backlogValues(gaps, runMs, 1), runMs, 1);
  const expected = (0.3 * runMs) / (2 * 0.7);
  expect(price.heldMs(runMs) / expected).toBeGreaterThan(0.85);
  expect(price.heldMs(runMs) / expected).toBeLessThan(1.15);
});

it("learns which share of requests runs here, and charges nothing before anything is known", () => {
  const demand = deviceDemand();
  expect(demand.price(0, 100)).toBe(idleDevice);
  for (let atMs = 0; atMs <= 400; atMs += 80) demand.seen(atMs);
  const busy = demand.price(400, 100).heldMs(100);
  expect(busy).toBeGreaterThan(0);
  for (let count = 0; count < 60; count++) demand.ended(false);
  demand.seen(480);
  expect(demand.hereRatio).toBeLessThan(0.1);
  expect(demand.price(480, 100).heldMs(100)).toBeLessThan(0.3 * busy);
});

it("knows a rhythm from arrivals that may come at any time, and when nobody sends any more", () => {
  const beat = deviceDemand();
  for (const atMs of [0, 500, 1000]) beat.seen(atMs);
  expect(beat.probeDueMs(1100)).toEqual({ soonestMs: 400, rhythm: true, expected: true });
  const pairs = deviceDemand();
  for (const atMs of [0, 150, 2000]) pairs.seen(atMs);
  expect(pairs.probeDueMs(2050)).toEqual({ soonestMs: 100, rhythm: false, expected: true });
  expect(pairs.probeDueMs(5600).expected).toBe(true);
  expect(pairs.probeDueMs(5800).expected).toBe(false);
});
