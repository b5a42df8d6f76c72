import { readdirSync, readFileSync } from "node:fs";

/** The shares of the cores that the threads of a process had during a measurement. */
export interface ThreadTimes {
  /** The main thread at work. */
  readonly mainRatio: number;
  /** The busiest of the others at work: that of a single instance's worker. */
  readonly workerRatio: number;
  /** The same thread ready to work, and waiting for a core. */
  readonly workerWaitRatio: number;
}

interface Spent {
  readonly ranMs: number;
  readonly waitedMs: number;
}

/** By thread, since each began. */
function spent(pid: number): ReadonlyMap<string, Spent> {
  const threads = new Map<string, Spent>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const [ran = 0, waited = 0] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8")
        .split(" ")
        .map((nanoseconds) => Number(nanoseconds) / 1e6);
      threads.set(thread, { ranMs: ran, waitedMs: waited });
    } catch {
      // It ended meanwhile.
    }
  }
  return threads;
}

/** Begins to measure; the function that comes back ends it. Only Linux counts that: elsewhere undefined. */
export function watchThreads(pid: number): () => ThreadTimes | undefined {
  if (process.platform !== "linux") return () => undefined;
  const beforeMs = performance.now();
  const before = spent(pid);
  return () => {
    const passedMs = performance.now() - beforeMs;
    let [mainRatio, workerRatio, workerWaitRatio] = [0, 0, 0];
    for (const [thread, { ranMs, waitedMs }] of spent(pid)) {
      const ratio = (ranMs - (before.get(thread)?.ranMs ?? 0)) / passedMs;
      if (thread === String(pid)) mainRatio = ratio;
      else if (ratio > workerRatio) {
        workerRatio = ratio;
        workerWaitRatio = (waitedMs - (before.get(thread)?.waitedMs ?? 0)) / passedMs;
      }
    }
    return { mainRatio, workerRatio, workerWaitRatio };
  };
}
