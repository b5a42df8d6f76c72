import type { Clock } from "./clock.ts";
import { abortError, type Stage } from "./error.ts";

/**
 * Lets everything else that is due go first: what is long is done in steps with this between them. Throws `abort`'s error where
 * that is aborted after it, so that work that nobody waits for ends.
 */
export async function turnWhileWanted(clock: Clock, abort: AbortSignal, stage: Stage): Promise<void> {
  await new Promise<void>((resolve) => void clock.timer(0, resolve));
  if (abort.aborted) throw abortError(abort, stage);
}

/**
 * Does work that yields after each two milliseconds or so, with a `pause` where it does; at once where it takes one step.
 * What the pause throws ends the work.
 */
export function inSteps<T>(work: Generator<void, T>, pause: () => Promise<void>): T | Promise<T> {
  const first = work.next();
  return first.done === true ? first.value : furtherSteps(work, pause);
}

async function furtherSteps<T>(work: Generator<void, T>, pause: () => Promise<void>): Promise<T> {
  for (;;) {
    await pause();
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** The same work without a pause, for who has nothing else to do. */
export function allSteps<T>(work: Generator<void, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}
