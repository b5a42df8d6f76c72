import type { Limits } from "@longshore/core";
import type { SimulatedRow, WayFigures } from "./simulation.ts";

/** What the objective makes small, of one request; undefined for one that cannot be counted. */
export function objectiveOf(row: SimulatedRow, limits: Limits): number | undefined {
  const tookMs = timeOf(row, limits);
  if (limits.objective === "energy") return row.outcome === "answered" ? row.millijoules : undefined;
  if (limits.objective === "cost") return row.outcome === "answered" ? row.costMicros : undefined;
  return tookMs;
}

/** Time of a request as it counts; undefined for one that failed without a deadline. */
export function timeOf(row: SimulatedRow, { deadlineMs }: Limits): number | undefined {
  if (row.outcome === "answered") return row.tookMs;
  return deadlineMs === undefined ? undefined : Math.max(deadlineMs, row.tookMs);
}

/** Figures over rows that count. `vsOracle` is not known yet: 1. */
export function wayFigures(rows: readonly SimulatedRow[], limits: Limits): WayFigures {
  const took = present(rows.map((row) => timeOf(row, limits))).sort((a, b) => a - b);
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
    objective: mean(present(rows.map((row) => objectiveOf(row, limits)))),
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
