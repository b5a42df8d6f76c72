import type { Dag } from "./dag.ts";
import type { Measure, Placement } from "./measure.ts";

/** Decides which branches a search keeps: called with the sums of all measures for the nodes placed so far (a lower bound). */
export interface SearchParts {
  readonly dag: Dag;
  /** Nodes may lie at tiers 0 to `reach`; the final outputs go to `reach`. */
  readonly reach: number;
  readonly measures: readonly Measure[];
  /** Whether a placement with at least these sums can still be of use. */
  hopeful(sums: Float64Array): boolean;
  /** Called for each whole placement that stayed hopeful. The array is reused. */
  found(placement: Placement, sums: Float64Array): void;
  /** Nodes placed at most, over all tries. */
  readonly mostSteps: number;
}

/**
 * Tries all legal placements, node by node in topological order: each node at the tier of its furthest producer or beyond
 * it, so that every path through the tries ends in a legal placement and none is met twice. The sums of what is placed only
 * grow; together with the least that the other nodes cost anywhere they bound what a try can lead to, and hopeless ones
 * are left. Returns the steps it took, or undefined when they were more than `mostSteps`.
 */
export function search(parts: SearchParts): number | undefined {
  const { dag, reach, measures, mostSteps } = parts;
  const count = measures.length;
  const inputs: number[][] = Array.from({ length: dag.nodes }, () => []);
  for (const [index, { consumers }] of dag.tensors.entries()) {
    for (const node of new Set(consumers)) inputs[node]?.push(index);
  }
  const outputs: number[][] = Array.from({ length: dag.nodes }, () => []);
  const arrives = new Uint8Array(dag.tensors.length);
  const sums = new Float64Array(count);
  const least = leastRest(parts);
  for (const [index, tensor] of dag.tensors.entries()) {
    if (tensor.producer >= 0) outputs[tensor.producer]?.push(index);
    else if (tensor.kept) carry(index, 0, reach);
  }
  for (const [at, measure] of measures.entries()) {
    for (let hop = 0; hop < reach; hop++) sums[at] = (sums[at] ?? 0) + (measure.hops[hop] ?? 0);
  }
  const placement = new Uint8Array(dag.nodes);
  const bounds = new Float64Array(count);
  /** For each depth the sums and arrivals to go back to. */
  const savedSums = Array.from({ length: dag.nodes + 1 }, () => new Float64Array(count));
  const savedArrivals: (readonly (readonly [number, number])[])[] = [];
  let steps = 0;

  function carry(tensor: number, from: number, to: number): void {
    for (const [at, measure] of measures.entries()) {
      for (let hop = from; hop < to; hop++) {
        sums[at] = (sums[at] ?? 0) + (measure.tensors[hop]?.[tensor] ?? 0);
      }
    }
    arrives[tensor] = to;
  }

  function place(node: number, tier: number): readonly (readonly [number, number])[] {
    const before: [number, number][] = [];
    placement[node] = tier;
    for (const [at, measure] of measures.entries()) {
      sums[at] = (sums[at] ?? 0) + (measure.nodes[tier]?.[node] ?? 0);
    }
    for (const tensor of inputs[node] ?? []) {
      const there = arrives[tensor] ?? 0;
      if (there >= tier) continue;
      before.push([tensor, there]);
      carry(tensor, there, tier);
    }
    for (const tensor of outputs[node] ?? []) {
      arrives[tensor] = tier;
      if (dag.tensors[tensor]?.kept) carry(tensor, tier, reach);
    }
    return before;
  }

  function hopefulAt(node: number): boolean {
    for (let at = 0; at < count; at++) bounds[at] = (sums[at] ?? 0) + (least[at]?.[node] ?? 0);
    return parts.hopeful(bounds);
  }

  /** The nearest tier for a node: that of its furthest producer. */
  function nearest(node: number): number {
    let tier = 0;
    for (const tensor of inputs[node] ?? []) {
      const producer = dag.tensors[tensor]?.producer ?? -1;
      if (producer >= 0) tier = Math.max(tier, placement[producer] ?? 0);
    }
    return tier;
  }

  // A stack of its own: graphs of thousands of nodes are deeper than calls may nest.
  const next = new Int32Array(dag.nodes + 1);
  let depth = 0;
  if (!hopefulAt(0)) return 0;
  if (dag.nodes === 0) {
    parts.found(placement, sums);
    return 0;
  }
  next[0] = nearest(0);
  while (depth >= 0) {
    const tier = next[depth] ?? 0;
    if (tier > reach) {
      depth--;
      if (depth >= 0) undo(depth);
      continue;
    }
    if (++steps > mostSteps) return undefined;
    next[depth] = tier + 1;
    savedSums[depth]?.set(sums);
    savedArrivals[depth] = place(depth, tier);
    if (!hopefulAt(depth + 1)) undo(depth);
    else if (depth + 1 === dag.nodes) {
      parts.found(placement, sums);
      undo(depth);
    } else {
      depth++;
      next[depth] = nearest(depth);
    }
  }
  return steps;

  function undo(node: number): void {
    sums.set(savedSums[node] ?? sums);
    for (const [tensor, tier] of savedArrivals[node] ?? []) arrives[tensor] = tier;
  }
}

/** For each measure, the least cost of all nodes from a position on, each at its cheapest tier. */
function leastRest({ dag, reach, measures }: SearchParts): readonly Float64Array[] {
  return measures.map((measure) => {
    const rest = new Float64Array(dag.nodes + 1);
    for (let node = dag.nodes - 1; node >= 0; node--) {
      let cheapest = Infinity;
      for (let tier = 0; tier <= reach; tier++) {
        cheapest = Math.min(cheapest, measure.nodes[tier]?.[node] ?? 0);
      }
      rest[node] = (rest[node + 1] ?? 0) + cheapest;
    }
    return rest;
  });
}
