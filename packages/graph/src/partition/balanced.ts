import type { SplitPoint } from "./frontier.ts";

/** How many times as slow the head's endpoint may be as the tail's, for frames one after another. */
const slowness = [0.25, 0.5, 1, 2, 4];

/** Points this close to the best balance are as good: then the fewest bytes decide. */
const near = 1.1;

/**
 * Indices of the points where head and tail take about as long, for endpoints of several relative speeds, ascending. With
 * frames one after another all endpoints work at once and the slower of the two sets the pace: such a point can be the best
 * although at no prices the sum of head, tail and bytes is the least there.
 */
export function balanced(points: readonly SplitPoint[]): readonly number[] {
  const chosen = new Set<number>();
  for (const factor of slowness) {
    const busiest = points.map(({ head, tail }) => Math.max(factor * head, tail));
    const least = Math.min(...busiest);
    let best: number | undefined;
    for (const [index, busy] of busiest.entries()) {
      if (busy > near * least) continue;
      if (best === undefined || (points[index]?.transfer ?? 0) < (points[best]?.transfer ?? 0)) best = index;
    }
    if (best !== undefined) chosen.add(best);
  }
  return [...chosen].sort((a, b) => a - b);
}
