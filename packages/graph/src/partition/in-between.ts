import type { Placement } from "./measure.ts";

/** Positions tried in each round. */
const looks = 12;
/** Rounds; each searches around the best position of the one before. */
const rounds = 3;

/**
 * Looks for something better between two legal placements. Minimum cuts jump: from one price to the next a whole block of
 * nodes changes its tier, and the best placement splits that block. The nearer tier of the two for the first nodes in
 * topological order, and the further one for the rest, is legal wherever the line is drawn; `score` says how good each is.
 */
export function lookBetween(a: Placement, b: Placement, score: (placement: Placement) => number): void {
  let [low, high] = [0, a.length];
  const mixed = new Uint8Array(a.length);
  for (let round = 0; round < rounds && high - low > 1; round++) {
    const stride = Math.max(1, (high - low) / looks);
    let [bestAt, best] = [low, Infinity];
    for (let position = low; position <= high; position += stride) {
      const line = Math.round(position);
      for (let node = 0; node < a.length; node++) {
        const [one = 0, other = 0] = [a[node], b[node]];
        mixed[node] = node < line ? Math.min(one, other) : Math.max(one, other);
      }
      const value = score(mixed);
      if (value < best) [bestAt, best] = [position, value];
    }
    [low, high] = [Math.max(low, bestAt - stride), Math.min(high, bestAt + stride)];
  }
}
