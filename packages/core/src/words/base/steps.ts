import type { Clock } from "./clock.ts";
import { abortError, type Stage } from "./error.ts";

/**
 * Lets all other work that is due go first: long work is done in steps with this between them. Throws `abort`'s error if that
 * is aborted afterwards, so that work without a waiting caller ends.
 */
export async function turnWhileWanted(clock: Clock, abort: AbortSignal, stage: Stage): Promise<void> {
  await new Promise<void>((resolve) => void clock.timer(0, resolve));
  if (abort.aborted) throw abortError(abort, stage);
}

/**
 * Does work that yields after each two milliseconds or so, with a `pause` where it does; at once where it takes one step. An
 * error that the pause throws ends the work.
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

/** The same work without a pause, for a thread that has nothing else to do. */
export function allSteps<T>(work: Generator<void, T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Bytes that are copied before other work gets its turn: about two milliseconds into fresh memory. */
export const copiedAtOnce: number = 2 * 2 ** 20;

/**
 * Copies `source` into `target` from `offset` on, a piece at a time. The work yields where more than `copiedAtOnce` bytes would be copied
 * at once, of all that one function is called for; it ends early where the memory of `source` was moved away meanwhile.
 */
export function steppedCopy(): (
  target: Uint8Array,
  offset: number,
  source: Uint8Array,
) => Generator<void, void> {
  const since = { copied: 0 };
  return (target, offset, source) => copyWork(since, target, offset, source);
}

/** Stands by itself: engines give each closure that is a generator a prototype and a hidden shape of its own. */
function* copyWork(
  since: { copied: number },
  target: Uint8Array,
  offset: number,
  source: Uint8Array,
): Generator<void, void> {
  const { byteLength } = source;
  for (let from = 0; from < byteLength; from += copiedAtOnce) {
    const size = Math.min(copiedAtOnce, byteLength - from);
    if (since.copied > 0 && since.copied + size > copiedAtOnce) {
      yield;
      since.copied = 0;
    }
    if (source.byteLength !== byteLength) return;
    target.set(size === byteLength ? source : source.subarray(from, from + size), offset + from);
    since.copied += size;
  }
}
