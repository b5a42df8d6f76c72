import {
  chainMeasures,
  type Dag,
  type Goal,
  type Measure,
  measured,
  nodeCount,
  hasNode,
  type Limit,
  planSplit,
  type SplitCosts,
  visitLegalSets,
  weighted,
} from "@longshore/graph";
import type { Row } from "./harness.ts";

/** What a placement is asked for: a goal under limits. */
interface Question {
  readonly name: string;
  readonly goal: Goal;
  readonly limits: readonly Limit[];
}

/** Equally likely outcomes of times: a long tail, as links have. */
const spread = [0.6, 0.8, 0.95, 1.1, 1.4, 2.2];
/** Rates of the hops outwards from the device, in bytes per millisecond, and their fixed times in milliseconds. */
const hopRates = [1250, 6000];
const hopFixedMs = [15, 40];
/** A unit of work in milliseconds on the second tier; the third is four times as fast. */
const workPerMs = 1e6;

/** Every kind of goal, alone and under limits, for a graph on a chain of tiers. */
function questionsOf(dag: Dag, { head, tail, transfer }: SplitCosts, tiers: number): readonly Question[] {
  const ms = (list: ArrayLike<number>, factor: number): Float64Array =>
    Float64Array.from(list, (work) => (work * factor) / workPerMs);
  const measures = chainMeasures({
    dag,
    tiers: [ms(head, 1), ms(tail, 1), ms(tail, 0.25)]
      .slice(0, tiers)
      .map((nodeMs, tier) => ({ nodeMs, spread, microsPerSecond: [0, 20, 100][tier] ?? 0 })),
    hops: Array.from({ length: tiers - 1 }, (_unused, hop) => ({
      msPerByte: spread.map((factor) => factor / (hopRates[hop] ?? 1)),
      fixedMs: spread.map((factor) => factor * (hopFixedMs[hop] ?? 0)),
      microsPerByte: 1e-5,
    })),
    tensorBytes: transfer,
    nodeBytes: head,
    agreementRatio: Float64Array.from(transfer, (_bytes, tensor) => 1 - 0.001 * ((tensor * 7) % 5)),
    watts: { active: 3, onAir: 1.3, waiting: 0.4 },
    millijoulesPerByte: 2e-4,
  });
  const { meanMs, outcomesMs, deviceMillijoules, costMicros, disagreement, stagesMs, deviceBytes } = measures;
  const home = new Uint8Array(dag.nodes);
  const homeMs = measured(dag, home, 0, meanMs);
  const share = (of: Measure, ratio: number): Limit => ({ of, atMost: ratio * measured(dag, home, 0, of) });
  const sum = (of: Measure): Goal => ({ kind: "sum", of });
  const slow = outcomesMs.at(-1) ?? meanMs;
  const mix = weighted(
    [
      [1, meanMs],
      [0.2, deviceMillijoules],
      [0.5, costMicros],
    ],
    dag,
    tiers,
  );
  return [
    { name: "mean", goal: sum(meanMs), limits: [] },
    { name: "high quantile", goal: sum(slow), limits: [] },
    { name: "energy", goal: sum(deviceMillijoules), limits: [] },
    { name: "cost", goal: sum(costMicros), limits: [] },
    { name: "agreement", goal: sum(disagreement), limits: [] },
    { name: "weighted", goal: sum(mix), limits: [] },
    { name: "chance", goal: { kind: "miss", of: outcomesMs, within: 0.7 * homeMs }, limits: [] },
    { name: "stages", goal: { kind: "worst", of: stagesMs }, limits: [] },
    { name: "energy, in time", goal: sum(deviceMillijoules), limits: [{ of: slow, atMost: 1.2 * homeMs }] },
    { name: "mean, little memory", goal: sum(meanMs), limits: [share(deviceBytes, 0.4)] },
    {
      name: "mean, several limits",
      goal: sum(meanMs),
      limits: [share(deviceMillijoules, 0.8), { of: disagreement, atMost: 0.004 }, share(deviceBytes, 0.6)],
    },
    {
      name: "stages, energy limited",
      goal: { kind: "worst", of: stagesMs },
      limits: [share(deviceMillijoules, 0.7)],
    },
  ];
}

/** What a measure comes to for a set at the device and the rest one tier out, quickly: sums over the graph in one pass. */
function sumOver(dag: Dag, placement: Uint8Array, reach: number, question: Question): number | undefined {
  const { goal, limits } = question;
  for (const { of, atMost } of limits) {
    if (measured(dag, placement, reach, of) > atMost * (1 + 1e-9) + 1e-9) return undefined;
  }
  if (goal.kind === "sum") return measured(dag, placement, reach, goal.of);
  const sums = goal.of.map((measure) => measured(dag, placement, reach, measure));
  if (goal.kind === "worst") return Math.max(...sums);
  return sums.filter((one) => one > goal.within * (1 + 1e-9)).length / sums.length;
}

/** The best of all legal splits in two, one by one; undefined when there are more than `mostSets`. */
function byForce(dag: Dag, questions: readonly Question[], mostSets: number): readonly number[] | undefined {
  const best = questions.map(() => Infinity);
  const placement = new Uint8Array(dag.nodes);
  const look = (reach: number): void => {
    for (const [at, question] of questions.entries()) {
      const value = sumOver(dag, placement, reach, question);
      if (value !== undefined && value < (best[at] ?? 0)) best[at] = value;
    }
  };
  const whole = visitLegalSets(
    dag,
    (set) => {
      for (let node = 0; node < dag.nodes; node++) placement[node] = hasNode(set, node) ? 0 : 1;
      if (nodeCount(set) === dag.nodes) look(0);
      look(1);
    },
    mostSets,
  );
  return whole ? best : undefined;
}

/** Plans every goal for two and three tiers; two tiers against all legal splits where they can be listed. */
export function goalRows(name: string, dag: Dag, costs: SplitCosts, mostSets: number): readonly Row[] {
  const rows: Row[] = [];
  for (const tiers of [2, 3]) {
    const questions = questionsOf(dag, costs, tiers);
    const forced = tiers === 2 ? byForce(dag, questions, mostSets) : undefined;
    for (const [at, { name: goal, goal: aim, limits }] of questions.entries()) {
      const startedMs = performance.now();
      const found = planSplit({ dag, tiers, goal: aim, limits, mostSteps: 1_000_000 });
      const tookMs = performance.now() - startedMs;
      const value = found?.value ?? Infinity;
      const expected = forced?.[at];
      const off =
        expected === undefined
          ? undefined
          : value === expected
            ? 0
            : Math.abs(value - expected) / Math.max(Math.abs(expected), 1e-9);
      rows.push({
        graph: name,
        tiers,
        goal,
        value,
        exact: found?.exact ?? true,
        gapRatio: found && found.value > 0 ? (found.value - found.bound) / found.value : 0,
        tookMs,
        ...(off === undefined ? {} : { offRatio: off, mismatch: off > 1e-6 }),
      });
    }
  }
  return rows;
}
