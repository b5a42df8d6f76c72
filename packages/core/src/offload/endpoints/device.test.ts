import { expect, it } from "vitest";
import { radios } from "../../decide/estimate/index.ts";
import { radioState } from "./device.ts";

const { lte } = radios;
const wholeTail = lte.promotionMillijoules + lte.tailMs * lte.tailWatts;

it("charges a radio for waking up, then only for what prolongs its tail, and once for exchanges at the same time", () => {
  const state = radioState(lte);
  expect(state.wakeMillijoules(0)).toBe(wholeTail);
  state.used(1000);
  expect(state.wakeMillijoules(1500)).toBeCloseTo(500 * lte.tailWatts, 9);
  expect(state.wakeMillijoules(1000 + lte.tailMs)).toBe(wholeTail);
  expect(state.begun(50_000).wakeMillijoules).toBe(wholeTail);
  expect(state.begun(50_100).wakeMillijoules).toBe(0);
});

it("is up while an exchange lasts, however long, and is paid for once", () => {
  const state = radioState(lte);
  const long = state.begun(0);
  const lateMs = 2 * lte.tailMs;
  expect(state.wakeMillijoules(lateMs)).toBe(0);
  const second = state.begun(lateMs);
  expect(second.wakeMillijoules).toBe(0);
  expect(second.ended(lateMs + 100)).toBe(lateMs + 100);
  expect(second.ended(lateMs + 200)).toBe(0);
  expect(long.ended(lateMs + 300)).toBe(200);
  expect(state.wakeMillijoules(lateMs + 800)).toBeCloseTo(500 * lte.tailWatts, 9);
});

it("weighs an exchange by the gap between requests while they come within the tail, and shares the waking", () => {
  const state = radioState(lte);
  state.requested(0);
  expect(state.price(0)).toEqual({ wakeMillijoules: wholeTail, gapMs: 0 });
  for (let atMs = 500; atMs <= 5000; atMs += 500) state.requested(atMs);
  const asleep = state.price(5000);
  expect(asleep.gapMs).toBeGreaterThan(500);
  expect(asleep.gapMs).toBeLessThan(1000);
  expect(asleep.wakeMillijoules).toBeGreaterThan(wholeTail / 60);
  expect(asleep.wakeMillijoules).toBeLessThan(wholeTail / 50);
  state.begun(5000).ended(5000);
  expect(state.price(5500).gapMs).toBeCloseTo(500, 6);
  expect(state.price(5500).wakeMillijoules).toBeCloseTo(0, 6);
  // One exchange after each waking: the next waking is shared by fewer.
  for (let atMs = 20_000; atMs <= 200_000; atMs += 20_000) {
    state.begun(atMs).ended(atMs);
  }
  for (let atMs = 230_000; atMs <= 245_000; atMs += 500) state.requested(atMs);
  expect(state.price(245_000).wakeMillijoules).toBeGreaterThan(wholeTail / 10);
  // Requests that come rarely pay for themselves.
  const rare = radioState(lte);
  rare.requested(0);
  rare.requested(60_000);
  expect(rare.price(60_000)).toEqual({ wakeMillijoules: wholeTail, gapMs: 0 });
});
