import { endCut, startCut } from "@longshore/core";
import { describe, expect, it } from "vitest";
import type { SegmentPlan } from "../run/index.ts";
import { expectations } from "./expectations.ts";

/** A plan of nothing: expectations know plans by identity alone. */
const plan: SegmentPlan = {
  program: { variant: "", bare: false, inputs: [], outputs: [], steps: [], values: new Map() },
  from: startCut,
  to: endCut,
  crossing: [],
  needed: new Set(),
  actions: [],
  models: [],
  answersAt: undefined,
  drops: [],
  results: [],
  stateful: [],
  sequential: [],
};

describe("the needs of past requests", () => {
  it("is later than foreseen for each tenant by itself, as nineteen of twenty were", () => {
    const seen = expectations();
    for (let count = 0; count < 400; count++) {
      seen.promiseSeen(plan, "far behind", { predictedMs: 500, waitMs: 490 }, 500 + (count % 20) * 5);
      seen.promiseSeen(plan, "next", { predictedMs: 12, waitMs: 2 }, 11);
    }
    expect(seen.slackMs(plan, "next")).toBe(0);
    expect(seen.slackMs(plan, "far behind")).toBeGreaterThan(70);
    expect(seen.slackMs(plan, "far behind")).toBeLessThan(120);
    expect(seen.slackMs(plan, "new")).toBe(0);
  });

  it("says nothing of requests that had not to wait, and never demands more than forecast", () => {
    const seen = expectations();
    for (let count = 0; count < 50; count++) {
      seen.promiseSeen(plan, "alone", { predictedMs: 10, waitMs: 0 }, 1000);
      seen.promiseSeen(plan, "slow", { predictedMs: 10, waitMs: 5 }, 1000);
    }
    expect(seen.slackMs(plan, "alone")).toBe(0);
    expect(seen.slackMs(plan, "slow")).toBeLessThanOrEqual(10);
  });

  it("remembers the 256 tenants that came last", () => {
    const seen = expectations();
    for (let tenant = 0; tenant < 257; tenant++) {
      seen.promiseSeen(plan, `t${tenant}`, { predictedMs: 100, waitMs: 90 }, 200);
    }
    expect(seen.slackMs(plan, "t0")).toBe(0);
    expect(seen.slackMs(plan, "t1")).toBeGreaterThan(0);
  });
});
