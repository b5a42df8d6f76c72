import { seededRandom } from "@longshore/core";
import {
  bytes as nominalBytes,
  crossingTensors,
  frontier,
  hasNode,
  nodeWork,
  priceFrontier,
  readModel,
  splitGraph,
  type SplitCosts,
  type SplitGraph,
  type SplitPoint,
  visitLegalSets,
} from "@longshore/graph";
import { goalRows } from "./frontier-goals.ts";
import { graphFiles, type NamedFile } from "./graph-files.ts";
import { type Bench, type BenchContext, chosenOf, type Measured, median, type Row } from "./harness.ts";

/** Graphs with up to so many legal sets are compared with the list of all of them. */
const mostListed = 200_000;
/** Each graph is planned so often; the median counts. The first finds the code cold and is left out. */
const repeats = 5;
/** Every goal is tried on all of them one by one where there are no more than this: each is priced some thirty times. */
const mostTried = 20_000;
/** Sizes that the file leaves open. */
const vary = 16;

/** Cost of a node by what it does: a device is slow at some operators and less so at others. Seeded, so not flattering. */
function slowness(seed: number): (op: string) => number {
  const random = seededRandom(seed);
  const known = new Map<string, number>();
  return (op) => {
    const factor = known.get(op) ?? 1 + 7 * random.next();
    known.set(op, factor);
    return factor;
  };
}

/** Everything from the parsed file to the frontier: types, legal structure, costs of nodes and tensors, minimum cuts. */
function plan(file: ReturnType<typeof readModel>, seed: number) {
  const split = splitGraph(file);
  const slow = slowness(seed);
  const tail = split.nodes.map((node) => nodeWork(node, split.types, vary));
  const head = split.nodes.map((node, index) => (tail[index] ?? 0) * slow(node.opType));
  const transfer = split.names.map((name) => nominalBytes(split.types.get(name), vary));
  const costs: SplitCosts = { head, tail, transfer };
  return { split, costs, found: priceFrontier(split.dag, costs) };
}

/** The winners among all legal sets, listed one by one; undefined when there are too many. */
function byForce({ dag }: SplitGraph, costs: SplitCosts): readonly SplitPoint[] | undefined {
  const points: SplitPoint[] = [];
  const whole = visitLegalSets(
    dag,
    (set) => {
      let [head, tail, transfer] = [0, 0, 0];
      for (let node = 0; node < dag.nodes; node++) {
        if (hasNode(set, node)) head += costs.head[node] ?? 0;
        else tail += costs.tail[node] ?? 0;
      }
      for (const tensor of crossingTensors(dag, set)) transfer += costs.transfer[tensor] ?? 0;
      points.push({ head, tail, transfer });
    },
    mostListed,
  );
  return whole ? frontier(points).flatMap((index) => points[index] ?? []) : undefined;
}

/** How many points of one list the other lacks, to a millionth. */
function missing(list: readonly SplitPoint[], other: readonly SplitPoint[]): number {
  const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a));
  return list.filter(
    (one) =>
      !other.some(
        (two) => near(one.head, two.head) && near(one.tail, two.tail) && near(one.transfer, two.transfer),
      ),
  ).length;
}

/** What is done with each graph: winners found, compared with the list of all legal sets, every goal tried on them. */
const partNames = ["plans", "lists", "goals"] as const;
type Part = (typeof partNames)[number];

