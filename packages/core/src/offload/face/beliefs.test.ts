import { describe, expect, it } from "vitest";
import { LongshoreError, seededRandom } from "../../words/base/index.ts";
import { radios } from "../../decide/estimate/index.ts";
import { radioState } from "../endpoints/index.ts";
import { localWork } from "../endpoints/index.ts";
import { endpointHealth } from "../endpoints/index.ts";
import { serviceRatio } from "../endpoints/index.ts";

const error = (reason: LongshoreError["reason"], retryAfterMs?: number): LongshoreError =>
  new LongshoreError(reason, "transport", "made up", retryAfterMs === undefined ? {} : { retryAfterMs });

describe("localWork", () => {
  it("makes the next run wait for what is under way, slot by slot", () => {
    const work = localWork(2);
    work.begin(100, 0);
    expect(work.queueMs(0)).toBe(0);
    const second = work.begin(40, 0);
    expect(work.queueMs(0)).toBe(40);
    work.begin(10, 0);
    expect(work.queueMs(0)).toBe(50);
    expect(work.queueMs(30)).toBe(20);
    second.ended();
    expect(work.queueMs(30)).toBe(0);
  });

  it("keeps the slot of a dropped run until it would have ended, and not for ever", () => {
    const work = localWork(1);
    work.begin(100, 0);
    expect(work.queueMs(60)).toBe(40);
    expect(work.queueMs(5000)).toBe(0);
  });

  it("makes nobody wait for runs that were dropped and would be over, however many there were", () => {
    const work = localWork(1);
    for (const atMs of [0, 500]) work.begin(100, atMs).dropped(atMs + 50);
    expect(work.queueMs(580)).toBe(20);
    expect(work.queueMs(700)).toBe(0);
  });

  it("counts runs whose results are waited for, however long they wait for their turn", () => {
    const work = localWork(1);
    const runs = Array.from({ length: 10 }, () => work.begin(500, 0));
    for (const run of runs.slice(0, 4)) run.ended();
    // The fifth began at 2000.
    expect(work.queueMs(2200)).toBeGreaterThanOrEqual(5 * 500);
    for (const run of runs) run.ended();
    expect(work.queueMs(2200)).toBe(0);
  });

  it("has runs that are kept back for earlier deadlines begin first where they would wait longer, the earliest first", () => {
    const work = localWork(2);
    const told: string[] = [];
    const keep = (deadlineMs: number): Disposable =>
      work.keepBack(deadlineMs, (longerMs) => {
        told.push(`${deadlineMs}: ${longerMs}`);
        if (deadlineMs === 700) work.begin(30, 0, deadlineMs);
      });
    const kept = [keep(900), keep(700), keep(800)];
    // One slot is free behind it.
    work.begin(100, 0, 850);
    expect(told).toEqual([]);
    work.begin(50, 0, 850);
    expect(told).toEqual(["700: 50", "800: 50"]);
    // 30 and 50 one after the other.
    expect(work.queueMs(0)).toBe(80);
    for (const one of kept) one[Symbol.dispose]();
    work.begin(50, 0);
    expect(told).toHaveLength(2);
  });

  it("counts a run no more that was dropped before its turn came", () => {
    const work = localWork(1);
    work.begin(100, 0);
    const second = work.begin(100, 0);
    expect(work.queueMs(50)).toBe(150);
    second.dropped(50);
    expect(work.queueMs(50)).toBe(50);
  });
});

