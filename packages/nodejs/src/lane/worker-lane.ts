import { type Call, type Clock, LongshoreError, type Tensors } from "@longshore/core";
import { abortError, checkCall, whenAborted } from "@longshore/core/internal";
import type { ChainResult, ChainStep, Lane } from "@longshore/engine";
import { builtFile } from "../runtime/built-file.ts";
import { checkNiceness } from "../runtime/check-niceness.ts";
import { laneThread, type LaneThread } from "./lane-thread.ts";

/** How a lane of worker threads is set up. */
export interface WorkerLaneOptions {
  /** Threads, 1 to 256. As many as cores that the transforms may take. */
  readonly workers: number;
  /** Built JavaScript that calls `serveLane`; the default serves all transforms of engine and media. */
  readonly workerUrl?: URL;
  /** Chains that may wait for a thread, default 64 for each: more would only grow old. The next is refused, `queue-full`. */
  readonly maxWaiting?: number;
  /** By how much more than this thread they let others have the cores, 0 to 19; see `OnnxRuntimeOptions`. Default 0. */
  readonly niceness?: number;
  /** For deadlines of calls; without it only the caller cancels. */
  readonly clock?: Clock;
}

interface Waiting {
  readonly chain: readonly ChainStep[];
  readonly values: Tensors;
  readonly keep: readonly string[];
  readonly call: Call;
  resolve(result: ChainResult): void;
  reject(error: unknown): void;
}

function checked({ workers, maxWaiting = 64 * workers }: WorkerLaneOptions): number {
  const fault = (name: string, value: number, least: number, most: number): LongshoreError =>
    new LongshoreError(
      "invalid-configuration",
      "resolve",
      `lane: ${name} is ${value}; allowed is a whole number from ${least} to ${most}`,
    );
  if (!Number.isInteger(workers) || workers < 1 || workers > 256) throw fault("workers", workers, 1, 256);
  if (!Number.isInteger(maxWaiting) || maxWaiting < 0 || maxWaiting > 1e6) {
    throw fault("maxWaiting", maxWaiting, 0, 1e6);
  }
  return maxWaiting;
}

/**
 * A lane of worker threads: a chain of steps is one hop, and only the values in `keep` come back. Inputs are copied once unless
 * they were given; results move. Threads start when a chain needs them or `prepare` says that one soon will, so that a program
 * without transforms pays for none. A cancelled call rejects at once; its chain stops at the next step and only then is the
 * thread free. A thread that dies fails the chain it ran with `runtime-crashed` and is replaced when it is needed.
 *
 * @example
 * ```ts
 * import { workerLane } from "@longshore/nodejs";
 *
 * const lane = workerLane({ workers: 2 });
 * await lane.close();
 * ```
 */
export function workerLane(options: WorkerLaneOptions): Lane {
  const maxWaiting = checked(options);
  const url = options.workerUrl ?? builtFile("lane-worker.js", import.meta.url);
  const niceness = checkNiceness(options.niceness ?? 0);
  const threads = new Set<LaneThread>();
  const waiting = new Set<Waiting>();
  const numbers = new WeakMap<object, number>();
  let lastNumber = 0;
  let closing: Promise<void> | undefined;

  function numberOf(parameters: object): number {
    const number = numbers.get(parameters) ?? ++lastNumber;
    numbers.set(parameters, number);
    return number;
  }

  function start(): LaneThread {
    const thread = laneThread(url, { niceness }, numberOf, () => {
      threads.delete(thread);
      pump();
    });
    threads.add(thread);
    return thread;
  }

  function freeThread(): LaneThread | undefined {
    for (const thread of threads) if (thread.idle()) return thread;
    return threads.size < options.workers ? start() : undefined;
  }

  function pump(): void {
    for (const next of waiting) {
      const thread = freeThread();
      if (!thread) return;
      waiting.delete(next);
      void runOn(thread, next);
    }
  }

  async function runOn(
    thread: LaneThread,
    { chain, values, keep, call, resolve, reject }: Waiting,
  ): Promise<void> {
    let stopListening: (() => void) | undefined;
    try {
      if (options.clock) checkCall(call, options.clock, "queue");
      const result = thread.run(chain, values, keep);
      stopListening = whenAborted(call.abort, () => thread.stop());
      resolve(await result);
    } catch (thrown) {
      reject(thrown);
    } finally {
      stopListening?.();
      pump();
    }
  }

  return {
    prepare() {
      if (closing) return;
      while (threads.size < options.workers) start();
    },
    async run(chain, values, keep, call) {
      if (closing) throw new LongshoreError("shutting-down", "queue", "this lane was closed");
      if (call.abort.aborted) throw abortError(call.abort, "queue");
      if (options.clock) checkCall(call, options.clock, "queue");
      if (
        waiting.size >= maxWaiting &&
        ![...threads].some((thread) => thread.idle()) &&
        threads.size >= options.workers
      ) {
        throw new LongshoreError(
          "queue-full",
          "queue",
          `${waiting.size} chains wait for ${options.workers} threads already; at most ${maxWaiting} may`,
        );
      }
      return new Promise<ChainResult>((resolve, reject) => {
        const one: Waiting = {
          chain,
          values,
          keep,
          call,
          resolve(result) {
            stopListening();
            resolve(result);
          },
          reject(error) {
            stopListening();
            reject(error);
          },
        };
        const cancelled = (): void => {
          waiting.delete(one);
          reject(abortError(call.abort, "execute"));
        };
        const stopListening = whenAborted(call.abort, cancelled);
        waiting.add(one);
        pump();
      });
    },
    close() {
      closing ??= (async () => {
        for (const { reject } of waiting) {
          reject(new LongshoreError("shutting-down", "queue", "this lane is being closed"));
        }
        waiting.clear();
        await Promise.all([...threads].map((thread) => thread.close()));
      })();
      return closing;
    },
  };
}
