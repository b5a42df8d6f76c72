import { addNode, crossingTensors, type Dag, emptySet, hasNode, type NodeSet } from "./dag.ts";

/** What it costs to run each node at either side, and to carry each tensor across. All 0 or more, in one unit. */
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

/**
 * The cheapest legal set for costs that add up, as a minimum cut (Hu et al., "Dynamic adaptive DNN surgery", 2019, with
 * two repairs): every tensor has a node of its own, so that it is paid once however many users it has, and every
 * dependency has an edge back of infinite capacity, so that nothing returns to the head.
 *
 * Source side = head. Edges: source > node (its tail cost), node > sink (its head cost), producer > tensor (its transfer
 * cost), tensor > users (infinite), user > producer (infinite). A tensor wanted at the end counts as used at the tail,
 * so keeping everything at the head still pays for carrying the answer; compare with the all-local plan separately.
 */
export function cheapestSet(dag: Dag, costs: SplitCosts): NodeSet {
  const source = dag.nodes + dag.tensors.length;
  const sink = source + 1;
  const network = new FlowNetwork(sink + 1);
  for (let node = 0; node < dag.nodes; node++) {
    network.connect(source, node, costs.tail[node] ?? 0);
    network.connect(node, sink, costs.head[node] ?? 0);
  }
  for (const [index, { producer, consumers, kept }] of dag.tensors.entries()) {
    const tensor = dag.nodes + index;
    network.connect(producer < 0 ? source : producer, tensor, costs.transfer[index] ?? 0);
    if (kept) network.connect(tensor, sink, Infinity);
    for (const node of consumers) {
      network.connect(tensor, node, Infinity);
      if (producer >= 0) network.connect(node, producer, Infinity);
    }
  }
  const reached = network.sourceSide(source, sink);
  const set = emptySet(dag);
  for (let node = 0; node < dag.nodes; node++) if (reached[node]) addNode(set, node);
  return set;
}

/** Maximum flow by Dinic's algorithm (1970): breadth-first levels, then blocking flows along them. */
class FlowNetwork {
  readonly #first: Int32Array;
  readonly #to: number[] = [];
  readonly #next: number[] = [];
  readonly #capacity: number[] = [];
  #finite = 0;

  constructor(nodes: number) {
    this.#first = new Int32Array(nodes).fill(-1);
  }

  connect(from: number, to: number, capacity: number): void {
    if (capacity !== Infinity) this.#finite += capacity;
    this.#edge(from, to, capacity);
    this.#edge(to, from, 0);
  }

  #edge(from: number, to: number, capacity: number): void {
    this.#to.push(to);
    this.#capacity.push(capacity);
    this.#next.push(this.#first[from] ?? -1);
    this.#first[from] = this.#to.length - 1;
  }

  /** Nodes that the source still reaches once the flow is at its maximum. */
  sourceSide(source: number, sink: number): Uint8Array {
    // Capacities are sums of measured figures: what is left below this is rounding.
    const least = this.#finite * 1e-13;
    // More than all finite edges together is as good as infinite, and stays finite in subtractions.
    const most = 2 * this.#finite + 1;
    for (const [edge, capacity] of this.#capacity.entries()) {
      if (capacity === Infinity) this.#capacity[edge] = most;
    }
    for (;;) {
      const levels = this.#levels(source, least);
      if ((levels[sink] ?? -1) < 0) return Uint8Array.from(levels, (level) => (level >= 0 ? 1 : 0));
      const cursor = this.#first.slice();
      while (this.#push(source, sink, levels, cursor, least));
    }
  }

  #levels(source: number, least: number): Int32Array {
    const levels = new Int32Array(this.#first.length).fill(-1);
    levels[source] = 0;
    const queue = [source];
    for (let head = 0; head < queue.length; head++) {
      const node = queue[head] ?? 0;
      for (let edge = this.#first[node] ?? -1; edge >= 0; edge = this.#next[edge] ?? -1) {
        const to = this.#to[edge] ?? 0;
        if ((levels[to] ?? 0) >= 0 || (this.#capacity[edge] ?? 0) <= least) continue;
        levels[to] = (levels[node] ?? 0) + 1;
        queue.push(to);
      }
    }
    return levels;
  }

  /** Sends flow along one path of ascending levels; false when there is none left. */
  #push(source: number, sink: number, levels: Int32Array, cursor: Int32Array, least: number): boolean {
    const path: number[] = [];
    let node = source;
    while (node !== sink) {
      const edge = cursor[node] ?? -1;
      if (edge < 0) {
        const back = path.pop();
        if (back === undefined) return false;
        node = this.#to[back ^ 1] ?? source;
        cursor[node] = this.#next[cursor[node] ?? 0] ?? -1;
        continue;
      }
      const to = this.#to[edge] ?? 0;
      if ((this.#capacity[edge] ?? 0) > least && levels[to] === (levels[node] ?? 0) + 1) {
        path.push(edge);
        node = to;
      } else cursor[node] = this.#next[edge] ?? -1;
    }
    let amount = Infinity;
    for (const edge of path) amount = Math.min(amount, this.#capacity[edge] ?? 0);
    for (const edge of path) {
      this.#capacity[edge] = (this.#capacity[edge] ?? 0) - amount;
      this.#capacity[edge ^ 1] = (this.#capacity[edge ^ 1] ?? 0) + amount;
    }
    return amount > 0;
  }
}
