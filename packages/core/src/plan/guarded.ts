import { estimateSize, guardPlan } from "../estimate/index.ts";
import type { BackUp } from "./finalists.ts";
import type { Question } from "./question.ts";
import { meanValue } from "../table/index.ts";

/** What a back-up makes of a remote candidate. */
export interface Guarded {
  /** Wait in milliseconds, after the head, before the back-up starts; Infinity for never. */
  readonly afterMs: number;
  /** Completion with the back-up: 16 values. */
  readonly values: Float64Array;
}

/**
 * What a back-up that runs in the values of `backUp` makes of a completion: the remote answer when it comes before the guard, else the
 * first of the two. Neither can start before the head here is done, so its `head` (what of the completion is before that) is
 * taken off first and added again. Slow is taken to come with slow, as everywhere in beliefs.
 */
export function guardedValues(
  { scratch, view }: Question,
  remote: Float64Array,
  { values: backUp, head }: BackUp,
  extraRunPrice: number,
): Guarded {
  if (!Number.isFinite(extraRunPrice)) return { afterMs: Infinity, values: remote };
  const values = head ? scratch.beliefs.take() : remote;
  if (head) {
    for (let index = 0; index < estimateSize; index++) {
      values[index] = (remote[index] ?? 0) - (head[index] ?? 0);
    }
  }
  const { waitMs } = guardPlan({
    remoteMs: { values, observedAtMs: view.atMs, origin: "measured" },
    localMs: meanValue(backUp),
    extraRunPrice,
  });
  if (waitMs === Infinity) return { afterMs: Infinity, values: remote };
  const guarded = scratch.beliefs.take();
  for (let index = 0; index < estimateSize; index++) {
    const finish = values[index] ?? 0;
    const first = finish <= waitMs ? finish : Math.min(finish, waitMs + (backUp[index] ?? 0));
    guarded[index] = first + (head?.[index] ?? 0);
  }
  return { afterMs: waitMs, values: guarded };
}
