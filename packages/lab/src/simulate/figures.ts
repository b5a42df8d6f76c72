import type { Limits, Objective, SumTerm } from "@longshore/core";
import { readObjective } from "@longshore/core/internal";
import type { SimulatedRow, WayFigures } from "./simulation.ts";

const times: readonly SumTerm[] = [{ of: "mean", weight: 1 }];

/**
 * The terms that the objective minimises, as a sum; none for the probability of being late. The endpoint makes no difference to
 * accuracy once the variant is chosen, nor to throughput where the arrivals are given: their times are reported.
 */
export function termsOf(objective: Objective = "latency"): readonly SumTerm[] {
  const read = readObjective(objective);
  if (typeof read === "string" || read.kind === "accuracy" || read.kind === "throughput") return times;
  return read.kind === "sum" ? read.terms : [];
}

/** The objective's value for one request, for a percentile its time; undefined for one that cannot be counted. */
export function objectiveOf(row: SimulatedRow, limits: Limits): number | undefined {
  const terms = termsOf(limits.objective);
  const answered = row.outcome === "answered";
  if (terms.length === 0) return answered ? 0 : 1;
  let total = 0;
  for (const { of, weight } of terms) {
    const used = of === "energy" ? row.millijoules : of === "cost" ? row.costMicros : undefined;
    const value = used === undefined ? timeOf(row, limits) : answered ? used : undefined;
    if (value === undefined) return undefined;
    total += weight * value;
  }
  return total;
}

/** Time of a request as it counts; undefined for one that failed without a deadline. */
export function timeOf(row: SimulatedRow, { deadlineMs }: Limits): number | undefined {
  if (row.outcome === "answered") return row.tookMs;
  return deadlineMs === undefined ? undefined : Math.max(deadlineMs, row.tookMs);
}

/** Figures over rows that count. `vsOracle` is not known yet: 1. */
export function wayFigures(rows: readonly SimulatedRow[], limits: Limits): WayFigures {
  const took = present(rows.map((row) => timeOf(row, limits))).sort((a, b) => a - b);
  const objective = (): number => {
    const terms = termsOf(limits.objective);
    // A percentile of the sum of all is none of the mean of sums.
    if (terms.every(({ of }) => typeof of === "string"))
      return mean(present(rows.map((row) => objectiveOf(row, limits))));
    const figure = (of: SumTerm["of"]): number =>
      typeof of === "number"
        ? sortedQuantile(took, of)
        : mean(
            of === "mean"
              ? took
              : answered.map((row) => (of === "energy" ? row.millijoules : row.costMicros)),
          );
    return terms.reduce((sum, { of, weight }) => sum + weight * figure(of), 0);
  };
  const answered = rows.filter(({ outcome }) => outcome === "answered");
  const share = (some: (row: SimulatedRow) => boolean): number =>
    answered.filter(some).length / Math.max(1, answered.length);
  return {
    counted: rows.length,
    missed: rows.length - answered.length,
    meanMs: mean(took),
    p50Ms: sortedQuantile(took, 0.5),
    p95Ms: sortedQuantile(took, 0.95),
    p99Ms: sortedQuantile(took, 0.99),
    meanMillijoules: mean(answered.map(({ millijoules }) => millijoules)),
    meanSentBytes: mean(answered.map(({ sentBytes }) => sentBytes)),
    meanCostMicros: mean(answered.map(({ costMicros }) => costMicros)),
    awayRatio: share(({ away }) => away !== ""),
    extraRatio: share(({ lostLegs }) => lostLegs > 0),
    objective: objective(),
    vsOracle: 1,
  };
}

/** A quantile of sorted values by linear interpolation; NaN of none. */
export function sortedQuantile(sorted: readonly number[], ratio: number): number {
  const position = (sorted.length - 1) * ratio;
  const low = sorted[Math.floor(position)] ?? NaN;
  const high = sorted[Math.ceil(position)] ?? NaN;
  return low + (high - low) * (position - Math.floor(position));
}

/** The arithmetic mean; NaN of none. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function present(values: readonly (number | undefined)[]): number[] {
  return values.filter((value) => value !== undefined);
}