describe("endpointHealth", () => {
  it("pauses an endpoint for longer with each failure in a row, and charges it until it has answered for a while", () => {
    const health = endpointHealth(seededRandom(1));
    const pauses: number[] = [];
    let nowMs = 0;
    for (let failure = 0; failure < 4; failure++) {
      health.failed(error("no-answer"), nowMs);
      pauses.push(health.pausedUntilMs - nowMs);
      nowMs = health.pausedUntilMs + 1;
      expect(health.unavailable(nowMs - 2)).toContain("no-answer");
      expect(health.unavailable(nowMs)).toBeUndefined();
    }
    expect(pauses[3]).toBeGreaterThan(4 * (pauses[0] ?? Infinity));
    const charged = health.penaltyMs(nowMs);
    expect(charged).toBeGreaterThan(200);
    for (let answer = 0; answer < 30; answer++) health.succeeded(nowMs);
    expect(health.penaltyMs(nowMs)).toBe(0);
    expect(health.penaltyMs(nowMs + 1e6)).toBe(0);
  });

  it("charges questions that were not answered only until one is, and runs that failed beside them for longer", () => {
    const questions = endpointHealth(seededRandom(1));
    questions.failed(error("no-answer"), 0, true);
    expect(questions.penaltyMs(10)).toBeGreaterThan(100);
    questions.reached();
    expect(questions.penaltyMs(10)).toBe(0);
    const [both, runs] = [endpointHealth(seededRandom(1)), endpointHealth(seededRandom(1))];
    for (const one of [both, runs]) one.failed(error("run-failed"), 0);
    both.failed(error("no-answer"), 1000, true);
    expect(both.penaltyMs(1000)).toBeGreaterThan(runs.penaltyMs(1000));
    both.reached();
    expect(both.penaltyMs(1000)).toBeCloseTo(runs.penaltyMs(1000));
  });

  it("leaves an endpoint that lets nobody in alone for as long as it says, but not for ever", () => {
    const health = endpointHealth(seededRandom(1));
    health.failed(error("unauthenticated", 7000), 0);
    expect(health.pausedUntilMs).toBe(7000);
    health.failed(error("unauthenticated", 86_400_000), 7000);
    expect(health.pausedUntilMs).toBe(37_000);
  });

  it("waits as long as a busy endpoint asks for, without holding it against it", () => {
    const health = endpointHealth(seededRandom(1));
    health.failed(error("queue-full", 70), 0);
    expect(health.unavailable(69)).toContain("load");
    expect(health.unavailable(70)).toBeUndefined();
    expect(health.penaltyMs(70)).toBe(0);
  });

  it("does not take what is wrong with the request for a fault of the endpoint", () => {
    const health = endpointHealth(seededRandom(1));
    health.failed(error("unknown-cut"), 0);
    expect(health.unavailable(0)).toBeUndefined();
  });

  it("comes back when it is reached again, unless it was reached and did not run", () => {
    const absent = endpointHealth(seededRandom(1));
    absent.failed(error("unreachable"), 0);
    absent.reached();
    expect(absent.unavailable(1)).toBeUndefined();
    const silent = endpointHealth(seededRandom(1));
    silent.failed(error("no-answer"), 0);
    silent.reached();
    expect(silent.unavailable(1)).toBeDefined();
    // A question that it did not answer says nothing of runs, and answering the next one is enough.
    const busy = endpointHealth(seededRandom(1));
    busy.failed(error("no-answer"), 0, true);
    expect(busy.unavailable(1)).toBeDefined();
    busy.reached();
    expect(busy.unavailable(1)).toBeUndefined();
    // An endpoint that answers no polls after a run, and later does, is back.
    silent.failed(error("no-answer"), 2, true);
    silent.reached();
    expect(silent.unavailable(3)).toBeUndefined();
    // An endpoint that refused for load is not used sooner because it was polled.
    const full = endpointHealth(seededRandom(1));
    full.failed(error("queue-full", 70), 0);
    full.reached();
    expect(full.unavailable(1)).toBeDefined();
  });
});

describe("an endpoint that nobody waited for any longer", () => {
  it("has failed when that happens twice without an answer between", () => {
    const health = endpointHealth(seededRandom(1));
    health.abandoned(error("no-answer"), 0);
    expect(health.unavailable(1)).toBeUndefined();
    health.succeeded(2);
    health.abandoned(error("no-answer"), 3);
    expect(health.unavailable(4)).toBeUndefined();
    health.abandoned(error("no-answer"), 5);
    expect(health.unavailable(6)).toContain("no-answer");
  });
});

