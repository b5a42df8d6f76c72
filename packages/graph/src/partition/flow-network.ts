/** Edges of a network while it is built. */
export interface EdgeList {
  readonly from: readonly number[];
  readonly to: readonly number[];
  add(one: number, other: number): void;
}

/** An empty list of edges. */
export function edgeList(): EdgeList {
  const from: number[] = [];
  const to: number[] = [];
  return {
    from,
    to,
    add(one: number, other: number): void {
      from.push(one);
      to.push(other);
    },
  };
}

/**
 * Maximum flow by Dinic's algorithm (1970): breadth-first levels, then blocking flows along them. Levels count from the sink,
 * so that every node with a level has a path there, and paths seldom end on the way. Each edge is two arcs, one each way; the
 * arcs out of a node lie side by side, because the search for levels does little besides reading them.
 */
export class FlowNetwork {
  /** Arcs of node `n` are `first[n]..first[n + 1]`. */
  readonly #first: Int32Array;
  readonly #to: Int32Array;
  readonly #left: Float64Array;
  /** The arc that takes an arc's flow back. */
  readonly #back: Int32Array;
  /** Arc of each edge. */
  readonly #arcs: Int32Array;
  readonly #levels: Int32Array;
  readonly #cursor: Int32Array;
  readonly #queue: Int32Array;
  readonly #path: Int32Array;

  constructor(nodes: number, from: readonly number[], to: readonly number[]) {
    const arcs = 2 * from.length;
    this.#first = new Int32Array(nodes + 1);
    this.#to = new Int32Array(arcs);
    this.#left = new Float64Array(arcs);
    this.#back = new Int32Array(arcs);
    this.#arcs = new Int32Array(from.length);
    this.#levels = new Int32Array(nodes);
    this.#cursor = new Int32Array(nodes);
    this.#queue = new Int32Array(nodes);
    this.#path = new Int32Array(nodes);
    const first = this.#first;
    for (const ends of [from, to]) for (const node of ends) first[node + 1] = (first[node + 1] ?? 0) + 1;
    for (let node = 0; node < nodes; node++) first[node + 1] = (first[node + 1] ?? 0) + (first[node] ?? 0);
    const next = first.slice(0, nodes);
    for (const [edge, one] of from.entries()) {
      const other = to[edge] ?? 0;
      const arc = next[one] ?? 0;
      next[one] = arc + 1;
      const back = next[other] ?? 0;
      next[other] = back + 1;
      this.#arcs[edge] = arc;
      this.#to[arc] = other;
      this.#to[back] = one;
      this.#back[arc] = back;
      this.#back[back] = arc;
    }
  }

  /** Nodes that the source still reaches once the flow is at its maximum have a level of 0 or more. Reused. */
  sourceSide(source: number, sink: number, capacities: Float64Array): Int32Array {
    let finite = 0;
    for (const capacity of capacities) if (capacity !== Infinity) finite += capacity;
    // Capacities are sums of measured figures: a remainder below this is rounding.
    const least = finite * 1e-13;
    // More than all finite edges together is as good as infinite, and stays finite in subtractions.
    const most = 2 * finite + 1;
    this.#left.fill(0);
    for (let edge = 0; edge < capacities.length; edge++) {
      this.#left[this.#arcs[edge] ?? 0] = Math.min(most, capacities[edge] ?? 0);
    }
    while (this.#leads(source, sink, least)) this.#block(source, sink, least);
    return this.#reached(source, least);
  }

  /** Sets the level of nodes to their distance from the sink, as far as the source; whether that is one of them. */
  #leads(source: number, sink: number, least: number): boolean {
    const [levels, queue, first, to, left, back] = [
      this.#levels,
      this.#queue,
      this.#first,
      this.#to,
      this.#left,
      this.#back,
    ];
    levels.fill(-1);
    levels[sink] = 0;
    queue[0] = sink;
    let waiting = 1;
    for (let at = 0; at < waiting; at++) {
      const node = queue[at] as number;
      const level = (levels[node] as number) + 1;
      const end = first[node + 1] as number;
      for (let arc = first[node] as number; arc < end; arc++) {
        const target = to[arc] as number;
        if ((levels[target] as number) >= 0 || (left[back[arc] as number] as number) <= least) continue;
        levels[target] = level;
        // A node no nearer than the source is on no wanted path.
        if (target === source) return true;
        queue[waiting++] = target;
      }
    }
    return false;
  }

  /** Sets the level of nodes that the source reaches to 0, of the others to -1. */
  #reached(source: number, least: number): Int32Array {
    const [levels, queue, first, to, left] = [this.#levels, this.#queue, this.#first, this.#to, this.#left];
    levels.fill(-1);
    levels[source] = 0;
    queue[0] = source;
    let waiting = 1;
    for (let at = 0; at < waiting; at++) {
      const node = queue[at] as number;
      const end = first[node + 1] as number;
      for (let arc = first[node] as number; arc < end; arc++) {
        const target = to[arc] as number;
        if ((levels[target] as number) >= 0 || (left[arc] as number) <= least) continue;
        levels[target] = 0;
        queue[waiting++] = target;
      }
    }
    return levels;
  }

  /** Sends flow along paths of descending levels until there is none left. */
  #block(source: number, sink: number, least: number): void {
    const [levels, cursor, path, first, to, left] = [
      this.#levels,
      this.#cursor,
      this.#path,
      this.#first,
      this.#to,
      this.#left,
    ];
    cursor.set(first.subarray(0, cursor.length));
    let length = 0;
    let node = source;
    for (;;) {
      if (node === sink) {
        // The part of the path before the full arc leads on to other paths.
        length = this.#send(length, least);
        node = to[this.#back[path[length] as number] as number] as number;
        continue;
      }
      const arc = cursor[node] as number;
      if (arc === first[node + 1]) {
        if (length === 0) return;
        node = to[this.#back[path[--length] as number] as number] as number;
        cursor[node] = (cursor[node] as number) + 1;
        continue;
      }
      const target = to[arc] as number;
      if ((left[arc] as number) > least && levels[target] === (levels[node] as number) - 1) {
        path[length++] = arc;
        node = target;
      } else cursor[node] = arc + 1;
    }
  }

  /** Sends the capacity of a path of this many arcs; returns the index of the first arc that is full then. */
  #send(length: number, least: number): number {
    const [path, back, left] = [this.#path, this.#back, this.#left];
    let amount = Infinity;
    for (let at = 0; at < length; at++) amount = Math.min(amount, left[path[at] as number] as number);
    let full = length;
    for (let at = length - 1; at >= 0; at--) {
      const arc = path[at] as number;
      const rest = (left[arc] as number) - amount;
      left[arc] = rest;
      left[back[arc] as number] = (left[back[arc] as number] as number) + amount;
      if (rest <= least) full = at;
    }
    return full;
  }
}
