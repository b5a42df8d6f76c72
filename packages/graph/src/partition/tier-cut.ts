import type { Dag } from "./dag.ts";
import { edgeList, FlowNetwork } from "./flow-network.ts";
import type { Measure, Placement } from "./measure.ts";

/**
 * Finds the cheapest placement on a chain of tiers for any costs that add up, as one minimum cut (Hu et al., "Dynamic adaptive
 * DNN surgery", 2019, with two repairs, laid in layers for more than two tiers): every tensor has a node of its own on each
 * hop, so that it is paid once however many users it has, and every dependency has an edge back of infinite capacity, so that
 * nothing returns.
 *
 * Node `v` on hop `h` lies at the source side when it runs at tier `h` or nearer. Edges: (v, h) > (v, h - 1) costs tier `h`
 * (from the source beyond the last hop, to the sink before the first), its way back is infinite; producer > tensor costs the
 * hop, tensor > users and user > producer are infinite. A tensor wanted at the end counts as used at the last tier, so keeping
 * everything at the device still pays for carrying the answer. The cost of using hops is not counted: compare with the
 * placements on fewer tiers.
 *
 * The network is built once; the caller owns the result. Where every placement costs Infinity it may be illegal.
 */
export function tierSolver(dag: Dag, tiers: number): (costs: Measure) => Placement {
  const hops = tiers - 1;
  const layer = dag.nodes + dag.tensors.length;
  const source = hops * layer;
  const sink = source + 1;
  const edges = edgeList();
  for (let tier = 0; tier < tiers; tier++) {
    for (let node = 0; node < dag.nodes; node++) {
      edges.add(tier < hops ? tier * layer + node : source, tier > 0 ? (tier - 1) * layer + node : sink);
    }
  }
  for (let hop = 0; hop < hops; hop++) {
    for (const [index, { producer }] of dag.tensors.entries()) {
      edges.add(producer < 0 ? source : hop * layer + producer, hop * layer + dag.nodes + index);
    }
  }
  const bounded = edges.from.length;
  for (let hop = 0; hop < hops; hop++) {
    const base = hop * layer;
    for (const [index, { producer, consumers, kept }] of dag.tensors.entries()) {
      const tensor = base + dag.nodes + index;
      if (kept) edges.add(tensor, sink);
      for (const node of consumers) {
        edges.add(tensor, base + node);
        if (producer >= 0) edges.add(base + node, base + producer);
      }
    }
    if (hop === 0) continue;
    for (let node = 0; node < dag.nodes; node++) edges.add(base - layer + node, base + node);
  }
  const network = new FlowNetwork(sink + 1, edges.from, edges.to);
  const capacities = new Float64Array(edges.from.length).fill(Infinity, bounded);
  return ({ nodes, tensors }) => {
    let edge = 0;
    for (let tier = 0; tier < tiers; tier++) {
      const costs = nodes[tier];
      for (let node = 0; node < dag.nodes; node++) capacities[edge++] = costs?.[node] ?? 0;
    }
    for (let hop = 0; hop < hops; hop++) {
      const costs = tensors[hop];
      for (let index = 0; index < dag.tensors.length; index++) capacities[edge++] = costs?.[index] ?? 0;
    }
    const placement = new Uint8Array(dag.nodes);
    const reached = network.sourceSide(source, sink, capacities);
    for (let hop = 0; hop < hops; hop++) {
      for (let node = 0; node < dag.nodes; node++) {
        if ((reached[hop * layer + node] ?? -1) < 0) placement[node] = hop + 1;
      }
    }
    return placement;
  };
}
