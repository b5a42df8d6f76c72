import type { Call, CutId } from "@longshore/core";
import type { Program } from "../repository/index.ts";
import type { InnerCuts } from "./positions.ts";
import { planSegment, type SegmentPlan } from "./segment-plan.ts";

/** Plans of segments, worked out once. A plan is one object for as long as it is remembered. */
export interface PlanCache {
  get(
    program: Program,
    from: CutId,
    to: CutId,
    wanted: readonly string[] | undefined,
    call: Call,
  ): Promise<SegmentPlan>;
}

/** Segments remembered for one program; asking for ever new ones costs time, not memory. */
const most = 128;

export function planCache(inner: InnerCuts): PlanCache {
  const programs = new WeakMap<Program, Map<string, SegmentPlan>>();
  return {
    async get(program, from, to, wanted, call) {
      const plans = programs.get(program) ?? new Map<string, SegmentPlan>();
      programs.set(program, plans);
      const key = JSON.stringify([from, to, wanted]);
      const known = plans.get(key);
      if (known) return known;
      const plan = await planSegment(program, from, to, wanted, inner, call);
      plans.set(key, plan);
      const [oldest] = plans.keys();
      if (plans.size > most && oldest !== undefined) plans.delete(oldest);
      return plan;
    },
  };
}
