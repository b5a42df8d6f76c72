import { allPrices, area, clip, price, triangleArea, type Triple } from "./prices.ts";

/*
 * Which of many ways to split can be the best one for some endpoints?
 *
 * The head runs at an endpoint that is a times as slow as the machine of the measurement, the tail at one b times as slow, and
 * bytes cost c each (one over the rate of the link, or energy, or money: all have this form). None of the three is known in
 * advance. A way is on the **frontier** when some a, b, c of 0 or more make it the cheapest. That is stricter than being
 * undominated: of three cuts along a chain none dominates another, yet the middle one with the most bytes is never the best.
 *
 * Test for one way: the prices for which it beats a rival form a half-plane of the triangle a + b + c = 1, so clip the triangle
 * by all rivals. In the middle of the rest it has to win by more than rounding. On a line or in a corner it only draws with its
 * neighbours, as every cut of a chain does when bytes are free. (The size of the area says nothing: it is a matter of the
 * units, and a way may win by much in a sliver.)
 */

/** The costs of one way to split, in any units, the same for all ways compared. */
export interface SplitPoint {
  readonly head: number;
  readonly tail: number;
  readonly transfer: number;
}

/**
 * Indices of the points that are the cheapest for some prices, ascending. Points that agree exactly are all kept.
 *
 * `slackRatio` keeps also points that come within that share of the best, for figures that were measured with noise or
 * estimated; but only where they do so for at least `leastShare` of all prices (default a hundredth), because with bytes
 * for nothing and equal speeds all cuts of a chain are about equal, and none of them matters.
 */
export function frontier(
  points: readonly SplitPoint[],
  slackRatio = 0,
  leastShare = 0.01,
): readonly number[] {
  const scaled = normalised(points);
  const exact = exactFrontier(scaled);
  if (slackRatio === 0) return exact;
  const best = new Set(exact);
  const least = leastShare * triangleArea;
  return scaled.flatMap((own, index) =>
    best.has(index) || winningArea(own, index, scaled, exact, slackRatio, least) > least ? [index] : [],
  );
}

/**
 * The points that win at some prices. A point that the witnesses beat everywhere can be left out as a rival, too, because one
 * of them beats it at any prices; so few points are ever compared with each other.
 */
function exactFrontier(points: readonly Triple[]): readonly number[] {
  const rivals = new Set(witnesses(points));
  const left = winners(points.keys(), points, rivals);
  for (const index of left) rivals.add(index);
  return winners(left, points, rivals);
}

/** Those that win. A loser is removed from the rivals: of two that differ by rounding only, the other has to win. */
function winners(
  indices: Iterable<number>,
  points: readonly Triple[],
  rivals: Set<number>,
): readonly number[] {
  const won: number[] = [];
  for (const index of indices) {
    const own = points[index];
    if (own && wins(own, index, points, rivals)) won.push(index);
    else rivals.delete(index);
  }
  return won;
}

/** A win by less than this share of the cost, or of the largest cost, is rounding. */
const leastWinRatio = 1e-9;
const leastWin = 1e-11;

/** Whether a point is cheaper at some prices than all rivals that differ from it. */
function wins(own: Triple, index: number, points: readonly Triple[], rivals: ReadonlySet<number>): boolean {
  const others: Triple[] = [];
  for (const rival of rivals) {
    const point = points[rival];
    if (rival !== index && point?.some((cost, kind) => cost !== own[kind])) others.push(point);
  }
  let region = allPrices;
  for (const point of others) {
    region = clip(region, [own[0] - point[0], own[1] - point[1], own[2] - point[2]]);
    if (region.length === 0) return false;
  }
  const middle = (kind: 0 | 1 | 2): number =>
    region.reduce((sum, corner) => sum + corner[kind], 0) / region.length;
  const prices: Triple = [middle(0), middle(1), middle(2)];
  const cost = price(own, prices);
  const least = Math.max(leastWin, leastWinRatio * cost);
  return others.every((point) => price(point, prices) - cost > least);
}

function normalised(points: readonly SplitPoint[]): readonly Triple[] {
  const largest = (of: (point: SplitPoint) => number): number =>
    points.reduce((most, point) => Math.max(most, of(point)), Number.MIN_VALUE);
  const [mostHead, mostTail, mostTransfer] = [
    largest((point) => point.head),
    largest((point) => point.tail),
    largest((point) => point.transfer),
  ];
  return points.map(({ head, tail, transfer }) => [
    head / mostHead,
    tail / mostTail,
    transfer / mostTransfer,
  ]);
}

/** Winners at a grid of prices: tried first as rivals, because they beat most of the others at once. */
function witnesses(points: readonly Triple[]): readonly number[] {
  const found = new Set<number>();
  const steps = 12;
  for (let a = 0; a <= steps; a++) {
    for (let b = 0; b <= steps - a; b++) {
      const prices: Triple = [a / steps, b / steps, (steps - a - b) / steps];
      let best = 0;
      let least = Infinity;
      for (const [index, point] of points.entries()) {
        const cost = price(point, prices);
        if (cost < least) [best, least] = [index, cost];
      }
      found.add(best);
    }
  }
  return [...found];
}

/** Area of the prices at which a point beats its rivals; not followed further once it is no more than `least`. */
function winningArea(
  own: Triple,
  index: number,
  points: readonly Triple[],
  rivals: readonly number[],
  slackRatio: number,
  least: number,
): number {
  let region = allPrices;
  let left = triangleArea;
  for (const rival of rivals) {
    const point = points[rival];
    if (rival === index || !point) continue;
    region = clip(region, [
      own[0] - point[0] * (1 + slackRatio),
      own[1] - point[1] * (1 + slackRatio),
      own[2] - point[2] * (1 + slackRatio),
    ]);
    left = area(region);
    if (left <= least) return left;
  }
  return left;
}

/**
 * At most `limit` points worth measuring, ascending: the frontier of the estimates, widened by slack up to the limit, or
 * thinned evenly when even the exact frontier is larger.
 */
export function candidates(points: readonly SplitPoint[], limit: number): readonly number[] {
  let chosen = frontier(points);
  for (const slackRatio of [0.02, 0.05, 0.1, 0.2]) {
    const wider = frontier(points, slackRatio);
    if (wider.length > limit) break;
    chosen = wider;
  }
  if (chosen.length <= limit) return chosen;
  return Array.from(
    { length: limit },
    (_unused, index) => chosen[Math.round((index * (chosen.length - 1)) / Math.max(1, limit - 1))] ?? 0,
  );
}
