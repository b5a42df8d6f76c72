/*
 * Where a computation may be cut in two, for any computation that is a directed acyclic graph. This module knows no ONNX.
 *
 * A **legal set** is a set of nodes that can run first, at the head: with a node it holds everything that the node depends on,
 * so that nothing ever travels back. The tensors that cross are those made in the set (or given from the start) and needed
 * outside it. Each crosses once, however many nodes use it.
 */

/** A value that nodes make and use. */
export interface DagTensor {
  /** Node that makes it, or -1 when it is there from the start. */
  readonly producer: number;
  readonly consumers: readonly number[];
  /** Wanted at the end, so that it crosses every cut after its making. */
  readonly kept: boolean;
}

/** Nodes 0 to `nodes - 1` in topological order, and the tensors between them. */
export interface Dag {
  readonly nodes: number;
  readonly tensors: readonly DagTensor[];
}

/** A set of nodes as bits: node `i` is bit `i % 32` of word `i / 32`. */
export type NodeSet = Uint32Array;

/** The set with no nodes. */
export function emptySet(dag: Dag): NodeSet {
  return new Uint32Array(Math.ceil(dag.nodes / 32));
}

/** The set of the first `count` nodes in topological order: always legal. */
export function prefixSet(dag: Dag, count: number): NodeSet {
  const set = emptySet(dag);
  for (let node = 0; node < count; node++) addNode(set, node);
  return set;
}

/** Tells whether a node is in the set. */
export function hasNode(set: NodeSet, node: number): boolean {
  return (((set[node >>> 5] ?? 0) >>> (node & 31)) & 1) === 1;
}

/** Puts a node into the set. */
export function addNode(set: NodeSet, node: number): void {
  set[node >>> 5] = (set[node >>> 5] ?? 0) | (1 << (node & 31));
}

/** Number of nodes in the set. */
export function nodeCount(set: NodeSet): number {
  let count = 0;
  for (const word of set) {
    let bits = word - ((word >>> 1) & 0x55555555);
    bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
    count += (((bits + (bits >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
  }
  return count;
}

/** Tells whether every node of `inner` is in `outer`. */
export function isWithin(inner: NodeSet, outer: NodeSet): boolean {
  return inner.every((word, index) => (word & ~(outer[index] ?? 0)) === 0);
}

/** Order of sets: by number of nodes, then by their bits. It is total, so it gives every set a stable number. */
export function compareSets(a: NodeSet, b: NodeSet): number {
  const difference = nodeCount(a) - nodeCount(b);
  if (difference !== 0) return difference;
  for (let index = 0; index < a.length; index++) {
    const [x = 0, y = 0] = [a[index], b[index]];
    // The set with the lower first differing node comes first.
    if (x !== y) return ((x ^ y) & -(x ^ y) & x) !== 0 ? -1 : 1;
  }
  return 0;
}

/** Indices of the tensors that cross between the set and the rest. */
export function crossingTensors(dag: Dag, set: NodeSet): readonly number[] {
  const crossing: number[] = [];
  for (const [index, tensor] of dag.tensors.entries()) {
    const made = tensor.producer < 0 || hasNode(set, tensor.producer);
    if (made && (tensor.kept || tensor.consumers.some((node) => !hasNode(set, node)))) crossing.push(index);
  }
  return crossing;
}

/** For each node the nodes that must run before it, without duplicates. */
export function predecessors(dag: Dag): readonly (readonly number[])[] {
  const before = Array.from({ length: dag.nodes }, () => new Set<number>());
  for (const { producer, consumers } of dag.tensors) {
    if (producer >= 0) for (const node of consumers) before[node]?.add(producer);
  }
  return before.map((set) => [...set].sort((a, b) => a - b));
}

/** For each node the nodes that use what it makes, ascending, without duplicates. */
export function successors(dag: Dag): readonly (readonly number[])[] {
  const after = Array.from({ length: dag.nodes }, () => new Set<number>());
  for (const { producer, consumers } of dag.tensors) {
    if (producer >= 0) for (const node of consumers) after[producer]?.add(node);
  }
  return after.map((set) => [...set].sort((a, b) => a - b));
}
