import { estimateSize, guardPlan } from "../estimate/index.ts";
import { meanValue } from "./priced.ts";

/** What a back-up makes of a remote candidate. */
export interface Guarded {
  /** Wait in milliseconds before the back-up starts; Infinity for never. */
  readonly afterMs: number;
  /** Completion with the back-up: 16 values. */
  readonly values: Float64Array;
}

/**
 * What a back-up that runs in `backUp` makes of a completion: the remote answer when it comes before the guard, else the
 * first of the two. Slow is taken to come with slow, as everywhere in beliefs.
 */
export function guardedValues(
  remote: Float64Array,
  backUp: Float64Array,
  extraRunPrice: number,
  view: { readonly atMs: number },
): Guarded {
  if (!Number.isFinite(extraRunPrice)) return { afterMs: Infinity, values: remote };
  const { waitMs } = guardPlan({
    remoteMs: { values: remote, observedAtMs: view.atMs, origin: "measured" },
    localMs: meanValue(backUp),
    extraRunPrice,
  });
  if (waitMs === Infinity) return { afterMs: Infinity, values: remote };
  const values = new Float64Array(estimateSize);
  for (let index = 0; index < estimateSize; index++) {
    const finish = remote[index] ?? 0;
    values[index] = finish <= waitMs ? finish : Math.min(finish, waitMs + (backUp[index] ?? 0));
  }
  return { afterMs: waitMs, values };
}
