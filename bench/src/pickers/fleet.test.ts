import { seededRandom } from "@longshore/core";
import { housekeepingCall, sleep } from "@longshore/core/internal";
import { describe, expect, it } from "vitest";
import { poissonArrivals } from "@longshore/lab";
import { virtualClock } from "@longshore/lab";
import { clientWeighted } from "./client-weighted.ts";
import { farmEndpoint, watchedServer } from "@longshore/lab";
import { farmModel, farmRequest } from "@longshore/lab";
import { joinAndLeave } from "./join-and-leave.ts";
import { peakEwma } from "./peak-ewma.ts";
import { fleetOracle, leastRequest, type PickerKind, roundRobin, weightedRoundRobin } from "./picker.ts";
import { prequal } from "./prequal.ts";
import { type FleetScene, runFleet, sendAll } from "./run-fleet.ts";

function scene(change: Partial<FleetScene> = {}): FleetScene {
  const arrivals = poissonArrivals(250, 1500, 3);
  const random = seededRandom(9);
  return {
    servers: [1, 2, 4, 8].map((speed) => ({ speed, slots: 1 })),
    gateways: 1,
    arrivals,
    requests: arrivals.map(() => ({ workMs: 20 + 20 * random.next(), size: 1 })),
    seed: 4,
    ...change,
  };
}

function tail(tookMs: readonly number[]): number {
  const sorted = tookMs.slice(150).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}

describe("balancers on a farm of unequal servers", () => {
  const kinds: readonly (readonly [string, PickerKind])[] = [
    ["weighted round robin", weightedRoundRobin],
    ["least request", leastRequest],
    ["peak EWMA", peakEwma],
    ["client-side weighted", clientWeighted],
    ["Prequal", prequal],
  ];
  it.each(kinds)(
    "%s answers all, and not faster than an oracle that sees all queues",
    async (_name, kind) => {
      const run = await runFleet(scene(), kind);
      expect(run.tookMs.every((took) => took < Infinity)).toBe(true);
      expect(run.runs.reduce((total, runs) => total + runs, 0)).toBe(1500);
      const best = await runFleet(scene(), fleetOracle);
      expect(tail(run.tookMs)).toBeGreaterThanOrEqual(tail(best.tookMs));
    },
  );

  it("the offloader keeps close to an oracle that sees all queues, and far from round robin", async () => {
    const ours = await runFleet(scene(), undefined);
    const best = await runFleet(scene(), fleetOracle);
    const blind = await runFleet(scene(), roundRobin);
    expect(ours.tookMs.every((took) => took < Infinity)).toBe(true);
    expect(tail(ours.tookMs)).toBeLessThan(1.3 * tail(best.tookMs));
    expect(tail(ours.tookMs)).toBeLessThan(tail(blind.tookMs) / 3);
  });

  it("the offloader avoids a server that promises a hundredth of its real time", async () => {
    const hole = { speed: 0.1, slots: 1, promiseFactor: 0.01 };
    const servers = [hole, ...[4, 4, 4].map((speed) => ({ speed, slots: 1 }))];
    const { runs, tookMs } = await runFleet(scene({ servers }), undefined);
    expect(tookMs.every((took) => took < Infinity)).toBe(true);
    expect(runs[0]).toBeLessThan(0.02 * tookMs.length);
  });

  it("the offloader finds out that a server takes a tenth of its promise, as one that only ran cold so far", async () => {
    const cold = { speed: 4, slots: 1, promiseFactor: 10 };
    const servers = [cold, ...[4, 4, 4].map((speed) => ({ speed, slots: 1 }))];
    const arrivals = poissonArrivals(250, 4000, 3);
    const requests = arrivals.map((_, index) => ({ workMs: 20 + (index % 20), size: 1 }));
    const { runs, tookMs } = await runFleet(scene({ servers, arrivals, requests }), undefined);
    expect(tookMs.every((took) => took < Infinity)).toBe(true);
    expect(runs[0]).toBeGreaterThan(0.05 * tookMs.length);
  });

  it.each(["fails", "silent"] as const)(
    "a server that promises nothing but speed and %s gets hardly anything, and no request is lost to it",
    async (fault) => {
      const hole = { speed: 100, slots: 1, fault };
      const servers = [hole, ...[4, 4, 4].map((speed) => ({ speed, slots: 1 }))];
      const { runs, tookMs } = await runFleet(scene({ servers }), undefined);
      expect(tookMs.every((took) => took < Infinity)).toBe(true);
      expect(runs[0]).toBeLessThan(0.02 * tookMs.length);
    },
  );

  it("polls servers for their load only where others send there, too, and at most three times per request", async () => {
    const alone = await runFleet(scene(), undefined);
    expect(alone.probesPerRequest).toBe(0);
    const several = await runFleet(scene({ gateways: 4 }), undefined);
    expect(several.probesPerRequest).toBeGreaterThan(0.5);
    expect(several.probesPerRequest).toBeLessThanOrEqual(3);
  });

  it("several gateways do not all run to the server that each of them left alone", async () => {
    const servers = [1, 1, 1, 1, 2, 2, 4, 4, 8, 8].map((speed) => ({ speed, slots: 1 }));
    const arrivals = poissonArrivals(570, 2500, 3);
    const requests = arrivals.map((_, index) => ({ workMs: 30 + (index % 10), size: 1 }));
    const many = scene({ servers, arrivals, requests, gateways: 4 });
    const ours = await runFleet(many, undefined);
    const best = await runFleet(many, fleetOracle);
    expect(tail(ours.tookMs)).toBeLessThan(1.5 * tail(best.tookMs));
  });

  it("requests are not taken where those of other gateways were quicker, and none is lost for it", async () => {
    const servers = [2, 2, 2, 2].map((speed) => ({ speed, slots: 1 }));
    // Pairs that two gateways decide on at the same instant, before either hears of the other's.
    const arrivals = Array.from({ length: 1200 }, (_, index) => 12 * Math.floor(index / 2));
    const requests = arrivals.map((_, index) => ({ workMs: 30 + (index % 10), size: 1 }));
    const pairs = scene({ servers, arrivals, requests, gateways: 2, wayMs: 1 });
    const { tookMs, runs, refusedPerRequest } = await runFleet(pairs, undefined);
    expect(tookMs.every((took) => took < Infinity)).toBe(true);
    // A few ran a second time elsewhere because they were late.
    expect(runs.reduce((total, one) => total + one, 0)).toBeLessThan(1.02 * 1200);
    expect(refusedPerRequest).toBeGreaterThan(0.01);
    expect(refusedPerRequest).toBeLessThan(0.5);
    expect((await runFleet({ ...pairs, gateways: 1 }, undefined)).refusedPerRequest).toBe(0);
  });

  it("a server that shares runs is taken with more requests before it than one that does not", async () => {
    const batching = { most: 8, fixedRatio: 0.8 };
    const servers = [
      { speed: 1, slots: 1 },
      { speed: 1, slots: 1, batching },
    ];
    // Bursts of twelve: three one after another take as long at the first as nine in two runs at the second.
    const arrivals = Array.from({ length: 1200 }, (_, index) => 1000 * Math.floor(index / 12) + (index % 12));
    const requests = arrivals.map((_, index) => ({ workMs: 90 + (index % 10), size: 1 }));
    const bursts = scene({ servers, arrivals, requests });
    const ours = await runFleet(bursts, undefined);
    const best = await runFleet(bursts, fleetOracle);
    expect(ours.runs[1]).toBeGreaterThan(0.58 * arrivals.length);
    expect(tail(ours.tookMs)).toBeLessThan(1.6 * tail(best.tookMs));
  });

  it("a decision among hundreds of servers reads some of them, and is hardly worse than an oracle", async () => {
    const servers = Array.from({ length: 300 }, (_, index) => ({ speed: 8 ** (index / 299), slots: 1 }));
    const capacity = servers.reduce((total, { speed }) => total + speed, 0);
    const arrivals = poissonArrivals(0.6 * capacity, 1500, 3);
    const requests = arrivals.map((_, index) => ({ workMs: 900 + (index % 10) * 20, size: 1 }));
    const many = scene({ servers, arrivals, requests });
    const ours = await runFleet(many, undefined);
    const best = await runFleet(many, fleetOracle);
    expect(ours.tookMs.every((took) => took < Infinity)).toBe(true);
    expect(tail(ours.tookMs)).toBeLessThan(1.5 * tail(best.tookMs));
  });

  it("a router of hundreds of servers goes on while they come and go", async () => {
    expect(await joinAndLeave(200, 3)).toBeGreaterThan(0);
  });

  it("goes the same way again with the same seed", async () => {
    expect((await runFleet(scene({ gateways: 2 }), undefined)).tookMs).toEqual(
      (await runFleet(scene({ gateways: 2 }), undefined)).tookMs,
    );
  });
});

