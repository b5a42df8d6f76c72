import { chanceBelow, estimateSize } from "../../words/estimate/index.ts";
import { type Reading, readingOf } from "../table/index.ts";
import { accuracyScore } from "./accuracy.ts";
import { type Objective, type ReadObjective, readObjective } from "./objective.ts";

/** An objective as decisions compute it: from a few numbers of each completion, its energy, its money and so on. */
export interface Goal {
  readonly kind: ReadObjective["kind"];
  /** The numbers of each completion: quantiles, or the mean. */
  readonly readings: readonly Reading[];
  /** The weight of each reading. Latency decides between candidates that are equal in everything else. */
  readonly weights: readonly number[];
  readonly energyWeight: number;
  readonly costWeight: number;
  readonly carbonWeight: number;
  /** Index of the reading that is compared with the deadline. */
  readonly deadlineAt: number;
  /** Candidates are compared by their completion with the back-up that guards them. */
  readonly guarded: boolean;
  /** The first number is the score. */
  readonly isPlain: boolean;
}

/** The weight of a millisecond that only decides between equal candidates. */
const tieWeight = 1e-6;
const missTieWeight = 1e-9;

const plain: Goal = {
  kind: "sum",
  readings: [readingOf(undefined)],
  weights: [1],
  energyWeight: 0,
  costWeight: 0,
  carbonWeight: 0,
  deadlineAt: 0,
  guarded: true,
  isPlain: true,
};

/**
 * The goal of an objective. The deadline is to be kept by the mean, by the quantile that alone is made small, or, where it is named, in
 * at least `inTimeRatio` of all cases. An objective that cannot be read is latency.
 */
export function goalOf(objective: Objective, inTimeRatio?: number): Goal {
  if (objective === "latency" && inTimeRatio === undefined) return plain;
  const read = readObjective(objective);
  const goal = typeof read === "string" ? plain : goalFrom(read);
  if (inTimeRatio === undefined) return goal;
  const { readings, weights } = goal;
  return {
    ...goal,
    readings: [...readings, readingOf(inTimeRatio)],
    weights: [...weights, 0],
    deadlineAt: readings.length,
  };
}

function goalFrom(read: ReadObjective): Goal {
  if (read.kind === "chance") {
    const readings = Array.from({ length: estimateSize }, (_, index) =>
      readingOf((index + 0.5) / estimateSize),
    );
    // Not even the best case of what is removed is in time.
    return {
      ...plain,
      kind: "chance",
      readings,
      weights: readings.map(() => 1 / estimateSize),
      isPlain: false,
    };
  }
  if (read.kind !== "sum") return { ...plain, kind: read.kind, guarded: false, isPlain: false };
  const readings: Reading[] = [];
  const weights: number[] = [];
  let [energyWeight, costWeight, carbonWeight] = [0, 0, 0];
  for (const { of, weight } of read.terms) {
    if (of === "energy") energyWeight += weight;
    else if (of === "cost") costWeight += weight;
    else if (of === "carbon") carbonWeight += weight;
    else {
      readings.push(readingOf(of === "mean" ? undefined : of));
      weights.push(weight);
    }
  }
  const guarded = readings.length > 0;
  const single = readings.length === 1 && read.terms.length === 1;
  let deadlineAt = single ? 0 : readings.findIndex(({ stride }) => stride === 1);
  if (deadlineAt < 0) {
    deadlineAt = readings.push(readingOf(undefined)) - 1;
    weights.push(guarded ? 0 : tieWeight);
  }
  const isPlain = single && weights[0] === 1;
  return {
    kind: "sum",
    readings,
    weights,
    energyWeight,
    costWeight,
    carbonWeight,
    deadlineAt,
    guarded,
    isPlain,
  };
}

/** Whether energy, money or CO2 alone counts: nothing runs twice then but for a deadline. */
export function isSaving({ kind, guarded }: Goal): boolean {
  return kind === "sum" && !guarded;
}

/** The same objective, judged by the best case of each candidate. Used if nothing is expected in time. */
export function hopeful(goal: Goal): Goal {
  const least = readingOf(0);
  return { ...goal, readings: goal.readings.map(() => least) };
}

/** Figures of a candidate that count besides its completion. */
export interface Scored {
  readonly deviceMillijoules: number;
  readonly costMicros: number;
  /** Micrograms of CO2; finite. */
  readonly carbonMicrograms: number;
  /** NaN if it was not measured. */
  readonly accuracyRatio: number;
  readonly agreementRatio: number;
  /** Of `throughput`. */
  readonly paceMs: number;
  readonly remainingMs: number;
}

/** The score of a candidate by the numbers of its completion, in the order of `readings`. Smaller is better. */
export function scoreOf(goal: Goal, latencies: ArrayLike<number>, scored: Scored): number {
  const first = latencies[0] ?? NaN;
  if (goal.isPlain) return first;
  if (goal.kind === "throughput") return scored.paceMs + first * tieWeight;
  if (goal.kind === "accuracy") return accuracyScore(scored.accuracyRatio, scored.agreementRatio, first);
  let total = 0;
  for (let index = 0; index < goal.weights.length; index++) {
    const weight = goal.weights[index] ?? 0;
    if (weight > 0) total += weight * (latencies[index] ?? NaN);
  }
  if (goal.kind === "chance")
    return 1 - chanceBelow({ values: latencies }, scored.remainingMs) + missTieWeight * total;
  if (goal.energyWeight > 0) total += goal.energyWeight * scored.deviceMillijoules;
  if (goal.costWeight > 0) total += goal.costWeight * scored.costMicros;
  if (goal.carbonWeight > 0) total += goal.carbonWeight * scored.carbonMicrograms;
  return total;
}

/** The weight of a millisecond of the mean. */
export function meanWeight({ readings, weights, kind }: Goal): number {
  if (kind !== "sum") return 0;
  return readings.reduce((total, { stride }, at) => total + (stride === 1 ? (weights[at] ?? 0) : 0), 0);
}
