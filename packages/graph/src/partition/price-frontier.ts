import { crossingTensors, type Dag, hasNode, type NodeSet } from "./dag.ts";
import { frontier, type SplitPoint } from "./frontier.ts";
import { cutSolver, type SplitCosts } from "./min-cut.ts";
import { allPrices, clip, price, type Triple } from "./prices.ts";

/** A way to split that is the cheapest for some prices. */
export interface PricedSet extends SplitPoint {
  readonly set: NodeSet;
}

/** The most minimum cuts. Graphs of a thousand nodes need about a hundred. */
const mostCuts = 2000;
/** Costs that differ by less than this share of the largest are equal but for rounding. */
const close = 1e-9;

/**
 * All ways to split a graph that some prices make the cheapest, out of all its legal sets and without listing them: a graph
 * with a hundred million legal sets takes about as many minimum cuts as it has winners.
 *
 * The least cost over all legal sets is a concave function of the prices; the least cost over the sets found so far lies
 * above it and is linear on the region of prices that each of them wins. So when the two agree at every corner of every
 * region they agree everywhere, and nothing is missing. Each corner is one minimum cut: it confirms the corner or finds a
 * set that was not found yet (the method of H. Aneja and K. Nair, "Bicriteria transportation problem", 1979, for three prices).
 *
 * `head`, `tail` and `transfer` are what a node costs at either side and a tensor to carry, each in its own unit. The sets
 * come in no particular order. Returns undefined when it would take more than two thousand cuts.
 */
export function priceFrontier(dag: Dag, costs: SplitCosts): readonly PricedSet[] | undefined {
  const scale = largest(dag, costs);
  const solve = cutSolver(dag);
  const found: PricedSet[] = [];
  const known = new Set<string>();
  const confirmed = new Set<string>();
  let left = mostCuts;

  const unit = ({ head, tail, transfer }: SplitPoint): Triple => [
    head / scale[0],
    tail / scale[1],
    transfer / scale[2],
  ];
  const envelope = (prices: Triple): number =>
    found.reduce((least, point) => Math.min(least, price(unit(point), prices)), Infinity);

  /** Looks for a set that is cheaper at these prices than all that were found. */
  function ask(prices: Triple): boolean {
    left--;
    const priced = (list: ArrayLike<number>, index: 0 | 1 | 2): Float64Array =>
      Float64Array.from(list, (one) => (one * prices[index]) / scale[index]);
    const set = solve({
      head: priced(costs.head, 0),
      tail: priced(costs.tail, 1),
      transfer: priced(costs.transfer, 2),
    });
    const name = set.join();
    if (known.has(name)) return false;
    const point = { set, ...pointOf(dag, set, costs) };
    if (price(unit(point), prices) >= envelope(prices) - close) return false;
    known.add(name);
    found.push(point);
    return true;
  }

  // Inside the triangle first: at its corners two prices are nothing and many sets draw.
  ask([1 / 3, 1 / 3, 1 / 3]);
  for (let news = true; news;) {
    news = false;
    const points = found.map(unit);
    for (const corner of corners(points)) {
      const name = corner.map((one) => one.toFixed(9)).join();
      if (confirmed.has(name)) continue;
      if (left <= 0) return undefined;
      if (ask(corner)) {
        news = true;
        // The regions have changed; corners that are gone need no cut.
        break;
      }
      confirmed.add(name);
    }
  }
  return frontier(found).flatMap((index) => found[index] ?? []);
}

/** Corners of the regions that the points win, each once or twice. */
function* corners(points: readonly Triple[]): Generator<Triple> {
  for (const [index, own] of points.entries()) {
    let region = allPrices;
    for (const [other, rival] of points.entries()) {
      if (other === index || region.length === 0) continue;
      region = clip(region, [own[0] - rival[0], own[1] - rival[1], own[2] - rival[2]]);
    }
    yield* region;
  }
}

/** Cost of everything, of each kind: the scales on which the kinds are compared. */
function largest(dag: Dag, { head, tail, transfer }: SplitCosts): Triple {
  const total = (list: ArrayLike<number>): number => {
    let sum = 0;
    for (let index = 0; index < list.length; index++) sum += list[index] ?? 0;
    return sum > 0 ? sum : 1;
  };
  let most = 0;
  for (let index = 0; index < dag.tensors.length; index++) most = Math.max(most, transfer[index] ?? 0);
  return [total(head), total(tail), most > 0 ? most : 1];
}

function pointOf(dag: Dag, set: NodeSet, costs: SplitCosts): SplitPoint {
  let [head, tail, transfer] = [0, 0, 0];
  for (let node = 0; node < dag.nodes; node++) {
    if (hasNode(set, node)) head += costs.head[node] ?? 0;
    else tail += costs.tail[node] ?? 0;
  }
  for (const tensor of crossingTensors(dag, set)) transfer += costs.transfer[tensor] ?? 0;
  return { head, tail, transfer };
}
