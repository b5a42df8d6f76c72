import type { Batching } from "@longshore/core";
import type { Due } from "./queue.ts";
import type { RunTimes } from "./run-times.ts";

/** What matters of a waiting request when runs are shared. */
export interface Candidate extends Due {
  readonly rows: number;
  /** Equal keys may share a run; undefined runs alone. */
  readonly batchKey: string | undefined;
  readonly enqueuedMs: number;
}

/** Who runs now, or until when it is worth waiting for company. */
export type Formed<T> =
  | { readonly kind: "run"; readonly members: readonly T[] }
  | { readonly kind: "wait"; readonly untilMs: number };

/**
 * Chooses who shares a run with the first of the queue. Greedy: whoever waits already and fits. Never more rows than
 * were measured to pay, than the model takes, or than let the most urgent member finish in time. Only a model with
 * `maxQueueDelayMs` waits for company, up to a preferred size, and only while the most urgent can spare the time.
 */
export function formBatch<T extends Candidate>(
  queue: readonly T[],
  { maxBatchSize, preferredSizes = [], maxQueueDelayMs = 0 }: Batching,
  times: RunTimes,
  nowMs: number,
): Formed<T> {
  const [head] = queue;
  if (!head) return { kind: "run", members: [] };
  // A request that brings more rows than are joined shares with nobody; it is one run all the same.
  const full = head.rows >= maxBatchSize;
  if (maxBatchSize <= 1 || head.batchKey === undefined || full) return { kind: "run", members: [head] };
  const fitting: T[] = [];
  let rows = 0;
  for (const item of queue) {
    if (item.batchKey !== head.batchKey || rows + item.rows > maxBatchSize) continue;
    fitting.push(item);
    rows += item.rows;
  }
  const spareMs = head.deadlineMs - nowMs;
  const preferred = preferredSizes.filter((size) => size <= rows);
  if (rows > head.rows && rows < maxBatchSize && preferred.length > 0) rows = Math.max(...preferred);
  else if (rows < maxBatchSize && maxQueueDelayMs > 0) {
    const untilMs = Math.min(...fitting.map(({ enqueuedMs }) => enqueuedMs)) + maxQueueDelayMs;
    const target = Math.min(maxBatchSize, ...preferredSizes.filter((size) => size > rows));
    const pays = times.worthwhileRows(target) > rows;
    if (pays && untilMs > nowMs && untilMs + (times.runMs(target) ?? 0) <= head.deadlineMs) {
      return { kind: "wait", untilMs };
    }
  }
  let most = times.worthwhileRows(rows);
  while (most > head.rows && (times.runMs(most) ?? 0) > spareMs) most = Math.floor(most / 2);
  const members: T[] = [];
  let taken = 0;
  for (const item of fitting) {
    if (members.length > 0 && taken + item.rows > most) continue;
    members.push(item);
    taken += item.rows;
  }
  return { kind: "run", members };
}
