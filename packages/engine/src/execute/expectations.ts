import type { TenantId } from "@longshore/core";
import type { ModelStep } from "../repository/index.ts";
import type { SegmentPlan } from "../run/index.ts";

/** The needs of past requests, for the admission of the next one. */
export interface Expectations {
  /** Elements that a fan-out ran for. */
  elements(step: ModelStep): number;
  elementsSeen(step: ModelStep, count: number): void;
  /** Time in transforms, in milliseconds. */
  transformMs(plan: SegmentPlan): number;
  transformsSeen(plan: SegmentPlan, tookMs: number): void;
  /**
   * How much later than forecast 95 % of a tenant's requests that had to wait are done, in milliseconds. Forecasts err more for
   * a request that waits long than for the next one in line.
   */
  slackMs(plan: SegmentPlan, tenant: TenantId): number;
  /** A request that was granted under this forecast took so long. */
  promiseSeen(
    plan: SegmentPlan,
    tenant: TenantId,
    forecast: { readonly predictedMs: number; readonly waitMs: number },
    tookMs: number,
  ): void;
}

/** Weight of the newest request. */
const learning = 0.2;

/** A forecast that is kept as often as this is good: more caution leaves instances idle. */
const keptRatio = 0.95;

/** Tenants of whom it is remembered for one plan; the oldest goes. */
const mostTenants = 256;

/** A quantile that is followed without remembering what was seen, and the size of its steps. */
interface Lateness {
  ms: number;
  stepMs: number;
}

export function expectations(): Expectations {
  const lateness = new WeakMap<SegmentPlan, Map<TenantId, Lateness>>();
  const counts = new WeakMap<ModelStep, number>();
  const times = new WeakMap<SegmentPlan, number>();
  return {
    elements: (step) => Math.max(1, Math.round(counts.get(step) ?? 1)),
    elementsSeen: (step, count) => learn(counts, step, count),
    transformMs: (plan) => times.get(plan) ?? 0,
    transformsSeen: (plan, tookMs) => learn(times, plan, tookMs),
    slackMs: (plan, tenant) => Math.max(0, lateness.get(plan)?.get(tenant)?.ms ?? 0),
    promiseSeen(plan, tenant, { predictedMs, waitMs }, tookMs) {
      if (waitMs <= 0) return;
      const late = tookMs - predictedMs;
      const all = lateness.get(plan) ?? new Map<TenantId, Lateness>();
      lateness.set(plan, all);
      const known = all.get(tenant) ?? { ms: 0, stepMs: Math.abs(late) };
      const [oldest] = all.keys();
      if (all.size >= mostTenants && oldest !== undefined && !all.has(tenant)) all.delete(oldest);
      all.set(tenant, known);
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
