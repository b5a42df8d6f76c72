import type { Batching } from "@longshore/core";
import { type ArrivalPaces, worthwhileWaitMs } from "./company.ts";
import type { QueuePriority, Flow } from "./fair-queue.ts";
import type { RunTimes } from "./run-times.ts";

/** The facts of a waiting request that decide whether it can share a run. */
export interface Candidate extends QueuePriority {
  readonly rows: number;
  /** Bytes of one row, from which its run time is estimated. */
  readonly rowBytes: number;
  /** Equal keys may share a run; undefined runs alone. */
  readonly batchKey: string | undefined;
  readonly enqueuedMs: number;
}

/** The requests that run now, or how long to wait for more. */
export type Formed<T> =
  | { readonly kind: "run"; readonly members: readonly T[] }
  | { readonly kind: "wait"; readonly untilMs: number };

/** Inputs of batch forming, besides the waiting requests. */
export interface Forming {
  readonly batching: Batching;
  readonly times: RunTimes;
  readonly nowMs: number;
  /** Expected time until the next request that could join. */
  readonly gapMs: number;
  /** Number of idle instances. While there are two, a new request does not wait. */
  readonly idle: number;
  /** Since when an instance has been idle. */
  readonly idleSinceMs: number;
  /** Whether everything that arrived up to the last request was considered since. */
  readonly turnOver: boolean;
}

/**
 * Chooses which waiting requests share a run with the first, in the order of service. The batch never has more rows than were measured to
 * pay, than the model takes, or than let the most urgent member meet its deadline. How long to wait for more requests is learned
 * (`worthwhileWaitMs`) or set by the model (`maxQueueDelayMs`, towards a preferred size), and limited to the time that the most urgent
 * member can spare.
 */
export function formBatch<T extends Candidate>(head: T, waiting: Iterable<T>, forming: Forming): Formed<T> {
  const { batching, times, nowMs } = forming;
  const { maxBatchSize, preferredSizes = [] } = batching;
  // A request with more rows than are joined runs alone, as one run.
  const alone = maxBatchSize <= 1 || head.batchKey === undefined || head.rows >= maxBatchSize;
  if (alone) return { kind: "run", members: [head] };
  const fitting: T[] = [];
  let rows = 0;
  for (const item of waiting) {
    if (item.batchKey !== head.batchKey || rows + item.rows > maxBatchSize) continue;
    fitting.push(item);
    rows += item.rows;
    if (rows === maxBatchSize) break;
  }
  const reached = preferredSizes.filter((size) => size <= rows);
  if (rows < maxBatchSize && reached.length > 0 && rows > head.rows) rows = Math.max(head.rows, ...reached);
  else if (rows < maxBatchSize) {
    const untilMs = companyUntil(fitting, rows, forming);
    if (untilMs > nowMs) return { kind: "wait", untilMs };
    if (worthFirstTurn(rows, head, forming)) return { kind: "wait", untilMs: nowMs };
  }
  let most = rows > head.rows ? Math.max(head.rows, times.worthwhileRows(rows, head.rowBytes)) : rows;
  const spareMs = earliestDeadline(fitting) - nowMs;
  while (most > head.rows && (times.runMs(most, head.rowBytes) ?? 0) > spareMs) most = Math.floor(most / 2);
  const members: T[] = [];
  let taken = 0;
  for (const item of fitting) {
    if (members.length > 0 && taken + item.rows > most) continue;
    members.push(item);
    taken += item.rows;
  }
  return { kind: "run", members };
}

/**
 * Chooses the next run among the waiting requests, by tenant in the order of service. A tenant that waits to fill its own batch does not
 * delay others. Where tenants share runs, all requests may fill it.
 */
