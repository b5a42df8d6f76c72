import { type CutProfile, endCut, LongshoreError, startCut, type Tensors } from "@longshore/core";
import { type CutTable, specOf, type SplitGraph } from "../extract/index.ts";
import { hasNode, isWithin, type NodeSet } from "../partition/index.ts";
import { bytes, nodeWork, usedNames } from "../shape/index.ts";
import { meanOrZero } from "./code-crossing.ts";
import { guessedSize, typesFor } from "./sketch.ts";

/** The costs of the nodes and tensors of a graph for inputs of given sizes, on the machine of a profile. */
export interface GraphCosts {
  /** Time of each node, in milliseconds at the mean; all together what the whole takes. */
  readonly nodeMs: Float64Array;
  /** The ratios of times of the whole to their mean, in equally likely outcomes, ascending. */
  readonly spread: readonly number[];
  /** Bytes of each tensor as it is. */
  readonly tensorBytes: Float64Array;
  /** Bytes of the weights that each node reads; weights that several nodes read count at each of them. */
  readonly nodeBytes: Float64Array;
  /** Whether each tensor can travel, and its size is known or estimated. */
  readonly canTravel: readonly boolean[];
  /** Cuts that were measured inside: between two of them, time is shared out by calculated work. */
  readonly measuredCuts: number;
}

/**
 * Brings measured times of a few cuts to the nodes. A head's share of the whole is its time over head and tail, each run
 * alone: runtimes join operators across a cut, so head and tail together take longer than the whole, and a long head can
 * seem to take longer than it. Of the measured cuts, those that lie one within the next are used, from the start on.
 */
export function graphCosts(
  split: SplitGraph,
  table: CutTable,
  cuts: readonly CutProfile[],
  inputs: Tensors,
): GraphCosts {
  const types = typesFor(
    split,
    [...inputs.values()].map(({ spec }) => spec),
  );
  const work = split.nodes.map((node) => nodeWork(node, types, guessedSize));
  const made = new Set(split.names);
  const tensorBytes = Float64Array.from(
    split.names,
    // Of texts and of what is empty nothing is known but that they travel.
    (name) => inputs.get(name)?.bytes.byteLength ?? Math.max(1, bytes(types.get(name), guessedSize)),
  );
  const timesOf = (id: string): CutProfile | undefined => cuts.find(({ cut }) => cut.id === id);
  const whole = timesOf(endCut)?.headMs ?? timesOf(startCut)?.tailMs ?? [];
  const wholeMs = whole.length > 0 ? meanOrZero(whole) : 0;
  if (!(wholeMs > 0)) {
    throw new LongshoreError("invalid-input", "plan", "the profile holds no times of the whole model");
  }
  const { nodeMs, measuredCuts } = sharedOut(work, wholeMs, table, cuts);
  return {
    nodeMs,
    spread: whole.map((ms) => ms / wholeMs),
    tensorBytes,
    nodeBytes: Float64Array.from(split.nodes, (node) =>
      usedNames(node).reduce(
        (sum, name) => (made.has(name) ? sum : sum + bytes(types.get(name), guessedSize)),
        0,
      ),
    ),
    canTravel: split.names.map((name) => specOf(split, name) !== undefined),
    measuredCuts,
  };
}

/** The time of the whole, shared out between each two measured cuts by work. */
function sharedOut(
  work: readonly number[],
  wholeMs: number,
  { sets }: CutTable,
  cuts: readonly CutProfile[],
): { readonly nodeMs: Float64Array; readonly measuredCuts: number } {
  const nodeMs = new Float64Array(work.length);
  const give = (from: NodeSet | undefined, to: NodeSet | undefined, ms: number): void => {
    const block = work.flatMap((_one, node) =>
      (from && hasNode(from, node)) || (to && !hasNode(to, node)) ? [] : [node],
    );
    const total = block.reduce((sum, node) => sum + (work[node] ?? 0), 0);
    for (const node of block) {
      nodeMs[node] = total > 0 ? (ms * (work[node] ?? 0)) / total : ms / block.length;
    }
  };
  let last: NodeSet | undefined;
  let lastMs = 0;
  let measuredCuts = 0;
  for (const { cut, headMs, tailMs } of cuts) {
    const set = /^c\d+$/.test(cut.id) ? sets[Number(cut.id.slice(1)) - 1] : undefined;
    const both = meanOrZero(headMs) + meanOrZero(tailMs);
    if (!set || !(both > 0) || (last && !isWithin(last, set))) continue;
    const untilMs = Math.max(lastMs, (wholeMs * meanOrZero(headMs)) / both);
    give(last, set, untilMs - lastMs);
    [last, lastMs] = [set, untilMs];
    measuredCuts++;
  }
  give(last, undefined, wholeMs - lastMs);
  return { nodeMs, measuredCuts };
}
