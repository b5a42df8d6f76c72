import { describe, expect, it } from "vitest";
import type { Stages } from "../../decide/goal/index.ts";
import { backlogOf } from "./backlog.ts";

const plan = (stages: Partial<Stages>, endpoint?: string) => ({
  stages: { deviceMs: 0, upMs: 0, thereMs: 0, downMs: 0, ...stages },
  legs: endpoint === undefined ? [{ id: "local" as const }] : [{ id: "remote" as const, endpoint }],
});
const waited = (endpoint: string, tookMs: number) => [
  { endpoint, stages: [{ stage: "queue" as const, name: "m", tookMs }] },
];

describe("backlogOf", () => {
  it("sums up what plans keep busy, drains with time, and gives back what went another way", () => {
    const backlog = backlogOf(2);
    backlog.charge(plan({ deviceMs: 100, upMs: 30, thereMs: 50 }, "edge"), 0);
    const second = backlog.charge(plan({ deviceMs: 100, upMs: 30, thereMs: 50, downMs: 5 }, "edge"), 0);
    // Long after, nothing is left; what is usual still stands.
    const left = (endpoint: string, nowMs: number): Stages => {
      const ahead = backlog.ahead(endpoint, nowMs);
      const usual = backlog.ahead(endpoint, Infinity);
      return {
        deviceMs: ahead.deviceMs - usual.deviceMs,
        upMs: ahead.upMs - usual.upMs,
        thereMs: ahead.thereMs - usual.thereMs,
        downMs: ahead.downMs - usual.downMs,
      };
    };
    // Two slots share the work of the device.
    expect(left("edge", 0)).toEqual({ deviceMs: 100, upMs: 60, thereMs: 100, downMs: 5 });
    expect(left("cloud", 0)).toEqual({ deviceMs: 100, upMs: 0, thereMs: 0, downMs: 0 });
    expect(left("edge", 70)).toEqual({ deviceMs: 30, upMs: 0, thereMs: 30, downMs: 0 });
    backlog.release(second, []);
    expect(left("edge", 20)).toMatchObject({ upMs: expect.closeTo(10, 6), thereMs: expect.closeTo(30, 6) });
  });

  it("knows what keeps an endpoint busy on the whole, however little is left of it now", () => {
    const backlog = backlogOf(1);
    const usual = (endpoint?: string): Stages => backlog.ahead(endpoint, Infinity);
    for (let frame = 0; frame < 10_000; frame++) {
      const charged = backlog.charge(plan({ deviceMs: 10, upMs: 4, thereMs: 20 }, "edge"), 0);
      // Planned again behind its head, the same again.
      if (frame % 2 === 0) backlog.release(charged, []);
    }
    const { deviceMs, upMs, thereMs } = usual("edge");
    // As if four such requests were ahead; every other one was taken back from the links and the endpoint.
    expect(deviceMs).toBeCloseTo(40, 5);
    expect(thereMs).toBeGreaterThan(38);
    expect(thereMs).toBeLessThan(90);
    expect(upMs).toBeCloseTo(thereMs / 5, 5);
    // It goes as others take its place.
    for (let frame = 0; frame < 64; frame++) backlog.charge(plan({ deviceMs: 10 }), 0);
    expect(usual("edge").thereMs).toBeLessThan(1);
    expect(usual().deviceMs).toBeCloseTo(40, 5);
  });

  it("charges this device as more where requests wait longer for it than what was charged explains", () => {
    const backlog = backlogOf(1);
    const here = plan({ deviceMs: 100 });
    // A frame that waits as long as predicted teaches nothing.
    let first = backlog.charge(here, 0);
    let second = backlog.charge(here, 0);
    backlog.answered(first, waited("device", 0));
    backlog.answered(second, waited("device", 100));
    expect(backlog.load()).toBe(1);
    for (let frame = 1; frame <= 20; frame++) {
      first = backlog.charge(here, frame * 10_000);
      second = backlog.charge(here, frame * 10_000);
      backlog.answered(first, waited("device", 0));
      backlog.answered(second, waited("device", 240));
    }
    // By as much as makes the wait half a run longer than foreseen at the most.
    expect(backlog.load()).toBeGreaterThan(1.5);
    expect(backlog.load()).toBeLessThan(2.5);
    // Heads of splits tell it when the rest is planned again.
    const before = backlog.load();
    const head = backlog.charge(plan({ deviceMs: 50, thereMs: 50 }, "edge"), 1e6);
    backlog.release(head, waited("device", 200));
    expect(backlog.load()).toBeGreaterThan(before);
    for (let frame = 1; frame <= 60; frame++) {
      backlog.charge(here, 2e6 + frame * 10_000);
      backlog.answered(backlog.charge(here, 2e6 + frame * 10_000), waited("device", 0));
    }
    expect(backlog.load()).toBe(1);
  });

  it("charges this device as what plans say again where requests find it free, also where no wait was foreseen", () => {
    const backlog = backlogOf(1);
    const here = plan({ deviceMs: 100 });
    // A load meanwhile made them wait.
    for (let frame = 0; frame < 20; frame++) {
      backlog.answered(backlog.charge(here, frame * 10_000), waited("device", 400));
    }
    const before = backlog.load();
    expect(before).toBeGreaterThan(2);
    // A short wait says neither.
    backlog.answered(backlog.charge(here, 1e6), waited("device", 60));
    expect(backlog.load()).toBe(before);
    for (let frame = 1; frame <= 100; frame++) {
      backlog.answered(backlog.charge(here, 1e6 + frame * 10_000), waited("device", 0));
    }
    expect(backlog.load()).toBe(1);
  });

  it("charges this device as planned where requests wait for runs that no throughput plan began", () => {
    const backlog = backlogOf(1);
    const here = plan({ deviceMs: 100 });
    for (let frame = 0; frame < 20; frame++) {
      // The first frame of a stream, or a request beside it.
      backlog.answered(backlog.charge(here, frame * 10_000, 240), waited("device", 240));
    }
    expect(backlog.load()).toBe(1);
  });

  it("says by how much all takes longer with one more request: least by way of what is idle", () => {
    const backlog = backlogOf(1);
    const here = plan({ deviceMs: 60 });
    const split = plan({ deviceMs: 20, thereMs: 50 }, "edge");
    expect(backlog.growsMs(here, 0)).toBeCloseTo(60, 6);
    for (let frame = 0; frame < 8; frame++) backlog.charge(here, 0);
    expect(backlog.growsMs(here, 0)).toBeCloseTo(60, 6);
    expect(backlog.growsMs(split, 0)).toBeCloseTo(20, 1);
    // Both are as busy then: what takes less of them together.
    for (let frame = 0; frame < 60; frame++) {
      backlog.charge(backlog.growsMs(here, 0) < backlog.growsMs(split, 0) ? here : split, 0);
    }
    const [byHere, bySplit] = [backlog.growsMs(here, 0), backlog.growsMs(split, 0)];
    expect(Math.max(byHere, bySplit)).toBeLessThan(45);
    expect(Math.min(byHere, bySplit)).toBeGreaterThan(30);
  });

  it("learns how many an endpoint runs at once from waits that were not there, and from those that were", () => {
    const backlog = backlogOf(1);
    for (let frame = 0; frame < 12; frame++) {
      const charged = backlog.charge(plan({ thereMs: 100 }, "edge"), 0);
      backlog.answered(charged, waited("edge", 0));
    }
    const wide = backlog.width("edge");
    expect(wide).toBeGreaterThan(5);
    // An answer without a wait says nothing when none was expected.
    backlog.answered(backlog.charge(plan({ thereMs: 100 }, "edge"), 10_000), waited("edge", 0));
    expect(backlog.width("edge")).toBe(wide);
    for (let frame = 0; frame < 30; frame++) {
      backlog.answered(backlog.charge(plan({ thereMs: 100 }, "edge"), 20_000), waited("edge", 90));
    }
    expect(backlog.width("edge")).toBe(1);
  });
});
