/*
 * Which of many ways to split can be the best one for somebody?
 *
 * The head runs at a place that is a times as slow as the machine of the measurement, the tail at one b times as slow,
 * and bytes cost c each (one over the rate of the link, or energy, or money: all have this form). None of the three is
 * known beforehand. A way is on the **frontier** when some a, b, c of 0 or more make it the cheapest. That is stricter
 * than being undominated: of three cuts along a chain none dominates another, yet the middle one with the most bytes is
 * never the best.
 *
 * Test for one way: the prices for which it beats a rival form a half-plane of the triangle a + b + c = 1, so clip the
 * triangle by all rivals. If an area remains, those are the prices at which it wins. A line or a corner does not count:
 * there it only draws with its neighbours, as every cut of a chain does when bytes are free.
 */

/** What one way to split costs, in any units, the same for all ways compared. */
export interface SplitPoint {
  readonly head: number;
  readonly tail: number;
  readonly transfer: number;
}

type Triple = readonly [number, number, number];

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
 * Who wins somewhere. A point that the witnesses beat everywhere can be left out as a rival, too, because one of them
 * takes its place at any prices; so few points are ever compared with each other.
 */
function exactFrontier(points: readonly Triple[]): readonly number[] {
  const first = witnesses(points);
  const left = points.flatMap((own, index) =>
    winningArea(own, index, points, first, 0, rounding) > rounding ? [index] : [],
  );
  const rivals = [...new Set([...first, ...left])];
  return left.filter((index) => {
    const own = points[index];
    return own !== undefined && winningArea(own, index, points, rivals, 0, rounding) > rounding;
  });
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

function price(point: Triple, prices: Triple): number {
  return point[0] * prices[0] + point[1] * prices[1] + point[2] * prices[2];
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
  let region: readonly Triple[] = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ];
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

/** Areas below this are lines and corners blurred by rounding. */
const rounding = 1e-9;
const triangleArea = 0.5;

/** Area of a polygon of prices, seen along the third of them. */
function area(polygon: readonly Triple[]): number {
  let twice = 0;
  for (const [index, corner] of polygon.entries()) {
    const next = polygon[(index + 1) % polygon.length] ?? corner;
    twice += corner[0] * next[1] - next[0] * corner[1];
  }
  return Math.abs(twice) / 2;
}

/** The part of a convex polygon where `normal . corner` is at most 0 (Sutherland and Hodgman, 1974). */
function clip(polygon: readonly Triple[], normal: Triple): readonly Triple[] {
  const nothing = 1e-12;
  const heights = polygon.map((corner) => price(corner, normal));
  if (heights.every((height) => height <= nothing)) return polygon;
  const kept: Triple[] = [];
  for (const [index, corner] of polygon.entries()) {
    const following = (index + 1) % polygon.length;
    const [here = 0, there = 0] = [heights[index], heights[following]];
    const next = polygon[following] ?? corner;
    if (here <= nothing) kept.push(corner);
    if ((here <= nothing && there > nothing) || (here > nothing && there <= nothing)) {
      const share = here / (here - there);
      kept.push([
        corner[0] + (next[0] - corner[0]) * share,
        corner[1] + (next[1] - corner[1]) * share,
        corner[2] + (next[2] - corner[2]) * share,
      ]);
    }
  }
  return kept;
}

/**
 * At most `limit` points worth measuring, ascending: the frontier of the estimates, widened by slack while there is
 * room, or thinned evenly when even the exact frontier is larger.
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
