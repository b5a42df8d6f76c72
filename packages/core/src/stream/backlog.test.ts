import { describe, expect, it } from "vitest";
import type { Account } from "../endpoint/index.ts";
import type { Plan, Stages } from "../plan/index.ts";
import { backlogOf } from "./backlog.ts";

const plan = (stages: Partial<Stages>, endpoint?: string): Plan =>
  ({
    stages: { deviceMs: 0, upMs: 0, thereMs: 0, downMs: 0, ...stages },
    legs: endpoint === undefined ? [{ id: "local" }] : [{ id: "remote", endpoint }],
  }) as unknown as Plan;
const waited = (endpoint: string, tookMs: number): readonly Account[] => [
  { endpoint, stages: [{ stage: "queue", name: "m", tookMs }] } as unknown as Account,
];

describe("backlogOf", () => {
  it("sums up what plans keep busy, drains with time, and gives back what went another way", () => {
    const backlog = backlogOf(2);
    backlog.charge(plan({ deviceMs: 100, upMs: 30, thereMs: 50 }, "edge"), 0);
    const second = backlog.charge(plan({ deviceMs: 100, upMs: 30, thereMs: 50, downMs: 5 }, "edge"), 0);
    // Two slots share the work of the device.
    expect(backlog.ahead("edge", 0)).toEqual({ deviceMs: 100, upMs: 60, thereMs: 100, downMs: 5 });
    expect(backlog.ahead("cloud", 0)).toEqual({ deviceMs: 100, upMs: 0, thereMs: 0, downMs: 0 });
    expect(backlog.ahead("edge", 70)).toEqual({ deviceMs: 30, upMs: 0, thereMs: 30, downMs: 0 });
    backlog.release(second);
    expect(backlog.ahead("edge", 20)).toMatchObject({ upMs: 10, thereMs: 30 });
    expect(backlog.ahead(undefined, 1000)).toEqual({ deviceMs: 0, upMs: 0, thereMs: 0, downMs: 0 });
  });

  it("learns how many a place runs at once from waits that were not there, and from those that were", () => {
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
