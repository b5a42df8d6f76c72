import { isMainThread } from "node:worker_threads";

/*
 * Ending the program while a worker is inside native code aborts it (SIGABRT, a core dump, exit status 134): the binding throws into an
 * environment that is being torn down. An abort of a call must not wait, but the end of the program can, so this guard waits there until
 * the runs under way are over. After its time limit it ends the process with a signal: Node.js would wait for the run, however long it
 * takes, and abort then.
 */

/** Keeps `process.exit` and uncaught errors from tearing down runs. */
export interface ExitGuard {
  /** Watches an Int32 that is 1 while native code runs and that is notified when it turns 0. */
  watch(busy: Int32Array): Disposable;
}

/** How long the end of the program waits for runs, in milliseconds. */
const longestWaitMs = 10_000;

/**
 * The process has a listener only while something is watched, and the limit on listeners is raised by one for it.
 *
 * @param waitMs Time limit for all runs together. Default 10 s.
 */
export function exitGuard(waitMs: number = longestWaitMs): ExitGuard {
  const watched = new Set<Int32Array>();
  const wait = (): void => {
    const untilMs = performance.now() + waitMs;
    let over = true;
    for (const busy of watched) {
      const waited = Atomics.wait(busy, 0, 1, Math.max(0, untilMs - performance.now()));
      if (waited === "timed-out") over = false;
    }
    if (over || !isMainThread) return;
    process.removeAllListeners("SIGTERM");
    process.kill(process.pid, "SIGTERM");
  };
  return {
    watch(busy) {
      if (watched.size === 0) {
        process.setMaxListeners(process.getMaxListeners() + 1);
        process.on("exit", wait);
      }
      watched.add(busy);
      return {
        [Symbol.dispose]() {
          if (!watched.delete(busy) || watched.size > 0) return;
          process.off("exit", wait);
          process.setMaxListeners(process.getMaxListeners() - 1);
        },
      };
    },
  };
}