export function formNext<T extends Candidate>(
  flows: readonly Flow<T>[],
  shared: boolean,
  paces: ArrivalPaces,
  forming: Omit<Forming, "gapMs">,
): Formed<T> | undefined {
  const { batching, times, nowMs, idle, idleSinceMs, turnOver } = forming;
  const everybody = shared ? flows.flatMap(({ items }) => items) : [];
  let untilMs = Infinity;
  for (const { tenant, items } of flows) {
    const [head] = items;
    if (!head) continue;
    const gapMs = flows.length > 1 && !shared ? Infinity : paces.of(shared ? "" : tenant).gapMs(nowMs);
    // Written out, because this runs for every small request: a spread makes objects of another shape each time.
    const all: Forming = { batching, times, nowMs, gapMs, idle, idleSinceMs, turnOver };
    const formed = formBatch(head, shared ? everybody : items, all);
    if (formed.kind === "run") return formed;
    untilMs = Math.min(untilMs, formed.untilMs);
  }
  return untilMs === Infinity ? undefined : { kind: "wait", untilMs };
}

/** A run below this costs the processor hardly more than sending it off and hearing of its end. */
export const shortRunMs = 1;

/**
 * Whether to wait for one turn of the event loop, so that requests that have arrived, or are on their way from clients that were just
 * answered, share one short run.
 */
function worthTurn(
  rows: number,
  more: number,
  rowBytes: number,
  times: RunTimes,
  { maxQueueDelayMs }: Batching,
): boolean {
  if (maxQueueDelayMs === 0) return false;
  const ranMs = times.ranMs(rows, rowBytes);
  return ranMs !== undefined && ranMs < shortRunMs && times.pays(rows, more, rowBytes);
}

/**
 * Whether waiting requests should let the clients of the `answered` run send again first. For short runs, two groups of requests that
 * alternate cost more than one group of all.
 */
export function worthAnswering(
  waiting: number,
  answered: number,
  rowBytes: number,
  times: RunTimes,
  batching: Batching,
): boolean {
  if (waiting === 0 || waiting >= batching.maxBatchSize) return false;
  return worthTurn(waiting, waiting + answered, rowBytes, times, batching);
}

/**
 * The same while requests still arrive: as long as each turn brings more and the first has waited less than a short run takes. If requests
 * arrive more slowly than runs end, waiting gains little.
 */
function worthFirstTurn(rows: number, { rowBytes, enqueuedMs }: Candidate, forming: Forming): boolean {
  const { times, nowMs, gapMs, turnOver, batching } = forming;
  if (turnOver || nowMs - enqueuedMs >= shortRunMs) return false;
  return worthTurn(rows, rows + 1, rowBytes, times, batching) && gapMs < (times.runMs(rows, rowBytes) ?? 0);
}

function earliestDeadline(items: readonly Candidate[]): number {
  let earliest = Infinity;
  for (const { deadlineMs } of items) if (deadlineMs < earliest) earliest = deadlineMs;
  return earliest;
}

/** Until when the present rows wait for company; the past when they do not. */
function companyUntil(fitting: readonly Candidate[], rows: number, forming: Forming): number {
  const { batching, times, nowMs } = forming;
  const { maxBatchSize, preferredSizes = [], maxQueueDelayMs } = batching;
  const [head] = fitting;
  if (!head || maxQueueDelayMs === 0) return nowMs;
  const oldestMs = fitting.reduce((oldest, { enqueuedMs }) => Math.min(oldest, enqueuedMs), Infinity);
  const runMs = (size: number): number => times.runMs(size, head.rowBytes) ?? 0;
  let target = rows + 1;
  let untilMs: number;
  if (maxQueueDelayMs === undefined) {
    const waitMs = forming.idle > 1 ? 0 : worthwhileWaitMs(rows, times, head.rowBytes, forming.gapMs);
    if (waitMs === 0) return nowMs;
    // Even if requests trickle in, the first waits no longer than one run takes.
    untilMs = Math.min(nowMs + waitMs, Math.max(oldestMs, forming.idleSinceMs) + runMs(rows));
  } else {
    target = Math.min(maxBatchSize, ...preferredSizes.filter((size) => size > rows));
    if (!times.pays(rows, target, head.rowBytes)) return nowMs;
    untilMs = oldestMs + maxQueueDelayMs;
  }
  return untilMs + runMs(target) <= earliestDeadline(fitting) ? untilMs : nowMs;
}
