import type { Clock } from "@longshore/core";

/** Cores that work is spread over evenly. */
export interface SharedProcessor {
  /**
   * Works off this many milliseconds of a core, more slowly while more is under way than there are cores, then calls `done`.
   */
  run(workMs: number, done: () => void): void;
}

interface Task {
  leftMs: number;
  readonly done: () => void;
}

/** The rest that rounding may leave of a finished task, in milliseconds. */
const nothingMs = 1e-6;

/** A processor of `cores`: each task has one of them, or an equal part of all. */
export function sharedProcessor({
  clock,
  cores,
}: {
  readonly clock: Clock;
  readonly cores: number;
}): SharedProcessor {
  const tasks = new Set<Task>();
  let seenMs = clock.nowMs();
  let timer: Disposable | undefined;

  const rate = (): number => Math.min(1, cores / tasks.size);

  /** Counts what was worked off since the tasks were last seen. */
  function seen(): void {
    const nowMs = clock.nowMs();
    const workedMs = (nowMs - seenMs) * rate();
    for (const task of tasks) task.leftMs -= workedMs;
    seenMs = nowMs;
  }

  /** Waits for the next task to end. */
  function arm(): void {
    timer?.[Symbol.dispose]();
    timer = undefined;
    if (tasks.size === 0) return;
    let leastMs = Infinity;
    for (const { leftMs } of tasks) leastMs = Math.min(leastMs, leftMs);
    timer = clock.timer(Math.max(0, leastMs) / rate(), () => {
      seen();
      const over = [...tasks].filter(({ leftMs }) => leftMs <= nothingMs);
      for (const task of over) tasks.delete(task);
      arm();
      for (const task of over) task.done();
    });
  }

  return {
    run(workMs, done) {
      seen();
      tasks.add({ leftMs: workMs, done });
      arm();
    },
  };
}
