import { estimateSize, guardPlan } from "../estimate/index.ts";
import { meanValue } from "./priced.ts";

/** What a back-up makes of a remote candidate. */
export interface Guarded {
  /** Wait in milliseconds, after the head, before the back-up starts; Infinity for never. */
  readonly afterMs: number;
  /** Completion with the back-up: 16 values. */
  readonly values: Float64Array;
}

/**
 * What a back-up that runs in `backUp` makes of a completion: the remote answer when it comes before the guard, else the
 * first of the two. Neither can start before the head here is done, so `head` (what of the completion is before that) is
 * taken off first and added again. Slow is taken to come with slow, as everywhere in beliefs.
 */
export function guardedValues(
  remote: Float64Array,
  head: Float64Array | undefined,
  backUp: Float64Array,
  extraRunPrice: number,
  atMs: number,
): Guarded {
  if (!Number.isFinite(extraRunPrice)) return { afterMs: Infinity, values: remote };
  const values = head ? remote.map((value, index) => value - (head[index] ?? 0)) : remote;
  const { waitMs } = guardPlan({
    remoteMs: { values, observedAtMs: atMs, origin: "measured" },
    localMs: meanValue(backUp),
    extraRunPrice,
  });
  if (waitMs === Infinity) return { afterMs: Infinity, values: remote };
  const guarded = new Float64Array(estimateSize);
  for (let index = 0; index < estimateSize; index++) {
    const finish = values[index] ?? 0;
    const first = finish <= waitMs ? finish : Math.min(finish, waitMs + (backUp[index] ?? 0));
    guarded[index] = first + (head?.[index] ?? 0);
  }
  return { afterMs: waitMs, values: guarded };
}
