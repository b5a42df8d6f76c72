import { LongshoreError, type SumTerm } from "@longshore/core";
import { readObjective } from "@longshore/core/internal";
import {
  type ChainMeasures,
  type Dag,
  type SplitGoal,
  type Limit,
  type Measure,
  weighted,
} from "@longshore/graph";
import type { PlacementOptions } from "./options.ts";

/** The value to minimise, with how it is read. */
export interface NamedGoal {
  readonly name: string;
  readonly goal: SplitGoal;
  readonly unit: "ms" | "mJ" | "micros" | "missRatio" | "weighted";
}

/** A limit with the flag that set it. */
export interface NamedLimit extends Limit {
  readonly flag: string;
  /** Of a deadline, in what share of all cases it is to be kept; undefined in the mean. */
  readonly inTimeRatio?: number | undefined;
  readonly unit: "ms" | "mJ" | "micros" | "bytes";
}

/** Reads `--goal`. Throws `invalid-input` with the permitted values. */
export function placementGoal(
  options: Pick<PlacementOptions, "deadline" | "inTime"> & { readonly goal: string },
  measures: ChainMeasures,
  dag: Dag,
  tiers: number,
): NamedGoal {
  const { deadline: deadlineMs, inTime } = options;
  if (inTime !== undefined && !(inTime > 0 && inTime <= 1))
    throw wrong(`--in-time ${inTime}: must be a number above 0, and at most 1`);
  if (inTime !== undefined && deadlineMs === undefined) throw wrong("--in-time needs a deadline: --deadline");
  const name = options.goal.trim();
  const read = readObjective(name);
  if (typeof read === "string") throw wrong(`--goal ${name}: ${read}`);
  if (read.kind === "accuracy") {
    throw wrong(
      `--goal ${name}: a placement runs the same graph wherever it is cut; accuracy does not differ`,
    );
  }
  if (read.kind === "throughput") return { name, goal: { kind: "worst", of: measures.stagesMs }, unit: "ms" };
  if (read.kind === "chance") {
    if (deadlineMs === undefined) throw wrong("--goal chance needs a deadline: --deadline");
    return { name, goal: { kind: "miss", of: measures.outcomesMs, within: deadlineMs }, unit: "missRatio" };
  }
  if (read.terms.some(({ of }) => of === "carbon")) {
    throw wrong(
      `--goal ${name}: a placement knows tiers and not their zones, whose electricity carbon weighs`,
    );
  }
  const terms = read.terms.flatMap(({ of, weight }): (readonly [number, Measure])[] => {
    const measure = sumOf(of, measures, dag, tiers);
    return measure ? [[weight, measure]] : [];
  });
  const goal: SplitGoal = { kind: "sum", of: weighted(terms, dag, tiers) };
  if (terms.length > 1 || name.includes("=")) return { name, goal, unit: "weighted" };
  return { name, goal, unit: name === "energy" ? "mJ" : name === "cost" ? "micros" : "ms" };
}

/** The measure of a term of a sum; undefined without outcomes. */
function sumOf(of: SumTerm["of"], measures: ChainMeasures, dag: Dag, tiers: number): Measure | undefined {
  if (of === "mean") return measures.meanMs;
  if (of === "energy") return measures.deviceMillijoules;
  if (of === "cost") return measures.costMicros;
  if (of === "carbon") return undefined;
  return quantile(measures.outcomesMs, of, dag, tiers);
}

/** A quantile of the completion, between the midpoints of equally likely outcomes: a sum as these are. */
export function quantile(
  outcomes: readonly Measure[],
  ratio: number,
  dag: Dag,
  tiers: number,
): Measure | undefined {
  const position = Math.min(outcomes.length - 1, Math.max(0, ratio * outcomes.length - 0.5));
  const [low, high] = [outcomes[Math.floor(position)], outcomes[Math.ceil(position)]];
  if (!low || !high) return undefined;
  const share = position - Math.floor(position);
  return weighted(
    [
      [1 - share, low],
      [share, high],
    ],
    dag,
    tiers,
  );
}

function wrong(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", message);
}

/** The percentile that is the whole goal, as a ratio; undefined for other goals. */
function percentileOf(goal = ""): number | undefined {
  const read = readObjective(goal.trim());
  const [term] = typeof read !== "string" && read.kind === "sum" && read.terms.length === 1 ? read.terms : [];
  return typeof term?.of === "number" ? term.of : undefined;
}

/** The limits that were set. The deadline is kept as `infer` keeps it. */
export function placementLimits(
  options: PlacementOptions,
  measures: ChainMeasures,
  dag: Dag,
  tiers: number,
): readonly NamedLimit[] {
  const limit = (
    flag: string,
    unit: NamedLimit["unit"],
    of: Measure | undefined,
    atMost: number | undefined,
  ): NamedLimit[] => (atMost === undefined || !of ? [] : [{ flag, unit, of, atMost }]);
  const inTimeRatio = options.inTime ?? percentileOf(options.goal);
  const late =
    inTimeRatio === undefined ? measures.meanMs : quantile(measures.outcomesMs, inTimeRatio, dag, tiers);
  const isGoal = options.goal?.trim() === "chance" && options.inTime === undefined;
  const inTime = limit("deadline", "ms", late, isGoal ? undefined : options.deadline);
  return [
    ...inTime.map((one) => ({ ...one, inTimeRatio })),
    ...limit("max-energy-mj", "mJ", measures.deviceMillijoules, options.maxEnergyMj),
    ...limit("max-cost-micros", "micros", measures.costMicros, options.maxCostMicros),
    ...limit("device-memory", "bytes", measures.deviceBytes, options.deviceMemory),
  ];
}
