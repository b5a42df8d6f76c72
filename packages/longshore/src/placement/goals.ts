import { LongshoreError } from "@longshore/core";
import {
  type ChainMeasures,
  type Dag,
  type Goal,
  type Limit,
  type Measure,
  weighted,
} from "@longshore/graph";
import type { PlacementOptions } from "./options.ts";

/** What is to be made small, with how its value is to be read. */
export interface NamedGoal {
  readonly name: string;
  readonly goal: Goal;
  readonly unit: "ms" | "mJ" | "millionths" | "missRatio" | "weighted";
}

/** A limit with the flag that set it. */
export interface NamedLimit extends Limit {
  readonly flag: string;
  readonly unit: "ms" | "mJ" | "millionths" | "bytes";
}

/** The quantile at which a deadline is to be kept where it is no goal of its own. */
const inTimeRatio = 0.95;

/** Reads `--goal`. Throws `invalid-input` with what may stand there. */
export function goalOf(
  options: Pick<PlacementOptions, "deadlineMs"> & { readonly goal: string },
  measures: ChainMeasures,
  dag: Dag,
  tiers: number,
): NamedGoal {
  const { deadlineMs } = options;
  const name = options.goal.trim();
  if (name === "throughput") return { name, goal: { kind: "worst", of: measures.stagesMs }, unit: "ms" };
  if (name === "chance") {
    if (deadlineMs === undefined)
      throw wrong("--goal chance needs the deadline that is to be kept: --deadline-ms");
    return { name, goal: { kind: "miss", of: measures.outcomesMs, within: deadlineMs }, unit: "missRatio" };
  }
  const terms = name.split(",").map((text): readonly [weight: number, Measure] => {
    const at = text.indexOf("=");
    const term = (at < 0 ? text : text.slice(0, at)).trim();
    const of = sumOf(term, measures, dag, tiers);
    if (!of) {
      const known = "mean, p1 to p99, energy and cost";
      throw wrong(
        term === "chance" || term === "throughput"
          ? `--goal ${name}: ${term} is no sum and stands alone; sums are made of ${known}`
          : `--goal ${name}: '${term}' is none of ${known}; chance and throughput stand alone`,
      );
    }
    const weight = at < 0 ? 1 : Number(text.slice(at + 1));
    if (!(weight > 0) || !Number.isFinite(weight) || text.slice(at + 1).trim() === "") {
      throw wrong(`--goal ${name}: the weight of ${term} must be a number above 0, such as ${term}=0.2`);
    }
    return [weight, of];
  });
  const goal: Goal = { kind: "sum", of: weighted(terms, dag, tiers) };
  if (terms.length > 1 || name.includes("=")) return { name, goal, unit: "weighted" };
  return { name, goal, unit: name === "energy" ? "mJ" : name === "cost" ? "millionths" : "ms" };
}

/** A measure by its name in a goal. */
function sumOf(term: string, measures: ChainMeasures, dag: Dag, tiers: number): Measure | undefined {
  if (term === "mean") return measures.meanMs;
  if (term === "energy") return measures.deviceMillijoules;
  if (term === "cost") return measures.costMicros;
  const percent = /^p([1-9]\d?)$/.exec(term)?.[1];
  return percent === undefined ? undefined : quantile(measures.outcomesMs, Number(percent) / 100, dag, tiers);
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

/** The limits that were set. */
export function limitsOf(
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
  const late = quantile(measures.outcomesMs, inTimeRatio, dag, tiers);
  return [
    ...limit("deadline-ms", "ms", late, options.goal === "chance" ? undefined : options.deadlineMs),
    ...limit("max-energy-mj", "mJ", measures.deviceMillijoules, options.maxEnergyMj),
    ...limit("max-cost-micros", "millionths", measures.costMicros, options.maxCostMicros),
    ...limit("device-memory", "bytes", measures.deviceBytes, options.deviceMemory),
  ];
}
