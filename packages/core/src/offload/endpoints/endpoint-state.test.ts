import { doubleEndpoint } from "@longshore/testkit";
import { expect, it } from "vitest";
import { type Clock, LongshoreError, seededRandom } from "../../words/base/index.ts";
import type { LoadReport } from "../../wire/endpoint/index.ts";
import { certain } from "../../words/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import { followEndpoint } from "./endpoint-state.ts";

const clock: Clock = { nowMs: () => 0, wallMs: () => 0, timer: () => ({ [Symbol.dispose]() {} }) };
const endpoint = doubleEndpoint([]);
const report = (queueMs: number): LoadReport => ({ atMs: 0, cpuRatio: 1, inFlight: 4, queueMs });

it("believes a fresh report of the queue, then what is usual for the endpoint, then that it has become idle", () => {
  const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
  expect(endpointState.queue.waitMs(0)).toBe(0);
  for (let at = 0; at <= 60_000; at += 2000)
    endpointState.reports.load(report(at % 4000 === 0 ? 900 : 300), at, 0);
  expect(endpointState.queue.waitMs(60_000)).toBeCloseTo(900, -1);
  // Ten half-lives of the report later only what is usual is left, a little aged.
  expect(endpointState.queue.waitMs(70_000)).toBeGreaterThan(350);
  expect(endpointState.queue.waitMs(70_000)).toBeLessThan(700);
  expect(endpointState.queue.waitMs(600_000)).toBeLessThan(1);
});

it("takes the queue that an offer states into what is usual", () => {
  const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
  for (let at = 0; at <= 100_000; at += 5000) endpointState.reports.queue(500, at);
  expect(endpointState.queue.waitMs(100_000)).toBeGreaterThan(300);
  expect(endpointState.queue.waitMs(100_000)).toBeLessThanOrEqual(500);
});

it("tries an endpoint that proves nothing at longer and longer intervals, and again when it comes back", () => {
  const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
  const tries = (fromMs: number, toMs: number): readonly number[] => {
    const at: number[] = [];
    for (let nowMs = fromMs; nowMs < toMs; nowMs += 100) {
      if (!endpointState.reading.untried(nowMs)) continue;
      at.push(nowMs);
      endpointState.legs.began(200, nowMs);
      // Somebody else answered first.
      endpointState.legs.ended();
    }
    return at;
  };
  expect(tries(0, 20_000)).toEqual([1100, 3200, 7300, 15_400]);
  endpointState.outcomes.failed(new LongshoreError("unreachable", "transport", "it is gone"), 20_000);
  expect(tries(20_000, 23_000)).toEqual([20_000, 22_100]);
  endpointState.outcomes.answered(22_100);
  expect(tries(22_100, 25_000)).toEqual([23_200]);
  for (let answer = 0; answer < 4; answer++) endpointState.outcomes.answered(25_000);
  expect(tries(25_000, 30_000)).toEqual([]);
});

it("is not paused any more once it answers, and its next failure is the first in a row", () => {
  const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
  const { health } = endpointState;
  const away = new LongshoreError("no-answer", "transport", "it is silent");
  for (let failure = 0; failure < 4; failure++) endpointState.outcomes.failed(away, failure);
  expect(health.pausedUntilMs).toBeGreaterThan(1000);
  endpointState.outcomes.answered(10);
  expect(health.unavailable(10)).toBeUndefined();
  expect(health.failing).toBe(false);
  endpointState.outcomes.failed(away, 20);
  expect(health.pausedUntilMs).toBeLessThan(400);
});

it("counts the radio as active while bytes are on their way to the endpoint", () => {
  const link: Link = {
    transferMs: (bytes) => certain(700 + bytes / 1000),
    roundTripMs: () => certain(20),
  };
  const endpointState = followEndpoint(endpoint, link, clock, seededRandom(1), undefined);
  const sharedMs = (): number => endpointState.reading.view(0).sharedMs;
  expect(sharedMs()).toBe(0);
  endpointState.legs.began(200, 0);
  expect(sharedMs()).toBe(700);
  endpointState.legs.ended(10);
  expect(sharedMs()).toBe(0);
});

it("is not mute while it gives one answer after another", () => {
  const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
  endpointState.legs.began(10, 0);
  endpointState.legs.began(10, 0);
  endpointState.record.missed(0);
  expect(endpointState.record.mute).toBe(true);
  endpointState.outcomes.answering(500);
  expect(endpointState.record.mute).toBe(false);
  endpointState.record.missed(400);
  expect([endpointState.record.mute, endpointState.record.proven]).toEqual([false, false]);
});

