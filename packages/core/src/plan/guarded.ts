import { estimateSize, guardPlan } from "../estimate/index.ts";
import type { BackUp } from "./finalists.ts";
import type { Question } from "./question.ts";
import { hardlyMore, judge, meanValue, readingOf } from "../table/index.ts";

/** A back-up that is to be in time for the deadline is judged by its slowest runs. */
const carefulReading = readingOf(1);
/** Within so much of what is left until the deadline, hardly any answer is there before a second run has begun. */
const nearlyAtOnceRatio = 0.05;

/** What a back-up makes of a remote candidate. */
export interface Guarded {
  /** Wait in milliseconds, after the head, before the back-up starts; Infinity for never. */
  readonly afterMs: number;
  /** Completion with the back-up: 16 values. */
  readonly values: Float64Array;
  /** Share of all cases in which the back-up runs. */
  readonly backUpRatio: number;
}

/**
 * What a back-up that runs in the values of `backUp` makes of a completion: the remote answer when it comes before the guard, else the
 * first of the two. Where the chance to be in time is made small, it starts in time for the deadline whatever it costs. Neither can start before the head here is done, so its `head` (what of the completion is before that) is
 * taken off first and added again. Slow is taken to come with slow, as everywhere in beliefs.
 */
export function guardedValues(
  { scratch, view, goal, remainingMs }: Question,
  remote: Float64Array,
  { values: backUp, head }: BackUp,
  extraRunPrice: number,
): Guarded {
  const headMs = head ? meanValue(head) : 0;
  const latestMs = goal.kind === "chance" ? inTimeMs(remainingMs - headMs, backUp) : Infinity;
  const affords = Number.isFinite(extraRunPrice);
  if (!affords && latestMs === Infinity) return unguarded(remote);
  const values = head ? scratch.beliefs.take() : remote;
  if (head) {
    for (let index = 0; index < estimateSize; index++) {
      values[index] = (remote[index] ?? 0) - (head[index] ?? 0);
    }
  }
  const plan =
    affords &&
    guardPlan({
      remoteMs: { values, observedAtMs: view.atMs, origin: "measured" },
      localMs: meanValue(backUp),
      extraRunPrice,
    });
  const waitMs = Math.max(0, Math.min(plan ? plan.waitMs : Infinity, latestMs));
  if (waitMs === Infinity) return unguarded(remote);
  let late = 0;
  const guarded = scratch.beliefs.take();
  for (let index = 0; index < estimateSize; index++) {
    const finish = values[index] ?? 0;
    if (finish > waitMs) late++;
    const first = finish <= waitMs ? finish : Math.min(finish, waitMs + (backUp[index] ?? 0));
    guarded[index] = first + (head?.[index] ?? 0);
  }
  return { afterMs: waitMs, values: guarded, backUpRatio: late / estimateSize };
}

/** A completion without a back-up. */
export function unguarded(values: Float64Array): Guarded {
  return { afterMs: Infinity, values, backUpRatio: 0 };
}

/**
 * When another run must start to keep a deadline in `remainingMs` by its slowest runs; where those take longer than there is, or
 * nearly so, by what it seldom exceeds, which may be nearly at once, too; and never where that takes longer as well: it would cost a
 * run for every request, and be there in time for next to none.
 */
export function inTimeMs(remainingMs: number, values: Float64Array): number {
  const carefulMs = remainingMs - judge(values, carefulReading);
  if (carefulMs > nearlyAtOnceRatio * remainingMs) return carefulMs;
  const seldomMs = remainingMs - hardlyMore(values);
  return seldomMs >= 0 ? seldomMs : Infinity;
}
