import type { Dag } from "./dag.ts";
import { isLegal, type Measure, measured, type Placement, weighted } from "./measure.ts";
import { tierSolver } from "./tier-cut.ts";

/** A sum that must not be above something. */
export interface Limit {
  readonly of: Measure;
  readonly atMost: number;
}

/** The relaxed problem: the worst of `terms` is to be small within the limits. */
export interface Relaxation {
  readonly terms: readonly Measure[];
  readonly limits: readonly Limit[];
  /** 0 where a placement is allowed, Infinity where not. */
  readonly pins: Measure;
}

/**
 * Bounds the least that the worst of some sums can be under limits, by Lagrange multipliers: any mix of the sums, plus any
 * price on what is above a limit, is a sum again, and its minimum cut costs no more than the best placement that keeps the
 * limits (M. Held and R. Karp, 1971). The mix and the prices move towards what the last cut violated, `rounds` times at
 * most; each cut is also a placement that may be good itself, handed to `consider`.
 *
 * Returns the bound for answers made at `reach`, Infinity when nothing is allowed there. With one sum and no limits it is
 * reached by the first cut, and exact.
 */
export function relaxation(dag: Dag, reach: number): Relaxer {
  const tiers = reach + 1;
  const solve = reach === 0 ? (): Placement => new Uint8Array(dag.nodes) : tierSolver(dag, tiers);
  return ({ terms, limits, pins }, rounds, consider) => {
    let mix = terms.map(() => 1 / terms.length);
    const prices = limits.map(() => 0);
    let bound = -Infinity;
    for (let round = 0; round < rounds; round++) {
      const placement = solve(
        weighted(
          [
            [1, pins],
            ...terms.map((measure, at) => [mix[at] ?? 0, measure] as const),
            ...limits.map(({ of }, at) => [prices[at] ?? 0, of] as const),
          ],
          dag,
          tiers,
        ),
      );
      // A cut of infinite cost takes whichever infinite edge it likes, those that forbid returning included.
      if (!isLegal(dag, placement, reach) || measured(dag, placement, reach, pins) === Infinity)
        return Infinity;
      consider(placement);
      const sums = terms.map((measure) => measured(dag, placement, reach, measure));
      const over = limits.map(({ of, atMost }) => measured(dag, placement, reach, of) - atMost);
      const dual = mixed(mix, sums) + mixed(prices, over);
      if (dual === Infinity) return Infinity;
      bound = Math.max(bound, dual);
      if (terms.length === 1 && over.every((amount, at) => amount <= 0 && prices[at] === 0)) return bound;
      const step = 1 / Math.sqrt(round + 1);
      const worst = Math.max(...sums, Number.MIN_VALUE);
      const grown = mix.map((share, at) => share * Math.exp(2 * step * ((sums[at] ?? 0) / worst)));
      const total = grown.reduce((sum, share) => sum + share, 0);
      mix = grown.map((share) => share / total);
      for (const [at, amount] of over.entries()) {
        const { atMost } = limits[at] ?? { atMost: 0 };
        const scale = Math.max(Math.abs(atMost), Math.abs(amount));
        if (amount === 0 || scale === Infinity) continue;
        prices[at] = Math.max(0, (prices[at] ?? 0) + (0.5 * step * worst * amount) / scale ** 2);
      }
    }
    return bound;
  };
}

/** See `relaxation`. */
export type Relaxer = (about: Relaxation, rounds: number, consider: (placement: Placement) => void) => number;

function mixed(weights: readonly number[], amounts: readonly number[]): number {
  return weights.reduce((sum, weight, at) => (weight === 0 ? sum : sum + weight * (amounts[at] ?? 0)), 0);
}