it("counts all that was under way at a server when it went as one failure", () => {
  const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
  const gone = new LongshoreError("unreachable", "transport", "it is gone");
  const silent = new LongshoreError("no-answer", "execute", "it says nothing");
  const broke = (error: LongshoreError, beganMs: number, nowMs: number): void =>
    endpointState.outcomes.failed(error, nowMs, false, beganMs);
  // Questions about itself, too.
  for (let model = 0; model < 8; model++) endpointState.outcomes.failed(silent, 1000, true, 900);
  for (let leg = 0; leg < 25; leg++) broke(silent, 900 + leg, 1000);
  // It answers questions again, which says nothing about the runs that broke as well.
  endpointState.health.reached();
  expect(endpointState.health.failing).toBe(true);
  expect(endpointState.health.pausedUntilMs).toBeLessThan(1400);
  // That nobody is there is news once, and so is what began after it was known.
  broke(gone, 950, 1001);
  expect(endpointState.health.absent).toBe(true);
  const pausedUntilMs = endpointState.health.pausedUntilMs;
  for (const error of [gone, silent]) broke(error, 990, 1002);
  expect(endpointState.health.pausedUntilMs).toBe(pausedUntilMs);
  broke(gone, 1500, 1501);
  expect(endpointState.health.pausedUntilMs).toBeGreaterThan(2000);
  // A wrong answer is never the same failure.
  const before = endpointState.health.downAtMs;
  broke(new LongshoreError("bad-reply", "decode", "it is wrong"), 990, 1600);
  expect([before, endpointState.health.downAtMs]).toEqual([1501, 1600]);
});

it("writes down what is believed of its link when it has said something for the first time", () => {
  let tookMs = 60;
  const link: Link = { transferMs: () => certain(tookMs), roundTripMs: () => certain(2 * tookMs) };
  const endpointState = followEndpoint(endpoint, link, clock, seededRandom(1), undefined);
  expect(endpointState.link.table.up[0]).toBe(60);
  tookMs = 1;
  endpointState.reports.offers([], 5, true);
  expect(endpointState.link.table.up[0]).toBe(1);
  // From then on that is done off the path of requests.
  tookMs = 2;
  endpointState.reports.offers([], 10, true);
  expect(endpointState.link.table.up[0]).toBe(1);
});

it("wants its table computed again soon, but not before its first offer where there are very many endpoints", () => {
  const link: Link = { transferMs: () => certain(1), roundTripMs: () => certain(2) };
  const endpointState = followEndpoint(endpoint, link, clock, seededRandom(1), undefined);
  const { table } = endpointState.link;
  expect(endpointState.link.stale(5)).toBe(false);
  endpointState.reports.offers([], 5, false);
  expect(endpointState.link.table).toBe(table);
  expect(endpointState.link.stale(5)).toBe(true);
});

it("no longer gets its longest wait after it accepted none of three requests in a row", () => {
  const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
  const mayAfter = (refusals: number): boolean => {
    for (let refusal = 0; refusal < refusals; refusal++) endpointState.reports.turnedAway(report(50), 0);
    return endpointState.reading.mayTurnAway;
  };
  expect(mayAfter(2)).toBe(true);
  expect(mayAfter(1)).toBe(false);
  endpointState.outcomes.answered(0);
  expect(endpointState.reading.mayTurnAway).toBe(true);
});

it("believes no load report with figures that cannot be, and none beyond ten minutes of queue", () => {
  const endpointState = followEndpoint(endpoint, undefined, clock, seededRandom(1), undefined);
  endpointState.reports.load(report(300), 0, 0);
  for (const lie of [
    { queueMs: NaN },
    { queueMs: -1 },
    { inFlight: NaN },
    { inFlight: Infinity },
    { cpuRatio: NaN },
  ]) {
    endpointState.reports.load({ ...report(900), ...lie }, 10, 0);
    endpointState.reports.turnedAway({ ...report(900), ...lie }, 10);
  }
  expect(endpointState.queue.waitMs(0)).toBe(300);
  endpointState.reports.load(report(1e300), 20, 0);
  expect(endpointState.queue.waitMs(20)).toBe(600_000);
  const batch = { requests: 0, shareRatio: -1 };
  endpointState.reports.load({ ...report(300), batch }, 30, 0);
  expect(endpointState.queue.occupiedMs(8)).toBeGreaterThan(0);
});
