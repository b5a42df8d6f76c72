import { addNode, crossingTensors, type Dag, emptySet, hasNode, type NodeSet } from "./dag.ts";
import { tierSolver } from "./tier-cut.ts";

/** The cost of running each node at either side, and of carrying each tensor across. All 0 or more, in one unit. */
export interface SplitCosts {
  readonly head: ArrayLike<number>;
  readonly tail: ArrayLike<number>;
  readonly transfer: ArrayLike<number>;
}

/** Cost of a legal set: its nodes at the head, the others at the tail, its crossing in between. */
export function splitCost(dag: Dag, set: NodeSet, costs: SplitCosts): number {
  let cost = 0;
  for (let node = 0; node < dag.nodes; node++) {
    cost += (hasNode(set, node) ? costs.head[node] : costs.tail[node]) ?? 0;
  }
  for (const tensor of crossingTensors(dag, set)) cost += costs.transfer[tensor] ?? 0;
  return cost;
}

/** The cheapest legal set for costs that add up; see `cutSolver`, which is quicker for several costs of one graph. */
export function cheapestSet(dag: Dag, costs: SplitCosts): NodeSet {
  return cutSolver(dag)(costs);
}

/**
 * Finds the cheapest legal set for any costs that add up: `tierSolver` with two tiers. The network is built once; the caller
 * owns the result.
 */
export function cutSolver(dag: Dag): (costs: SplitCosts) => NodeSet {
  const solve = tierSolver(dag, 2);
  return ({ head, tail, transfer }) => {
    const tiers = solve({ nodes: [head, tail], tensors: [transfer], hops: [] });
    const set = emptySet(dag);
    for (let node = 0; node < dag.nodes; node++) if (tiers[node] === 0) addNode(set, node);
    return set;
  };
}
