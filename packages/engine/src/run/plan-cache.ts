import { type Call, type CutId, endCut, startCut } from "@longshore/core";
import type { Program } from "../repository/index.ts";
import type { InnerCuts } from "./positions.ts";
import { planSegment, type SegmentPlan } from "./segment-plan.ts";

/** Plans of segments, worked out once; from then on they are there at once. A plan is one object for as long as it is remembered. */
export interface PlanCache {
  get(
    program: Program,
    from: CutId,
    to: CutId,
    wanted: readonly string[] | undefined,
    call: Call,
  ): SegmentPlan | Promise<SegmentPlan>;
}

/** Segments remembered for one program: requests for ever new ones cost time, not memory. */
const most = 128;

/** One wanted output is by far the most frequent. Cuts have no quotes in their names, so no two requests have one key. */
function keyOf(from: CutId, to: CutId, wanted: readonly string[] | undefined): string {
  if (!wanted) return from === startCut && to === endCut ? wholeKey : `${from}..${to}`;
  return `${from}..${to}"${wanted.length === 1 ? (wanted[0] ?? "") : JSON.stringify(wanted)}"${wanted.length}`;
}

const wholeKey = `${startCut}..${endCut}`;

export function planCache(inner: InnerCuts): PlanCache {
  const programs = new WeakMap<Program, Map<string, SegmentPlan>>();

  async function make(
    plans: Map<string, SegmentPlan>,
    key: string,
    ...asked: Parameters<PlanCache["get"]>
  ): Promise<SegmentPlan> {
    const [program, from, to, wanted, call] = asked;
    const plan = await planSegment(program, from, to, wanted, inner, call);
    plans.set(key, plan);
    const [oldest] = plans.keys();
    if (plans.size > most && oldest !== undefined) plans.delete(oldest);
    return plan;
  }

  return {
    get(program, from, to, wanted, call) {
      let plans = programs.get(program);
      if (!plans) programs.set(program, (plans = new Map<string, SegmentPlan>()));
      const key = keyOf(from, to, wanted);
      return plans.get(key) ?? make(plans, key, program, from, to, wanted, call);
    },
  };
}