describe("a farm that is elsewhere", () => {
  it("is estimated as busy as it is by the only sender of its requests", async () => {
    const clock = virtualClock();
    const work = { workMs: 30, size: 1 };
    const model = farmModel([work]);
    const server = { speed: 2, slots: 2 };
    const endpoint = farmEndpoint(server, 0, model, clock);
    const watched = watchedServer(server, clock).reachedBy(endpoint.endpoint);
    const all = [1, 2, 3].map(() =>
      watched.endpoint.infer(farmRequest(model, work), housekeepingCall("test")),
    );
    await clock.advance(5);
    expect([watched.inFlight, watched.runs, watched.finishMs(30)]).toEqual([3, 3, endpoint.finishMs(30)]);
    expect(endpoint.finishMs(30)).toBe(25);
    await clock.runUntil(Promise.all(all));
    expect([watched.inFlight, watched.finishMs(30)]).toEqual([0, 15]);
  });

  it("is awaited only for the sender's patience, and waiting requests count with that time", async () => {
    const clock = virtualClock();
    const requests = [1, 2].map(() => ({ workMs: 1, size: 1 }));
    const never = new Promise<void>(() => undefined);
    const send = (index: number): Promise<void> => (index === 0 ? sleep(clock, 7) : never);
    const sent = sendAll({ arrivals: [0, 50], requests }, [send], clock, 400);
    expect(await clock.runUntil(sent)).toEqual({ tookMs: [7, 400], givenUp: 1 });
  });
});
