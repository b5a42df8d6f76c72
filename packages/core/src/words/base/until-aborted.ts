import type { Clock } from "./clock.ts";
import { abortError, type Stage } from "./error.ts";
import { neverAborted, whenAborted } from "./when-aborted.ts";

/**
 * Settles as `work` does, or rejects as soon as `abort` fires; the work goes on, and what becomes of it then is dropped.
 */
export function untilAborted<T>(work: Promise<T>, abort: AbortSignal, stage: Stage): Promise<T> {
  if (abort === neverAborted) return work;
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(abortError(abort, stage));
    if (abort.aborted) stop();
    const stopListening = whenAborted(abort, stop);
    work.then(
      (value) => {
        stopListening();
        resolve(value);
      },
      (thrown: unknown) => {
        stopListening();
        reject(thrown);
      },
    );
  });
}

/** Waits for `done`, but no longer than `waitMs`; rejects as `untilAborted` does, and when `done` does. */
export async function waitAtMost(
  done: Promise<void>,
  waitMs: number,
  abort: AbortSignal,
  clock: Clock,
  stage: Stage,
): Promise<void> {
  if (waitMs === Infinity) return untilAborted(done, abort, stage);
  let timer: Disposable | undefined;
  const over = new Promise<void>((resolve) => {
    timer = clock.timer(Math.max(0, waitMs), resolve);
  });
  try {
    await untilAborted(Promise.race([done, over]), abort, stage);
  } finally {
    timer?.[Symbol.dispose]();
  }
}
