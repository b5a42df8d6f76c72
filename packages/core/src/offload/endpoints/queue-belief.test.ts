import { expect, it } from "vitest";
import type { LoadReport } from "../../wire/endpoint/index.ts";
import { queueBelief } from "./queue-belief.ts";

const report = (queueMs: number, inFlight: number): LoadReport => ({
  atMs: 0,
  cpuRatio: 1,
  inFlight,
  queueMs,
});

it("lets a queue that only this endpoint filled run dry in its own time", () => {
  const queue = queueBelief();
  for (let count = 0; count < 4; count++) queue.sent(50, 0);
  queue.reported(report(150, 4), 50, 0);
  expect(queue.waitMs(50)).toBeCloseTo(150, 5);
  expect(queue.waitMs(100)).toBeCloseTo(100, 5);
  for (let count = 0; count < 4; count++) queue.ended(200, false);
  expect(queue.waitMs(250)).toBe(0);
});

it("does not take a run for over because it has lasted as long as expected", () => {
  const queue = queueBelief();
  queue.sent(50, 0);
  expect(queue.waitMs(80)).toBeCloseTo(0.4 * 50, 5);
  queue.ended(80, false);
  expect(queue.waitMs(80)).toBe(0);
});

it("knows that others send there from requests in flight that are not ours", () => {
  const queue = queueBelief();
  queue.sent(50, 0);
  queue.reported(report(10, 1), 10, 0);
  expect(queue.shared(10)).toBe(false);
  queue.reported(report(60, 2), 20, 0);
  expect(queue.shared(20)).toBe(true);
  expect(queue.shared(600_000)).toBe(false);
});

it("does not take its own requests for those of others when their answers overtake a report", () => {
  const queue = queueBelief();
  for (let count = 0; count < 3; count++) queue.sent(50, 0);
  queue.ended(9, true);
  queue.ended(9.5, true);
  // Written while the other two were still there, and read after their answers.
  queue.reported(report(0, 3), 10, 2);
  expect(queue.shared(10)).toBe(false);
  // Those answers were here before this one left.
  queue.reported(report(0, 3), 20, 5);
  expect(queue.shared(20)).toBe(true);
});

it("does not count its own requests as those of others when an older report arrives after a newer one", () => {
  const queue = queueBelief();
  for (let count = 0; count < 3; count++) queue.sent(50, 0);
  queue.ended(8, true);
  queue.ended(9, true);
  queue.reported(report(0, 1), 9, 0.5);
  queue.ended(10, true);
  // Written while the first two were still there.
  queue.reported(report(0, 2), 10, 3);
  expect(queue.shared(10)).toBe(false);
});

it("does not take a run that it gave up for that of another as long as it may go on", () => {
  const queue = queueBelief();
  queue.sent(50, 0);
  queue.ended(10, false);
  queue.reported(report(10, 1), 20, 0);
  queue.reported(report(10, 1), 40, 0);
  expect(queue.shared(40)).toBe(false);
  queue.reported(report(0, 0), 60, 0);
  queue.reported(report(10, 1), 80, 0);
  expect(queue.shared(80)).toBe(true);
});

it("sees others again once what it gave up has ended there, however many those are all the time", () => {
  const queue = queueBelief();
  for (let count = 0; count < 5; count++) queue.sent(50, 0);
  for (let count = 0; count < 5; count++) queue.ended(20, false);
  for (let atMs = 100; atMs <= 3000; atMs += 100) queue.reported(report(10, 3), atMs, 0);
  expect(queue.shared(3000)).toBe(true);
});

it("takes a request that is there when one of its own was answered for that of another", () => {
  for (const delayMs of [0, 2]) {
    for (const inFlight of [0, 1]) {
      const queue = queueBelief();
      queue.sent(50, 0);
      queue.ended(50, true);
      queue.reported(report(50 * inFlight, inFlight), 50, delayMs);
      expect(queue.shared(50)).toBe(inFlight > 0);
    }
  }
});

it("adds what was sent since the report, and what the report cannot know of yet", () => {
  const queue = queueBelief();
  queue.sent(50, 0);
  queue.sent(50, 95);
  // Under way for 10 ms: what left at 95 was not there when it was written.
  queue.reported(report(20, 1), 100, 10);
  expect(queue.waitMs(100)).toBeCloseTo(70, 5);
  queue.sent(50, 100);
  expect(queue.waitMs(100)).toBeCloseTo(120, 5);
});

it("expects the load of others to return, and to end when no report mentions it", () => {
  const queue = queueBelief();
  for (let at = 0; at < 10_000; at += 100) queue.reported(report(200, 8), at, 0);
  expect(queue.waitMs(15_000)).toBeGreaterThan(120);
  expect(queue.waitMs(600_000)).toBeLessThan(1);
});

