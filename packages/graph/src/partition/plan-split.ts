/*
 * The best placement of a graph on a chain of tiers, for any goal and any limits, exactly where that can be proved and with
 * the gap where not.
 *
 * Sums alone are minimum cuts. Limits, the busiest stage of a pipeline and the chance to be in time are not: with them the
 * problem is hard in general. The obvious way lists all legal placements, which real graphs allow for two tiers (59,862 for
 * Inception-v2) but not for three. Here minimum cuts of mixed sums (`relax.ts`) give good placements and a bound first; the
 * search over all legal placements (`search.ts`) then leaves every try that cannot beat what is known, and ends with a proof
 * or at its limit of steps.
 */
import type { Dag } from "./dag.ts";
import { lookBetween } from "./in-between.ts";
import { type Measure, measured, type Pins, pinned, type Placement } from "./measure.ts";
import { type Limit, relaxation } from "./relax.ts";
import { search } from "./search.ts";

/** The value to minimise. */
export type SplitGoal =
  /** A sum: mean or quantile of the latency, energy, money, lost agreement, or a weighted sum of such. */
  | { readonly kind: "sum"; readonly of: Measure }
  /** The largest of some sums: the busiest stage, whose inverse is the rate of frames with all endpoints busy. */
  | { readonly kind: "worst"; readonly of: readonly Measure[] }
  /** The share of equally likely outcomes whose sum is above `within`: the chance to miss a deadline. */
  | { readonly kind: "miss"; readonly of: readonly Measure[]; readonly within: number };

/** A graph, where it may run, and what is wanted. */
export interface SplitProblem {
  readonly dag: Dag;
  /** Number of tiers, the device included. */
  readonly tiers: number;
  readonly goal: SplitGoal;
  readonly limits?: readonly Limit[];
  readonly pins?: Pins;
  /** The most nodes that the search places, over all its tries; default 4,000,000 (about two seconds). */
  readonly mostSteps?: number;
}

/** A placement and how good it is. */
export interface SplitAnswer {
  readonly placement: Placement;
  /** The tier where the answer is made. */
  readonly reach: number;
  /** The value of the goal. */
  readonly value: number;
  /** No placement comes to less. */
  readonly bound: number;
  /** Whether it is proved that nothing is better. */
  readonly exact: boolean;
}

const defaultMostSteps = 4_000_000;
/** Cuts computed for a bound, if one is not enough. */
const rounds = 40;
/** Sums that differ by less than this share are equal but for rounding. */
const close = 1e-9;

/** Plans it. Undefined when nothing keeps the limits and pins (or nothing that does was met within the steps). */
export function planSplit(question: SplitProblem): SplitAnswer | undefined {
  const { dag, tiers, goal, limits = [], mostSteps = defaultMostSteps } = question;
  const pins = pinned(dag, tiers, question.pins ?? {});
  const aims = aimsOf(goal);
  let best: { readonly placement: Placement; readonly reach: number; readonly value: number } | undefined;

  /** Takes a placement when it is the best so far; returns what it comes to, Infinity where it is not allowed. */
  const consider = (placement: Placement, reach: number): number => {
    if (measured(dag, placement, reach, pins) > 0) return Infinity;
    if (!limits.every((limit) => keepsLimit(dag, placement, reach, limit))) return Infinity;
    const value = goalValue(dag, placement, reach, goal);
    if (value < (best?.value ?? Infinity)) best = { placement: placement.slice(), reach, value };
    return value;
  };

  const bounds = Array.from({ length: tiers }, (_unused, reach) => {
    const relax = relaxation(dag, reach);
    let last: Placement | undefined;
    const found = (placement: Placement): void => {
      consider(placement, reach);
      if (last && last.some((tier, node) => tier !== placement[node])) {
        lookBetween(last, placement, (mixed) => consider(mixed, reach));
      }
      last = placement;
    };
    const cuts = goal.kind === "worst" || limits.length > 0 ? rounds : 1;
    if (goal.kind !== "miss") return relax({ terms: aims, limits, pins }, cuts, found);
    const missed = aims.map((outcome) => relax({ terms: [outcome], limits, pins }, cuts, found));
    if (missed.every((least) => least === Infinity)) return Infinity;
    return missed.filter((least) => exceeds(least, goal.within)).length / aims.length;
  });

  let left = mostSteps;
  let proved = Infinity;
  for (const [reach, bound] of bounds.entries()) {
    if (!isBetter(bound, best?.value)) continue;
    const steps = search({
      dag,
      reach,
      measures: [...aims, ...limits.map(({ of }) => of), pins],
      hopeful: (sums) =>
        (sums[sums.length - 1] ?? 0) === 0 &&
        limits.every(({ atMost }, at) => !exceeds(sums[aims.length + at] ?? 0, atMost)) &&
        isBetter(worthOf(goal, sums), best?.value),
      found: (placement) => consider(placement, reach),
      mostSteps: left,
    });
    if (steps === undefined) {
      left = 0;
      proved = Math.min(proved, bound);
    } else left -= steps;
  }
  if (!best) return undefined;
  const bound = Math.min(best.value, proved);
  return { ...best, bound, exact: !isBetter(bound, best.value) };
}

/** The value of a goal for one placement. */
export function goalValue(dag: Dag, placement: Placement, reach: number, goal: SplitGoal): number {
  const sums = Float64Array.from(aimsOf(goal), (measure) => measured(dag, placement, reach, measure));
  return worthOf(goal, sums);
}

function aimsOf(goal: SplitGoal): readonly Measure[] {
  return goal.kind === "sum" ? [goal.of] : goal.of;
}

/** Whether a placement keeps a limit, but for rounding. */
export function keepsLimit(dag: Dag, placement: Placement, reach: number, { of, atMost }: Limit): boolean {
  return !exceeds(measured(dag, placement, reach, of), atMost);
}

/** The value of a goal, from its sums; never less when sums are larger. */
function worthOf(goal: SplitGoal, sums: Float64Array): number {
  if (goal.kind === "sum") return sums[0] ?? 0;
  const count = goal.of.length;
  let worth = 0;
  for (let at = 0; at < count; at++) {
    const sum = sums[at] ?? 0;
    if (goal.kind === "worst") worth = Math.max(worth, sum);
    else if (exceeds(sum, goal.within)) worth += 1 / count;
  }
  return worth;
}

function exceeds(sum: number, most: number): boolean {
  return sum > most + close * Math.max(1, Math.abs(most));
}

function isBetter(value: number, than: number | undefined): boolean {
  return than === undefined ? value < Infinity : value < than - close * Math.max(1, Math.abs(than));
}
