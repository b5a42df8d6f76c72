import { expect, it } from "vitest";
import { radios } from "../plan/index.ts";
import { radioState } from "./device.ts";

const { lte } = radios;
const wholeTail = lte.promotionMillijoules + lte.tailMs * lte.tailWatts;

it("charges a radio for waking up, then only for what prolongs its tail", () => {
  const state = radioState(lte);
  expect(state.wakeMillijoules(0)).toBe(wholeTail);
  state.used(1000);
  expect(state.wakeMillijoules(1500)).toBeCloseTo(500 * lte.tailWatts, 9);
  expect(state.wakeMillijoules(1000 + lte.tailMs)).toBe(wholeTail);
});

it("weighs an exchange by the gap between requests while they come within the tail, and shares the waking", () => {
  const state = radioState(lte);
  state.asked(0);
  expect(state.wakePrice(0)).toBe(wholeTail);
  for (let atMs = 500; atMs <= 5000; atMs += 500) state.asked(atMs);
  const asleep = state.wakePrice(5000);
  expect(asleep).toBeGreaterThan(500 * lte.tailWatts + wholeTail / 60);
  expect(asleep).toBeLessThan(1000 * lte.tailWatts + wholeTail / 50);
  state.used(5000);
  const steady = 500 * lte.tailWatts;
  expect(state.wakePrice(5500)).toBeCloseTo(steady, 6);
  // Requests that come seldom pay for themselves.
  const rare = radioState(lte);
  rare.asked(0);
  rare.asked(60_000);
  expect(rare.wakePrice(60_000)).toBe(wholeTail);
});
