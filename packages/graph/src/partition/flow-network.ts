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
 * Maximum flow by Dinic's algorithm (1970): breadth-first levels, then blocking flows along them. Edge `2e` is the e-th,
 * edge `2e + 1` takes its flow back.
 */
export class FlowNetwork {
  readonly #first: Int32Array;
  readonly #next: Int32Array;
  readonly #to: Int32Array;
  readonly #left: Float64Array;
  readonly #levels: Int32Array;
  readonly #cursor: Int32Array;
  readonly #queue: Int32Array;
  readonly #path: Int32Array;

  constructor(nodes: number, from: readonly number[], to: readonly number[]) {
    this.#first = new Int32Array(nodes).fill(-1);
    this.#next = new Int32Array(2 * from.length);
    this.#to = new Int32Array(2 * from.length);
    this.#left = new Float64Array(2 * from.length);
    this.#levels = new Int32Array(nodes);
    this.#cursor = new Int32Array(nodes);
    this.#queue = new Int32Array(nodes);
    this.#path = new Int32Array(nodes);
    for (const [edge, one] of from.entries()) {
      this.#link(2 * edge, one, to[edge] ?? 0);
      this.#link(2 * edge + 1, to[edge] ?? 0, one);
    }
  }

  #link(edge: number, from: number, to: number): void {
    this.#to[edge] = to;
    this.#next[edge] = this.#first[from] ?? -1;
    this.#first[from] = edge;
  }

  /** Nodes that the source still reaches once the flow is at its maximum have a level of 0 or more. Reused. */
  sourceSide(source: number, sink: number, capacities: Float64Array): Int32Array {
    let finite = 0;
    for (const capacity of capacities) if (capacity !== Infinity) finite += capacity;
    // Capacities are sums of measured figures: what is left below this is rounding.
    const least = finite * 1e-13;
    // More than all finite edges together is as good as infinite, and stays finite in subtractions.
    const most = 2 * finite + 1;
    for (let edge = 0; edge < capacities.length; edge++) {
      this.#left[2 * edge] = Math.min(most, capacities[edge] ?? 0);
      this.#left[2 * edge + 1] = 0;
    }
    while (this.#reaches(source, sink, least)) {
      this.#cursor.set(this.#first);
      while (this.#push(source, sink, least));
    }
    return this.#levels;
  }

  #reaches(source: number, sink: number, least: number): boolean {
    const [levels, queue, first, next, to, left] = [
      this.#levels,
      this.#queue,
      this.#first,
      this.#next,
      this.#to,
      this.#left,
    ];
    levels.fill(-1);
    levels[source] = 0;
    queue[0] = source;
    let waiting = 1;
    for (let at = 0; at < waiting; at++) {
      const node = queue[at] as number;
      const level = (levels[node] as number) + 1;
      for (let edge = first[node] as number; edge >= 0; edge = next[edge] as number) {
        const target = to[edge] as number;
        if ((levels[target] as number) >= 0 || (left[edge] as number) <= least) continue;
        levels[target] = level;
        queue[waiting++] = target;
      }
    }
    return (levels[sink] as number) >= 0;
  }

  /** Sends flow along one path of ascending levels; false when there is none left. */
  #push(source: number, sink: number, least: number): boolean {
    const [levels, cursor, path, next, to, left] = [
      this.#levels,
      this.#cursor,
      this.#path,
      this.#next,
      this.#to,
      this.#left,
    ];
    let length = 0;
    let node = source;
    while (node !== sink) {
      const edge = cursor[node] as number;
      if (edge < 0) {
        if (length === 0) return false;
        node = to[(path[--length] as number) ^ 1] as number;
        cursor[node] = next[cursor[node] as number] as number;
        continue;
      }
      const target = to[edge] as number;
      if ((left[edge] as number) > least && levels[target] === (levels[node] as number) + 1) {
        path[length++] = edge;
        node = target;
      } else cursor[node] = next[edge] as number;
    }
    let amount = Infinity;
    for (let at = 0; at < length; at++) amount = Math.min(amount, left[path[at] as number] as number);
    for (let at = 0; at < length; at++) {
      const edge = path[at] as number;
      left[edge] = (left[edge] as number) - amount;
      left[edge ^ 1] = (left[edge ^ 1] as number) + amount;
    }
    return amount > 0;
  }
}
