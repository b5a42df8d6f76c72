import type { Dag } from "./dag.ts";

/*
 * A chain of tiers from the device (0) outwards. Every measure of a placement is a sum: the cost of each node at its tier, the
 * cost of each tensor on each hop that it travels, and the cost of using each hop at all. Milliseconds (at the mean, or at one
 * quantile: sums of beliefs are comonotone), millijoules, money, bytes of memory, the busy time of one stage, the logarithm of
 * the agreement that is lost: all have this form, and so has any weighted sum of them.
 */

/** One such sum: amounts of 0 or more, Infinity for what must not be. */
export interface Measure {
  /** For each tier, the cost of each node there. */
  readonly nodes: readonly ArrayLike<number>[];
  /** For each hop (from tier `h` to `h + 1`), the cost of each tensor on it. */
  readonly tensors: readonly ArrayLike<number>[];
  /** For each hop, the cost of using it, whatever travels: round trip, queue, the answer's way back. Missing ones are 0. */
  readonly hops: readonly number[];
}

/** Tier of each node. Legal when no node is nearer to the device than one whose output it uses. */
export type Placement = Uint8Array;

/**
 * The cost of a placement whose answer is made at tier `reach`: the final outputs travel there, and the hops up to there are
 * used.
 */
export function measured(dag: Dag, placement: Placement, reach: number, measure: Measure): number {
  let total = 0;
  for (let node = 0; node < dag.nodes; node++) {
    total += measure.nodes[placement[node] ?? 0]?.[node] ?? 0;
  }
  for (const [index, { producer, consumers, kept }] of dag.tensors.entries()) {
    const from = producer < 0 ? 0 : (placement[producer] ?? 0);
    let to = kept ? reach : from;
    for (const node of consumers) to = Math.max(to, placement[node] ?? 0);
    for (let hop = from; hop < to; hop++) total += measure.tensors[hop]?.[index] ?? 0;
  }
  for (let hop = 0; hop < reach; hop++) total += measure.hops[hop] ?? 0;
  return total;
}

/** Tells whether nothing travels back, and no node lies beyond `reach`. */
export function isLegal(dag: Dag, placement: Placement, reach: number): boolean {
  if (placement.some((tier) => tier > reach)) return false;
  return dag.tensors.every(
    ({ producer, consumers }) =>
      producer < 0 || consumers.every((node) => (placement[node] ?? 0) >= (placement[producer] ?? 0)),
  );
}

/** The sum of measures, each times its weight of 0 or more. A weight of 0 leaves a measure out, with its infinite costs. */
export function weighted(
  terms: readonly (readonly [weight: number, measure: Measure])[],
  dag: Dag,
  tiers: number,
): Measure {
  const nodes = Array.from({ length: tiers }, () => new Float64Array(dag.nodes));
  const tensors = Array.from({ length: tiers - 1 }, () => new Float64Array(dag.tensors.length));
  const hops = new Float64Array(tiers - 1);
  const add = (sum: Float64Array | undefined, list: ArrayLike<number> | undefined, weight: number): void => {
    if (!sum || !list) return;
    for (let index = 0; index < sum.length; index++) {
      sum[index] = (sum[index] ?? 0) + weight * (list[index] ?? 0);
    }
  };
  for (const [weight, measure] of terms) {
    if (weight === 0) continue;
    for (const [tier, sum] of nodes.entries()) add(sum, measure.nodes[tier], weight);
    for (const [hop, sum] of tensors.entries()) add(sum, measure.tensors[hop], weight);
    add(hops, measure.hops, weight);
  }
  return { nodes, tensors, hops: [...hops] };
}

/** Furthest tier at which each node may run, and to which each tensor may travel; undefined entries may go anywhere. */
export interface Pins {
  readonly nodes?: readonly (number | undefined)[];
  readonly tensors?: readonly (number | undefined)[];
}

/** A measure that is 0 where the pins are kept and Infinity where they are not. */
export function pinned(dag: Dag, tiers: number, pins: Pins): Measure {
  const forbid = (furthest: number | undefined, tier: number): number =>
    furthest !== undefined && tier > furthest ? Infinity : 0;
  return {
    nodes: Array.from({ length: tiers }, (_unused, tier) =>
      Float64Array.from({ length: dag.nodes }, (_none, node) => forbid(pins.nodes?.[node], tier)),
    ),
    tensors: Array.from({ length: tiers - 1 }, (_unused, hop) =>
      Float64Array.from({ length: dag.tensors.length }, (_none, tensor) =>
        forbid(pins.tensors?.[tensor], hop + 1),
      ),
    ),
    hops: [],
  };
}