it("adds nothing to the queue of an endpoint with free slots", () => {
  const queue = queueBelief();
  queue.sent(50, 0);
  for (let inFlight = 1; inFlight <= 8; inFlight++) queue.reported(report(0, inFlight), inFlight, 0);
  queue.reported(report(0, 2), 10, 0);
  for (let count = 0; count < 5; count++) queue.sent(50, 20);
  expect(queue.waitMs(20)).toBe(0);
  queue.sent(50, 20);
  expect(queue.waitMs(20)).toBe(0);
  // A request that came with eight in flight did not wait: the ninth takes the last slot.
  queue.sent(50, 20);
  expect(queue.waitMs(20)).toBeCloseTo(50 / 9, 5);
  // It has fewer slots now: with four in flight there is a wait.
  queue.reported(report(40, 4), 30, 0);
  queue.sent(50, 30);
  expect(queue.waitMs(30)).toBeGreaterThan(50);
});

it("does not let own requests pile up that are answered one after another at an endpoint that nobody else uses", () => {
  // Counted with ours under way, and as a mean that says that others are there for a twentieth of the time.
  for (const inFlight of [1, 0.05]) {
    const queue = queueBelief(true);
    queue.sent(50, 0);
    queue.reported(report(0, inFlight), 5, 5);
    queue.ended(30, true);
    for (let atMs = 30; atMs < 1000; atMs += 30) {
      expect(queue.waitMs(atMs)).toBe(0);
      queue.sent(50, atMs);
      queue.ended(atMs + 30, true);
    }
  }
  const two = queueBelief(true);
  two.reported(report(0, 0.05), 0, 0);
  for (let count = 0; count < 2; count++) two.sent(50, 0);
  expect(two.waitMs(0)).toBeCloseTo(2 * 50, 5);
});

it("waits for the one request that is under way at an endpoint with one slot, for as long as that is expected to run", () => {
  const queue = queueBelief();
  for (const runMs of [20, 20, 200]) {
    queue.sent(runMs, 0);
    queue.reported(report(0, 0), 0, 0);
    queue.ended(0, true);
  }
  queue.sent(200, 1000);
  expect(queue.waitMs(1000)).toBeCloseTo(200, 5);
  expect(queue.waitMs(1150)).toBeCloseTo(50, 5);
});

it("has as many slots as a counting server reports running, and otherwise one more, since the request did not wait", () => {
  for (const counts of [true, false]) {
    const queue = queueBelief(counts);
    queue.sent(50, 0);
    queue.reported(report(0, 1), 10, 5);
    queue.sent(50, 20);
    expect(queue.waitMs(20)).toBeCloseTo(counts ? 50 : 25, 5);
  }
});

it("still waits for what was reported when the last of ours was answered", () => {
  const queue = queueBelief();
  queue.sent(50, 0);
  queue.reported(report(200, 4), 10, 5);
  queue.ended(60, true);
  expect(queue.waitMs(60)).toBeGreaterThanOrEqual(150);
});

it("takes what waits where requests share runs for as long as that takes, and no longer", () => {
  const queue = queueBelief();
  const batch = { requests: 4, shareRatio: 0.25 };
  queue.reported({ ...report(0, 0), batch }, 0, 0);
  // The first finds nobody there, and has a run of its own.
  queue.sent(40, 0);
  expect(queue.waitMs(0)).toBeCloseTo(40, 5);
  for (let count = 0; count < 4; count++) queue.sent(40, 0);
  expect(queue.waitMs(0)).toBeCloseTo(40 + 40, 5);
  // Those four share the run that is almost over: there is no second slot.
  queue.reported({ ...report(1, 4), batch }, 79, 79);
  queue.reported({ ...report(40, 5), batch }, 100, 0);
  queue.sent(40, 100);
  expect(queue.waitMs(100)).toBeCloseTo(40 + 10, 5);
});

it("finds the slots of an endpoint where requests share runs", () => {
  const queue = queueBelief();
  const batch = { requests: 4, shareRatio: 0.25 };
  queue.sent(40, 0);
  // Two runs under way, and the next does not wait.
  queue.reported({ ...report(0, 8), batch, cpuRatio: 0.5 }, 10, 5);
  queue.sent(40, 10);
  expect(queue.waitMs(10)).toBeCloseTo(40 / 3, 5);
});

it("gives back what a request added that its endpoint refused or lost, unless a report has counted since", () => {
  const queue = queueBelief();
  queue.sent(50, 0);
  const before = queue.waitMs(0);
  for (let count = 0; count < 30; count++) queue.withdrawn(0, queue.sent(50, 0), 0);
  expect(queue.waitMs(0)).toBeCloseTo(before, 5);
  expect(queue.underWay).toBe(1);
  const addedMs = queue.sent(50, 10);
  queue.reported(report(500, 10), 100, 0);
  queue.withdrawn(10, addedMs, 100);
  expect(queue.waitMs(100)).toBeCloseTo(500, 5);
});
