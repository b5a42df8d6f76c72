import fc from "fast-check";
import { addNode, type Dag, emptySet, hasNode, type NodeSet, predecessors } from "../src/partition/index.ts";

/** Random graphs of 1 to `most` nodes, whose tensors have several users now and then. */
export function dags(most: number): fc.Arbitrary<Dag> {
  const tensor = (producer: number, nodes: number) =>
    fc.record({
      producer: fc.constant(producer),
      consumers: fc
        .subarray(Array.from({ length: nodes - producer - 1 }, (_unused, index) => index + producer + 1))
        .filter((list) => list.length <= 4),
      kept: fc.boolean(),
    });
  return fc
    .integer({ min: 1, max: most })
    .chain((nodes) =>
      fc
        .tuple(...Array.from({ length: nodes + 1 }, (_unused, index) => tensor(index - 1, nodes)))
        .map((tensors) => ({ nodes, tensors })),
    );
}

/** All legal sets by trying every set of nodes. */
export function legalByForce(dag: Dag): readonly NodeSet[] {
  const before = predecessors(dag);
  const sets: NodeSet[] = [];
  for (let bits = 0; bits < 2 ** dag.nodes; bits++) {
    const set = emptySet(dag);
    for (let node = 0; node < dag.nodes; node++) if ((bits >> node) & 1) addNode(set, node);
    const closed = before.every(
      (needs, node) => !hasNode(set, node) || needs.every((need) => hasNode(set, need)),
    );
    if (closed) sets.push(set);
  }
  return sets;
}
