import { readdirSync, readlinkSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/** The highest niceness: the smallest share of a contended core. */
export const nicest = 19;

/** Data that a thread gets when it starts. */
export interface ThreadData {
  readonly niceness: number;
}

/**
 * Lowers the priority of the calling thread, and of threads that it starts later, by `niceness`. Only Linux has a priority for each
 * thread; on other systems, and without `/proc`, nothing happens. ADR 17 gives the reason.
 */
export function yieldCores({ niceness }: ThreadData): void {
  if (niceness === 0 || process.platform !== "linux") return;
  try {
    // <process>/task/<thread>
    const thread = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    // 0 would mean the whole process.
    if (Number.isSafeInteger(thread) && thread > 0) {
      setPriority(thread, Math.min(nicest, getPriority(thread) + niceness));
    }
  } catch {
    // Requests are still answered, only less evenly under load.
  }
}

/**
 * Applies the data with which the calling thread was started. A thread with other data keeps its priority.
 *
 * @example
 * ```ts
 * import { workerData } from "node:worker_threads";
 * import { yieldAsConfigured } from "@longshore/nodejs";
 *
 * // In a worker thread: as much as its maker said.
 * yieldAsConfigured(workerData);
 * ```
 */
export function yieldAsConfigured(data: unknown): void {
  const niceness: unknown = (data as Partial<ThreadData> | null | undefined)?.niceness;
  if (typeof niceness === "number") yieldCores({ niceness });
}

/**
 * Lowers the priority of all current threads of the process except the first, which answers requests: Node.js compiles, collects and reads
 * files in the others. A thread with a lower priority keeps it.
 *
 * @example
 * ```ts
 * import { yieldToFirst } from "@longshore/nodejs";
 *
 * // All threads of this process but the first give way to it, on Linux.
 * yieldToFirst({ niceness: 5 });
 * ```
 */
export function yieldToFirst({ niceness }: ThreadData): void {
  if (process.platform === "linux") lowerOthers(niceness, process.pid, ownThreads);
}

/** The threads of a process. Each call throws if a thread has ended. */
export interface Threads {
  list(): readonly number[];
  niceness(thread: number): number;
  setNiceness(thread: number, niceness: number): void;
}

const ownThreads: Threads = {
  list: () => readdirSync("/proc/self/task").map(Number),
  niceness: getPriority,
  setNiceness: setPriority,
};

/** Gives all threads but the first at least its niceness and this much more. */
export function lowerOthers(niceness: number, first: number, threads: Threads): void {
  if (niceness === 0) return;
  try {
    const wanted = Math.min(nicest, threads.niceness(first) + niceness);
    for (const thread of threads.list()) if (thread !== first) yieldUpTo(wanted, thread, threads);
  } catch {
    // The same: requests are only answered less evenly.
  }
}

function yieldUpTo(wanted: number, thread: number, threads: Threads): void {
  try {
    if (threads.niceness(thread) < wanted) threads.setNiceness(thread, wanted);
  } catch {
    // The thread has ended since it was listed.
  }
}
