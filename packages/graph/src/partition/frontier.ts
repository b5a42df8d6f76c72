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
 * Indices of the points that are the cheapest for some prices, ascending. `slackRatio` keeps also those that come within
 * that share of the best, for points that were measured with noise or estimated. Points that agree exactly are all kept.
 */
export function frontier(points: readonly SplitPoint[], slackRatio = 0): readonly number[] {
  const scaled = normalised(points);
  const order = witnesses(scaled);
  return points.flatMap((_point, index) => {
    const own = scaled[index];
    return own && wins(own, index, scaled, order, slackRatio) ? [index] : [];
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

function wins(
  own: Triple,
  index: number,
  points: readonly Triple[],
  first: readonly number[],
  slackRatio: number,
): boolean {
  let region: readonly Triple[] = [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ];
  const beatenBy = (rival: Triple | undefined): boolean => {
    if (!rival) return false;
    region = clip(region, [
      own[0] - rival[0] * (1 + slackRatio),
      own[1] - rival[1] * (1 + slackRatio),
      own[2] - rival[2] * (1 + slackRatio),
    ]);
    return area(region) <= least;
  };
  for (const rival of first) if (rival !== index && beatenBy(points[rival])) return false;
  for (const [rival, point] of points.entries()) if (rival !== index && beatenBy(point)) return false;
  return true;
}

/** Areas below this are lines and corners blurred by rounding; the whole triangle has 0.5 in these coordinates. */
const least = 1e-9;

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
  const rounding = 1e-12;
  const heights = polygon.map((corner) => price(corner, normal));
  if (heights.every((height) => height <= rounding)) return polygon;
  const kept: Triple[] = [];
  for (const [index, corner] of polygon.entries()) {
    const following = (index + 1) % polygon.length;
    const [here = 0, there = 0] = [heights[index], heights[following]];
    const next = polygon[following] ?? corner;
    if (here <= rounding) kept.push(corner);
    if ((here <= rounding && there > rounding) || (here > rounding && there <= rounding)) {
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
