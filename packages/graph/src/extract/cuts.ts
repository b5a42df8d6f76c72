import { type Cut, LongshoreError, type Reveals, type TensorSpec } from "@longshore/core";
import {
  countLegalSets,
  crossingTensors,
  type Dag,
  distinctSets,
  legalSets,
  nodeCount,
  type NodeSet,
  prefixSets,
  priceFrontier,
} from "../partition/index.ts";
import { bytes as nominalBytes, nodeWork } from "../shape/index.ts";
import { carried, describeType, type SplitGraph } from "./split-graph.ts";

/** The legal sets of a graph, without the empty and the full one, in the order of `compareSets`. */
export interface ListedSets {
  readonly sets: readonly NodeSet[];
  /** Whether these are all, or only the candidates of a graph that has too many. */
  readonly complete: boolean;
  /** Legal sets, the empty and the full one included; undefined when they were too many to count. */
  readonly legal: number | undefined;
}

/** The cuts of a graph. */
export interface CutTable extends ListedSets {
  /** Usable cuts in topological order, without `start` and `end`. Cut `c<n>` is at `sets[n - 1]`. */
  readonly cuts: readonly Cut[];
}

/** Most legal sets that are listed one by one. Above it candidates are as good, and far quicker to handle. */
export const defaultListLimit = 4096;

/**
 * Lists the legal sets of a graph. Beyond `limit` only candidates: the prefixes of two orders, and the sets that win at
 * some prices of work and bytes. They are still counted, up to 200,000.
 */
export function listSets(split: SplitGraph, limit: number = defaultListLimit): ListedSets {
  const legal = countLegalSets(split.dag);
  const all = legal !== undefined && legal <= limit ? legalSets(split.dag, limit) : undefined;
  const listed = all ?? distinctSets([...prefixSets(split.dag), ...cheapSets(split)]);
  // The empty and the full set are `start` and `end`.
  return { sets: listed.filter((set) => !isEdge(split.dag, set)), complete: all !== undefined, legal };
}

function isEdge(dag: Dag, set: NodeSet): boolean {
  const count = nodeCount(set);
  return count === 0 || count === dag.nodes;
}

/**
 * The cuts of a graph. Cut `c<n>` is the n-th listed set, counted from 1: the number depends on the file alone.
 *
 * A cut is usable when every tensor that crosses there can travel: a tensor (no sequence, map or optional) of a type and rank
 * that are known. The numbers of others stay unused, so that ids do not change when more types become known.
 */
export function cutTable(split: SplitGraph, listed: ListedSets = listSets(split)): CutTable {
  const specs = split.names.map((name) => specOf(split, name));
  const inputs = new Set(split.inputs.map((input) => input.name));
  const cuts: Cut[] = [];
  for (const [index, set] of listed.sets.entries()) {
    const cut = cutOf(`c${index + 1}`, crossingTensors(split.dag, set), specs, split, inputs);
    if (cut) cuts.push(cut);
  }
  return { ...listed, cuts };
}

function cutOf(
  id: string,
  tensors: readonly number[],
  specs: readonly (TensorSpec | undefined)[],
  split: SplitGraph,
  inputs: ReadonlySet<string>,
): Cut | undefined {
  const crossing: TensorSpec[] = [];
  let reveals: Reveals = "answer";
  for (const index of tensors) {
    const spec = specs[index];
    if (!spec) return undefined;
    crossing.push(spec);
    if (inputs.has(spec.name)) reveals = "input";
    else if (reveals === "answer" && !split.dag.tensors[index]?.kept) reveals = "features";
  }
  return { id, crossing, reveals };
}

/** How a tensor of the graph would travel; undefined when it cannot. */
export function specOf(split: SplitGraph, name: string): TensorSpec | undefined {
  const type = split.types.get(name);
  const datatype = type && carried(type);
  if (type?.kind !== "tensor" || !datatype || !type.shape) return undefined;
  return { name, datatype, shape: type.shape };
}

/** Why a cut that is legal cannot be used, as the error to throw; or that there is no such cut. */
export function unusableCut(split: SplitGraph, table: CutTable, id: string): LongshoreError {
  const set = /^c[1-9]\d*$/.test(id) ? table.sets[Number(id.slice(1)) - 1] : undefined;
  if (!set) {
    const range =
      table.sets.length > 0
        ? `it has start, c1 to c${table.sets.length}, and end`
        : "it has only start and end";
    return new LongshoreError("unknown-cut", "resolve", `the graph has no cut "${id}": ${range}`);
  }
  const culprits = crossingTensors(split.dag, set)
    .map((index) => split.names[index] ?? "")
    .filter((name) => !specOf(split, name))
    .map((name) => `"${name}" is ${describeType(split.types.get(name))}`);
  return new LongshoreError(
    "unknown-cut",
    "resolve",
    `cut ${id} cannot be used, because these tensors cannot travel: ${culprits.join(", ")}`,
  );
}

/** The sets that some prices make the cheapest, for graphs with too many sets to list. Sizes that vary count as 64. */
function cheapSets(split: SplitGraph): readonly NodeSet[] {
  const vary = 64;
  const bytes = split.names.map((name) => nominalBytes(split.types.get(name), vary));
  const work = split.nodes.map((node) => nodeWork(node, split.types, vary));
  const winners = priceFrontier(split.dag, { head: work, tail: work, transfer: bytes }) ?? [];
  return winners.map(({ set }) => set);
}
