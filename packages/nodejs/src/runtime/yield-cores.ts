import { readdirSync, readlinkSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/** The highest niceness there is: the smallest share of a contended core. */
export const nicest = 19;

/** What a thread is told when it starts. */
export interface ThreadData {
  readonly niceness: number;
}

/**
 * Lets others have the cores before the calling thread, and before threads that it starts from now on: more by `niceness`
 * than until now. Only Linux keeps that for each thread; elsewhere, and where `/proc` names no thread, nothing happens
 * (ADR 17 tells what it is for).
 */
export function yieldCores({ niceness }: ThreadData): void {
  if (niceness === 0 || process.platform !== "linux") return;
  try {
    // <process>/task/<thread>
    const thread = Number(readlinkSync("/proc/thread-self").split("/").at(-1));
    // 0 would be the whole process.
    if (Number.isSafeInteger(thread) && thread > 0) {
      setPriority(thread, Math.min(nicest, getPriority(thread) + niceness));
    }
  } catch {
    // Requests are answered all the same, only less evenly under load.
  }
}

/**
 * The same for what the calling thread was started with; a thread that somebody else started is left as it is.
 *
 * @example
 * ```ts
 * import { workerData } from "node:worker_threads";
 * import { yieldAsTold } from "@longshore/nodejs";
 *
 * // In a worker thread: as much as its maker said.
 * yieldAsTold(workerData);
 * ```
 */
export function yieldAsTold(data: unknown): void {
  const niceness: unknown = (data as Partial<ThreadData> | null | undefined)?.niceness;
  if (typeof niceness === "number") yieldCores({ niceness });
}

/**
 * Lets the thread that answers, the first of the process, have the cores before all others that there are by now: those with which
 * Node.js compiles, collects and reads files. One that yields as much already is left as it is.
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
  if (niceness === 0 || process.platform !== "linux") return;
  try {
    const wanted = Math.min(nicest, getPriority(process.pid) + niceness);
    for (const thread of readdirSync("/proc/self/task").map(Number)) {
      if (thread !== process.pid) yieldUpTo(wanted, thread);
    }
  } catch {
    // As above.
  }
}

function yieldUpTo(wanted: number, thread: number): void {
  try {
    if (getPriority(thread) < wanted) setPriority(thread, wanted);
  } catch {
    // It has ended since it was listed.
  }
}
