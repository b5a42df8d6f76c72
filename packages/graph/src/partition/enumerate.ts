import {
  addNode,
  compareSets,
  type Dag,
  emptySet,
  type NodeSet,
  predecessors,
  prefixSet,
  successors,
} from "./dag.ts";

/** Most legal sets that are listed. The widest published image network has 59,862. */
export const defaultSetLimit = 200_000;

/**
 * Calls `visit` for every legal set, the empty and the full one included, each once; the set is reused between calls.
 * Stops and returns false when there are more than `limit`.
 *
 * Every legal set except the empty one has one parent: itself without its last node in topological order, which nothing
 * in the set depends on. So walking from each set to those with one later node added meets every set once, and no table
 * of what was seen is needed.
 */
export function visitLegalSets(
  dag: Dag,
  visit: (set: NodeSet) => void,
  limit: number = defaultSetLimit,
): boolean {
  const after = successors(dag);
  const waiting = predecessors(dag).map((before) => before.length);
  const set = emptySet(dag);
  const roots = waiting.flatMap((count, node) => (count === 0 ? [node] : []));
  const path: { readonly ready: readonly number[]; next: number }[] = [{ ready: roots, next: 0 }];
  let left = limit - 1;
  visit(set);
  for (let top = path.at(-1); top; top = path.at(-1)) {
    const added = path.length > 1 ? path[path.length - 2] : undefined;
    const node = top.ready[top.next];
    if (node === undefined) {
      path.pop();
      const taken = added?.ready[added.next];
      if (added && taken !== undefined) {
        set[taken >>> 5] = (set[taken >>> 5] ?? 0) & ~(1 << (taken & 31));
        for (const user of after[taken] ?? []) waiting[user] = (waiting[user] ?? 0) + 1;
        added.next++;
      }
      continue;
    }
    if (left-- <= 0) return false;
    addNode(set, node);
    visit(set);
    const freed: number[] = [];
    for (const user of after[node] ?? []) {
      const count = (waiting[user] ?? 0) - 1;
      waiting[user] = count;
      if (count === 0) freed.push(user);
    }
    path.push({ ready: merge(top.ready, top.next + 1, freed), next: 0 });
  }
  return true;
}

/** Merges the rest of one ascending list with another. */
function merge(list: readonly number[], from: number, other: readonly number[]): readonly number[] {
  if (other.length === 0) return list.slice(from);
  return [...list.slice(from), ...other].sort((a, b) => a - b);
}

/** Number of legal sets, or undefined when there are more than `limit`. */
export function countLegalSets(dag: Dag, limit: number = defaultSetLimit): number | undefined {
  let count = 0;
  return visitLegalSets(dag, () => count++, limit) ? count : undefined;
}

/** All legal sets in the order of `compareSets`, or undefined when there are more than `limit`. */
export function legalSets(dag: Dag, limit: number = defaultSetLimit): readonly NodeSet[] | undefined {
  const sets: NodeSet[] = [];
  if (!visitLegalSets(dag, (set) => sets.push(set.slice()), limit)) return undefined;
  return sets.sort(compareSets);
}

/**
 * Legal sets of a graph too wide to list them all: the prefixes of its own order, and those of the order in which every
 * node runs as late as its users allow (side values such as masks then cross as few cuts as possible).
 */
export function prefixSets(dag: Dag): readonly NodeSet[] {
  const sets = Array.from({ length: dag.nodes + 1 }, (_unused, count) => prefixSet(dag, count));
  const late = emptySet(dag);
  for (const node of lateOrder(dag)) {
    addNode(late, node);
    sets.push(late.slice());
  }
  return distinctSets(sets);
}

/** Nodes in the order that a depth-first walk back from the end finishes them. */
function lateOrder(dag: Dag): readonly number[] {
  const before = predecessors(dag);
  const done = new Uint8Array(dag.nodes);
  const order: number[] = [];
  for (const goal of goals(dag)) {
    if (done[goal]) continue;
    const stack = [{ node: goal, next: 0 }];
    done[goal] = 1;
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const need = before[top.node]?.[top.next++];
      if (need === undefined) order.push(stack.pop()?.node ?? 0);
      else if (!done[need]) {
        done[need] = 1;
        stack.push({ node: need, next: 0 });
      }
    }
  }
  return order;
}

/** Nodes that make what is wanted at the end, or that nothing uses. */
function goals(dag: Dag): ReadonlySet<number> {
  const used = new Set<number>();
  const found = new Set<number>();
  for (const { producer, consumers, kept } of dag.tensors) {
    if (consumers.length > 0) used.add(producer);
    if (kept && producer >= 0) found.add(producer);
  }
  for (let node = 0; node < dag.nodes; node++) if (!used.has(node)) found.add(node);
  return found;
}

/** The sets without repetitions, in the order of `compareSets`. */
export function distinctSets(sets: readonly NodeSet[]): readonly NodeSet[] {
  const sorted = [...sets].sort(compareSets);
  return sorted.filter((set, index) => index === 0 || compareSets(set, sorted[index - 1] ?? set) !== 0);
}
