import type { ModelStep } from "../repository/index.ts";
import type { SegmentPlan } from "./segment-plan.ts";

/** What requests have turned out to need, for the admission of the next one. */
export interface Expectations {
  /** Elements that a fan-out ran for. */
  elements(step: ModelStep): number;
  elementsSeen(step: ModelStep, count: number): void;
  /** Time in transforms, in milliseconds. */
  transformMs(plan: SegmentPlan): number;
  transformsSeen(plan: SegmentPlan, tookMs: number): void;
}

/** Weight of the newest request. */
const learning = 0.2;

export function expectations(): Expectations {
  const counts = new WeakMap<ModelStep, number>();
  const times = new WeakMap<SegmentPlan, number>();
  return {
    elements: (step) => Math.max(1, Math.round(counts.get(step) ?? 1)),
    elementsSeen: (step, count) => learn(counts, step, count),
    transformMs: (plan) => times.get(plan) ?? 0,
    transformsSeen: (plan, tookMs) => learn(times, plan, tookMs),
  };
}

function learn<K extends object>(known: WeakMap<K, number>, key: K, value: number): void {
  const before = known.get(key) ?? value;
  known.set(key, before + (value - before) * learning);
}
