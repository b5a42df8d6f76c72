import { seededRandom } from "@longshore/core";
import { exponential } from "@longshore/core/internal";
import { expect, it } from "vitest";
import { virtualClock } from "@longshore/lab";
import { type Device, type DeviceCrowd, liveDevices, siteZone, zonesOf } from "./devices.ts";
import { deviceModels, type DeviceRouter, type DeviceScene, runDevices } from "./run-devices.ts";

const [detect, read, listen] = deviceModels;
const crowd: DeviceCrowd = {
  devices: 180,
  sites: 12,
  models: [
    { name: detect, share: 0.5, gapMs: 2000, inSequences: false },
    { name: read, share: 0.3, gapMs: 2000, inSequences: false },
    { name: listen, share: 0.2, gapMs: 500, inSequences: true },
  ],
  steps: 10,
  leaveRatio: 0.05,
  moveRatio: 0.05,
  awayMs: 3000,
};

/** 144 servers, so that decisions look at a shortlist; four in a second leave or fall silent. */
function scene(change: Partial<DeviceScene> = {}): DeviceScene {
  const random = seededRandom(5);
  return {
    servers: Array.from({ length: 144 }, (_, index) => ({ speed: 16 ** (index / 143), slots: 1 })),
    crowd,
    requests: Array.from({ length: 100 }, () => ({
      workMs: 100 + exponential(random, 100),
      size: 1 + Math.floor(8 * random.next()),
    })),
    untilMs: 6000,
    countedFromMs: 1000,
    leavesPerSecond: 4,
    seed: 7,
    ...change,
  };
}

it("lets devices send at their own rate, move, leave and come back, in the same way each time", async () => {
  const live = async (): Promise<{ readonly seen: readonly Device[]; readonly moves: object }> => {
    const clock = virtualClock();
    const seen: Device[] = [];
    const moves = await clock.runUntil(
      liveDevices(crowd, { clock, random: seededRandom(3), untilMs: 30_000 }, (device) => {
        seen.push(device);
        return Promise.resolve(true);
      }),
    );
    return { seen, moves };
  };
  const { seen, moves } = await live();
  expect(await live()).toEqual({ seen, moves });
  const of = (model: string): number => seen.filter((one) => one.model === model).length;
  expect(of(listen)).toBeGreaterThan(1.2 * of(read));
  expect(moves).toEqual({
    left: expect.toSatisfy((left: number) => left > 60),
    moved: expect.toSatisfy((moved: number) => moved > 60),
    abandoned: expect.toSatisfy((abandoned: number) => abandoned > 10),
  });
  const zones = new Map<number, Set<string>>();
  for (const { index, zone } of seen) zones.set(index, (zones.get(index) ?? new Set()).add(zone));
  expect([...zones.values()].some((of) => of.size > 1)).toBe(true);
  const [first] = seen;
  if (!first) throw new Error("nobody asked");
  const here = { ...first, zone: siteZone(11) };
  expect(zonesOf({ ...here, reach: "site" })).toEqual(["farm/r1/s11"]);
  expect(zonesOf({ ...here, reach: "region" })).toEqual(["farm/r1"]);
  expect(zonesOf({ ...here, reach: "anywhere" })).toBeUndefined();
});

it("reports how far a run is after each tenth of it, and runs the same without reports", async () => {
  const told: (readonly [number, number])[] = [];
  const progress = (requests: number, doneRatio: number): void => void told.push([requests, doneRatio]);
  const { realMsPerRequest: _, ...run } = await runDevices(scene({ untilMs: 2000 }), "drawn", { progress });
  expect(told.map(([, doneRatio]) => doneRatio)).toEqual([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]);
  const counts = told.map(([requests]) => requests);
  expect(counts).toEqual(counts.toSorted((one, other) => one - other));
  expect(counts.at(-1)).toBe(run.requests);
  const { realMsPerRequest: __, ...untold } = await runDevices(scene({ untilMs: 2000 }), "drawn");
  expect(untold).toEqual(run);
});

it.each<DeviceRouter>(["ours", "drawn", "oracle"])(
  "no device gets a wrong step, an answer from outside its zones, or none, while servers come and go: %s",
  async (router) => {
    const run = await runDevices(scene(), router);
    expect(run).toMatchObject({ failed: {}, wrongSteps: 0, outside: 0 });
    expect(run.requests).toBeGreaterThan(300);
    expect(run.steps).toBeGreaterThan(100);
    expect(run.asked).toBeGreaterThan(100);
    expect(run.moves.moved).toBeGreaterThan(8);
    expect(run.moves.abandoned).toBeGreaterThan(2);
    const { joins, renewals, leaves, silences } = run.messages;
    expect(joins).toBeGreaterThanOrEqual(144);
    expect(renewals).toBeGreaterThan(100);
    expect(leaves + silences).toBeGreaterThan(5);
    expect(Math.min(leaves, silences)).toBeGreaterThan(0);
  },
);
