import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { localWork } from "./local-work.ts";

it("gives a request that was sent away its turn before those that came after it", async () => {
  const clock = manualClock();
  const work = localWork(1, clock);
  const first = work.beginInTurn(100, 0);
  expect(first.turn).toBeUndefined();
  let wants = false;
  let second: ReturnType<typeof work.begin> | undefined;
  const sent = work.standBy(() => {
    if (!wants || second) return false;
    second = work.begin(100, clock.nowMs());
    return true;
  });
  const told: string[] = [];
  const later = work.beginInTurn(100, 0);
  void later.turn?.then(() => told.push("later"));
  expect(later.turn).toBeDefined();
  expect(work.freeMs(0)).toBe(100);
  wants = true;
  await clock.advance(100);
  first.ended();
  await clock.advance(0);
  expect([second !== undefined, told]).toEqual([true, []]);
  await clock.advance(100);
  sent[Symbol.dispose]();
  second?.ended();
  await clock.advance(0);
  expect(told).toEqual(["later"]);
});

it("does not hold a first run up for one that does not want its turn, nor for a run that nobody waits for any more", async () => {
  const clock = manualClock();
  const work = localWork(1, clock);
  const first = work.begin(100, 0);
  using _sent = work.standBy(() => false);
  const later = work.beginInTurn(100, 0);
  let begun = false;
  void later.turn?.then(() => (begun = true));
  await clock.advance(10);
  // It goes on until it would have ended.
  first.dropped(10);
  await clock.advance(80);
  expect(begun).toBe(false);
  await clock.advance(20);
  expect(begun).toBe(true);
  later.ended();
  expect(work.freeMs(120)).toBe(0);
});

it("forgets a first run that is given up before its turn", async () => {
  const clock = manualClock();
  const work = localWork(1, clock);
  const first = work.begin(100, 0);
  using _sent = work.standBy(() => false);
  const later = work.beginInTurn(100, 0);
  expect(work.queueMs(0)).toBe(200);
  expect(work.waiting()).toEqual({ runs: 1, ms: 100 });
  later.dropped(50);
  expect(work.waiting()).toEqual({ runs: 0, ms: 0 });
  expect(work.queueMs(50)).toBe(50);
  first.ended();
  expect(clock.armed()).toBe(0);
});