function measure(file: NamedFile, parts: readonly Part[], { seed, say }: BenchContext): readonly Row[] {
  const model = readModel(file.read());
  const times: number[] = [];
  let last = plan(model, seed);
  const coldStartMs = performance.now();
  last = plan(readModel(file.read()), seed);
  const withReadingMs = performance.now() - coldStartMs;
  for (let repeat = 0; repeat < repeats; repeat++) {
    const startedMs = performance.now();
    last = plan(model, seed);
    times.push(performance.now() - startedMs);
  }
  const { split, costs, found } = last;
  const startedMs = performance.now();
  const listed = parts.includes("lists") ? byForce(split, costs) : undefined;
  const listedMs = performance.now() - startedMs;
  const mismatches = found && listed ? missing(found, listed) + missing(listed, found) : Infinity;
  const planMs = median(times);
  say(
    `  ${file.name.padEnd(34)} ${String(split.dag.nodes).padStart(5)} nodes, ${String(found?.length ?? 0).padStart(3)} winners in ${planMs.toFixed(1).padStart(6)} ms; ` +
      (listed
        ? `listing all takes ${listedMs.toFixed(0)} ms, differs in ${mismatches}`
        : parts.includes("lists")
          ? "too many sets to list"
          : "not listed"),
  );
  const planned = {
    graph: file.name,
    nodes: split.dag.nodes,
    winners: found?.length ?? 0,
    planMs,
    withReadingMs,
    ...(listed ? { listedMs, mismatches } : {}),
  };
  if (!parts.includes("goals")) return [planned];
  const goals = goalRows(file.name, split.dag, costs, mostTried);
  const tried = goals.filter((row) => row["mismatch"] !== undefined);
  const open = goals.filter((row) => row["exact"] === false);
  say(
    `    ${goals.length} goals on two and three tiers: ${goals.length - open.length} proved, ` +
      `${tried.filter((row) => row["mismatch"] === true).length} of ${tried.length} differ from trying all, ` +
      `at most ${Math.max(...goals.map((row) => Number(row["tookMs"]))).toFixed(0)} ms` +
      open
        .map(
          (row) =>
            `; ${row["tiers"]} tiers, ${row["goal"]}: gap ${(100 * Number(row["gapRatio"])).toFixed(2)} %`,
        )
        .join(""),
  );
  return [planned, ...goals];
}

function goalFigures(goals: readonly Row[]): Readonly<Record<string, number>> {
  return {
    goalMismatches: goals.filter((row) => row["mismatch"] === true).length,
    goalsCompared: goals.filter((row) => row["mismatch"] !== undefined).length,
    goals: goals.length,
    goalsProved: goals.filter((row) => row["exact"] === true).length,
    worstGoalGapRatio: Math.max(...goals.map((row) => Number(row["gapRatio"]))),
    worstGoalMs: Math.max(...goals.map((row) => Number(row["tookMs"]))),
  };
}

/**
 * From a graph and what its nodes and tensors cost to all ways to split it that some prices make the best. Goals
 * take minutes to try one by one, and lists take long for some: `--parts plans,lists,goals` does some of these, `--only NAME,...`
 * takes some of the graphs.
 */
export const bench: Bench = {
  name: "frontier",
  about: "from a graph and its costs to every split that can be the best, against listing all legal splits",
  options: ["--parts PART,...", "--only NAME,..."],
  bars: { worstPlanMs: { atMost: 300 }, frontierMismatches: { atMost: 0 }, goalMismatches: { atMost: 0 } },
  run(context): Promise<Measured> {
    const parts = chosenOf(context.args, "parts", partNames) ?? partNames;
    const files = graphFiles(context);
    const names = files.map(({ name }) => name);
    const only = chosenOf(context.args, "only", names) ?? names;
    const all = files
      .filter(({ name }) => only.includes(name))
      .flatMap((file) => measure(file, parts, context));
    const rows = all.filter((row) => row["goal"] === undefined);
    const goals = all.filter((row) => row["goal"] !== undefined);
    const compared = rows.filter((row) => row["mismatches"] !== undefined);
    const figures = {
      worstPlanMs: Math.max(...rows.map((row) => Number(row["planMs"]))),
      medianPlanMs: median(rows.map((row) => Number(row["planMs"]))),
      ...(compared.length === 0
        ? {}
        : {
            frontierMismatches: compared.reduce((sum, row) => sum + Number(row["mismatches"]), 0),
            graphsCompared: compared.length,
          }),
      graphs: rows.length,
      ...(parts.includes("goals") ? goalFigures(goals) : {}),
    };
    const notRun = [
      ...(context.data === undefined ? ["light models: no --data folder"] : []),
      ...partNames.filter((part) => !parts.includes(part)).map((part) => `${part}: not asked for`),
    ];
    return Promise.resolve({ figures, rows: all, notRun });
  },
};
