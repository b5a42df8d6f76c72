import { expect, it } from "vitest";
import { seededRandom } from "@longshore/core";
import { constantTrace } from "../trace/index.ts";
import { virtualClock } from "../world/virtual-clock.ts";
import { emulatedLink } from "./emulated-link.ts";

const roundTripMs = 50;

/** Times of bodies that are sent one after another, each after a rest. */
async function timesOf(bytes: readonly number[], lossRatio: number, restMs: number): Promise<number[]> {
  const clock = virtualClock();
  const link = emulatedLink({
    up: constantTrace(20e6),
    down: constantTrace(1e9),
    delayMs: roundTripMs / 2,
    quantumMs: 0,
    clock,
    random: seededRandom(3),
    tcp: { lossRatio },
  });
  const times: number[] = [];
  for (const size of bytes) {
    await clock.advance(restMs);
    const beganMs = clock.nowMs();
    await clock.runUntil(link.carry(size, "up"));
    times.push(clock.nowMs() - beganMs);
  }
  return times;
}

it("connects, then sends ten packets and twice as many in each next round trip", async () => {
  const [short = NaN] = await timesOf([14_600], 0, 0);
  // A round trip for the connection, and one way.
  expect(short).toBeCloseTo(roundTripMs + 25 + (14_600 * 8) / 20e3, 0);
  const [longer = NaN] = await timesOf([14_600 * 3], 0, 0);
  expect(longer).toBeGreaterThan(short + roundTripMs);
  expect(longer).toBeLessThan(short + 1.5 * roundTripMs);
});

it("keeps its window where it goes on at once, and starts anew after a long rest", async () => {
  const [, atOnce = NaN] = await timesOf([600_000, 150_000], 0, 60);
  const [, rested = NaN] = await timesOf([600_000, 150_000], 0, 3000);
  expect(atOnce).toBeLessThan(25 + (150_000 * 8) / 20e3 + roundTripMs);
  expect(rested).toBeGreaterThan(atOnce + roundTripMs);
});

it("reports what the next body waits for: a connection, and how long an open one has rested", async () => {
  const clock = virtualClock();
  const parts = { up: constantTrace(20e6), down: constantTrace(1e9), delayMs: 25, quantumMs: 0, clock };
  const link = emulatedLink({ ...parts, random: seededRandom(3), tcp: {} });
  expect(link.connecting?.()).toEqual({ roundTrips: 1 });
  await clock.runUntil(link.carry(14_600, "up"));
  await clock.advance(100);
  expect(link.connecting?.()).toBeUndefined();
  await clock.advance(1000);
  expect(link.connecting?.()).toMatchObject({ roundTrips: 0 });
  expect(link.connecting?.()?.idleMs).toBeGreaterThan(1000);
  await clock.advance(3500);
  expect(link.connecting?.()).toEqual({ roundTrips: 1, tookMs: 50 });
  expect(emulatedLink({ ...parts, random: seededRandom(3) }).connecting).toBeUndefined();
});

it("delivers everything whatever is lost, and takes longer for it", async () => {
  const sizes = Array.from({ length: 12 }, () => 150_000);
  const whole = await timesOf(sizes, 0, 600);
  const sum = (times: readonly number[]): number => times.reduce((total, one) => total + one, 0);
  for (const lossRatio of [0.01, 0.1, 0.3])
    expect(sum(await timesOf(sizes, lossRatio, 600))).toBeGreaterThan(sum(whole));
});

it("sends nothing more of a body that is given up", async () => {
  const clock = virtualClock();
  const link = emulatedLink({
    up: constantTrace(20e6),
    down: constantTrace(1e9),
    delayMs: 25,
    clock,
    random: seededRandom(3),
    tcp: {},
  });
  const stop = new AbortController();
  const sent = link.carry(600_000, "up", { abort: stop.signal });
  await clock.advance(120);
  stop.abort(new Error("enough"));
  await expect(sent).rejects.toThrow();
  const { up } = link.carriedBytes;
  await clock.advance(5000);
  // Packets that were on their way still pass.
  expect(link.carriedBytes.up - up).toBeLessThan(100_000);
  expect(link.carriedBytes.up).toBeLessThan(200_000);
});
