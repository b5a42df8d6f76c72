import type { ModelStep } from "../repository/index.ts";
import type { SegmentPlan } from "../run/index.ts";

/** What requests have turned out to need, for the admission of the next one. */
export interface Expectations {
  /** Elements that a fan-out ran for. */
  elements(step: ModelStep): number;
  elementsSeen(step: ModelStep, count: number): void;
  /** Time in transforms, in milliseconds. */
  transformMs(plan: SegmentPlan): number;
  transformsSeen(plan: SegmentPlan, tookMs: number): void;
  /** How much later than foreseen nineteen of twenty requests are done that had to wait, in milliseconds. */
  slackMs(plan: SegmentPlan): number;
  /** A request that was granted under this forecast took so long. */
  promiseSeen(
    plan: SegmentPlan,
    forecast: { readonly predictedMs: number; readonly waitMs: number },
    tookMs: number,
  ): void;
}

/** Weight of the newest request. */
const learning = 0.2;

/** A forecast that is kept as often as this is good: more caution leaves instances idle. */
const keptRatio = 0.95;

/** A quantile that is followed without remembering what was seen, and the size of its steps. */
interface Lateness {
  ms: number;
  stepMs: number;
}

export function expectations(): Expectations {
  const lateness = new WeakMap<SegmentPlan, Lateness>();
  const counts = new WeakMap<ModelStep, number>();
  const times = new WeakMap<SegmentPlan, number>();
  return {
    elements: (step) => Math.max(1, Math.round(counts.get(step) ?? 1)),
    elementsSeen: (step, count) => learn(counts, step, count),
    transformMs: (plan) => times.get(plan) ?? 0,
    transformsSeen: (plan, tookMs) => learn(times, plan, tookMs),
    slackMs: (plan) => Math.max(0, lateness.get(plan)?.ms ?? 0),
    promiseSeen(plan, { predictedMs, waitMs }, tookMs) {
      if (waitMs <= 0) return;
      const late = tookMs - predictedMs;
      const known = lateness.get(plan) ?? { ms: 0, stepMs: Math.abs(late) };
      lateness.set(plan, known);
      known.stepMs += (Math.abs(late - known.ms) - known.stepMs) * learning;
      known.ms += known.stepMs * learning * (late > known.ms ? keptRatio : keptRatio - 1);
      // However bad the forecasts were, a request that needs not wait for long is still taken.
      known.ms = Math.min(Math.max(known.ms, 0), predictedMs);
    },
  };
}

function learn<K extends object>(known: WeakMap<K, number>, key: K, value: number): void {
  const before = known.get(key) ?? value;
  known.set(key, before + (value - before) * learning);
}
