import {
  type ChainMeasures,
  type Dag,
  goalValue,
  isLegal,
  keepsLimit,
  measured,
  type Pins,
  pinned,
  type Placement,
  planSplit,
  type SplitAnswer,
} from "@longshore/graph";
import type { NamedGoal, NamedLimit } from "./goals.ts";

/** The input of the planner. */
export interface PlacementProblem {
  readonly dag: Dag;
  readonly tiers: number;
  readonly measures: ChainMeasures;
  readonly goal: NamedGoal;
  readonly limits: readonly NamedLimit[];
  readonly pins: Pins;
}

/** Everything at one endpoint. */
export interface WholePlacement {
  readonly tier: number;
  readonly value: number;
  /** Flags that it does not keep. */
  readonly breaks: readonly string[];
}

/** The best placement there is. */
export function bestPlacement({ dag, tiers, goal, limits, pins }: PlacementProblem): SplitAnswer | undefined {
  return planSplit({ dag, tiers, goal: goal.goal, limits, pins });
}

/** All on each endpoint, the device first. */
export function wholePlacements(question: PlacementProblem): readonly WholePlacement[] {
  const { dag, tiers, goal, limits, pins } = question;
  const kept = pinned(dag, tiers, pins);
  return Array.from({ length: tiers }, (_none, tier) => {
    const placement: Placement = new Uint8Array(dag.nodes).fill(tier);
    return {
      tier,
      value: goalValue(dag, placement, tier, goal.goal),
      breaks: [
        ...(isLegal(dag, placement, tier) && measured(dag, placement, tier, kept) === 0 ? [] : ["keep"]),
        ...limits.filter((limit) => !keepsLimit(dag, placement, tier, limit)).map(({ flag }) => flag),
      ],
    };
  });
}

/** A limit, and the least that any placement comes to in what it limits. */
export interface Shortfall {
  readonly limit: NamedLimit;
  readonly least: number;
}

/** Why nothing keeps the limits. */
export interface Impossible {
  /** Limits that no placement keeps, even without the others. */
  readonly alone: readonly Shortfall[];
  /** For limits that can be kept alone: the least value of each when all others are kept, as far as it was found. */
  readonly together: readonly Shortfall[];
}

/** Finds out which limits nothing keeps. */
export function whyImpossible({ dag, tiers, limits, pins }: PlacementProblem): Impossible {
  const least = (limit: NamedLimit, others: readonly NamedLimit[]): number =>
    planSplit({ dag, tiers, goal: { kind: "sum", of: limit.of }, limits: others, pins })?.value ?? Infinity;
  const over = (others: (limit: NamedLimit) => readonly NamedLimit[]): readonly Shortfall[] =>
    limits
      .map((limit) => ({ limit, least: least(limit, others(limit)) }))
      .filter((one) => one.least > one.limit.atMost * (1 + 1e-9));
  const alone = over(() => []);
  if (alone.length > 0) return { alone, together: [] };
  const together = over((limit) => limits.filter((other) => other !== limit));
  return { alone, together: together.filter((one) => Number.isFinite(one.least)) };
}