describe("an endpoint that is paused", () => {
  const failures: readonly LongshoreError["reason"][] = [
    "unreachable",
    "no-answer",
    "bad-reply",
    "run-failed",
    "internal",
  ];

  it("may be used where nothing else is left, whatever the order of its failures", () => {
    for (const first of failures) {
      for (const second of failures) {
        const health = endpointHealth(seededRandom(1));
        expect(health.mayBeAsked(0)).toBe(false);
        health.failed(error(first), 0);
        health.failed(error(second), 1);
        expect(health.mayBeAsked(2)).toBe(true);
        // Then it is no last resort any more.
        expect(health.mayBeAsked(health.pausedUntilMs)).toBe(false);
      }
    }
  });

  it("may not be used before the time that it named when it refused for load", () => {
    const health = endpointHealth(seededRandom(1));
    health.failed(error("unreachable"), 0);
    health.failed(error("queue-full", 70), 1);
    expect(health.mayBeAsked(70)).toBe(false);
    expect(health.mayBeAsked(71)).toBe(true);
    // Reports from before it failed again are void.
    health.failed(error("queue-full", 7000), 80);
    health.failed(error("unreachable"), 81);
    expect(health.mayBeAsked(82)).toBe(true);
    const full = endpointHealth(seededRandom(1));
    full.failed(error("queue-full", 70), 0);
    expect(full.mayBeAsked(1)).toBe(false);
  });

  it("may not be used while its answers are not trusted", () => {
    const health = endpointHealth(seededRandom(1));
    health.failed(error("no-answer"), 0);
    health.distrust("its answers are wrong");
    expect(health.mayBeAsked(1)).toBe(false);
  });
});

describe("serviceRatio", () => {
  it("believes a broken promise at once and forgives it with time", () => {
    const service = serviceRatio(1000);
    expect(service.ratio(0)).toBe(1);
    service.seen(300, 1, 0);
    expect(service.ratio(0)).toBeGreaterThan(20);
    expect(service.ratio(3000)).toBeLessThan(2);
    service.seen(Number.NaN, 1, 3000);
    service.seen(5, 0, 3000);
    expect(service.ratio(3000)).toBeLessThan(2);
  });

  it("charges what an endpoint has taken into its promises no second time, until runs say more", () => {
    const service = serviceRatio();
    service.seen(400, 100, 0);
    const seen = service.ratio(0);
    expect(seen).toBeGreaterThan(2);
    // It has learned from the same run: 100 ms is 150 ms now, then more than all that it took.
    service.promised(1.5, 1);
    expect(service.ratio(1) * 1.5).toBeCloseTo(seen, 1);
    service.promised(10, 2);
    expect(service.ratio(2)).toBe(1);
    // An endpoint that lowers its promise again is charged as before: a promise alone makes it no quicker.
    service.promised(1 / 15, 3);
    expect(service.ratio(3)).toBeGreaterThan(0.99 * seen);
    // A request that was sent under an older promise is compared with the newer promise.
    const late = serviceRatio();
    late.promised(4, 500);
    late.seen(400, 100, 600, 400);
    expect(late.ratio(600)).toBeCloseTo(1, 1);
  });

  it("believes an endpoint again within a dozen of runs after some that something else disturbed", () => {
    const service = serviceRatio();
    const random = seededRandom(3);
    let nowMs = 0;
    // While it loads models, runs take 2 to 10 times as long as promised.
    for (let run = 0; run < 15; run++) service.seen(60 * (2 + 8 * random.next()), 60, (nowMs += 250));
    expect(service.ratio(nowMs)).toBeGreaterThan(3);
    for (let run = 0; run < 12; run++) service.seen(60 * (0.95 + 0.1 * random.next()), 60, (nowMs += 50));
    expect(service.ratio(nowMs)).toBeLessThan(1.4);
  });

  it("averages small differences and ignores those below a millisecond", () => {
    const service = serviceRatio();
    for (let run = 0; run < 40; run++) service.seen(80, 100, run);
    expect(service.ratio(40)).toBeCloseTo(81 / 101, 2);
    const tiny = serviceRatio();
    tiny.seen(0.2, 0.02, 0);
    expect(tiny.ratio(0)).toBeLessThan(1.1);
  });
});

describe("radioState", () => {
  it("charges waking up and the tail once, and only what an exchange prolongs while it is up", () => {
    const radio = radioState(radios.wifi);
    const asleep = radio.wakeMillijoules(0);
    expect(asleep).toBeCloseTo(10 + 240 * 0.119, 6);
    radio.used(0);
    expect(radio.wakeMillijoules(100)).toBeCloseTo(100 * 0.119, 6);
    expect(radio.wakeMillijoules(10_000)).toBeCloseTo(asleep, 6);
  });
});
