import type { TenantId } from "@longshore/core";
import type { Chain } from "@longshore/core/internal";
import { type QueuePriority, type FairQueue, placeOf } from "./fair-queue.ts";
import type { RunTimes } from "./run-times.ts";
import type { Ticket } from "./tickets.ts";

/** A request that might come. */
export interface PossibleRequest {
  readonly rows: number;
  readonly tenant: TenantId;
  readonly level: number;
  readonly deadlineMs: number;
}

/** The predicted wait and run of a request. */
export interface Forecast {
  readonly waitMs: number;
  /** Undefined until runs were seen. */
  readonly runMs: number | undefined;
  /** Whether the figures are good enough to refuse a request by. */
  readonly known: boolean;
}

/** The state of the scheduler that a forecast uses. */
export interface QueueState {
  readonly queue: FairQueue<QueuePriority & { readonly rows: number }>;
  readonly pending: Pick<Chain<Ticket>, "first">;
  readonly times: RunTimes;
  /** How long each instance stays busy. */
  readonly freeMs: readonly number[];
  /** 1 without batching. */
  readonly maxBatchSize: number;
  readonly nowMs: number;
}

/**
 * Predicts what a request that arrives now would meet: the work of its own tenant that is served before it, and the work of other tenants
 * that fair queueing serves before it. The latter includes waiting work and new work at the recent pace. Rows that would share its run do
 * not count as work before it.
 */
export function forecast(prospect: PossibleRequest, outlook: QueueState): Forecast {
  const { times, maxBatchSize, nowMs, freeMs } = outlook;
  const own = ahead(prospect, outlook);
  const cap = Math.min(maxBatchSize, own.rows + prospect.rows);
  const joined = prospect.rows >= cap ? 1 : times.joinedRows(cap);
  // The last rows before it run together with it.
  const beside = joined > prospect.rows ? Math.min(joined - prospect.rows, own.rows % joined) : 0;
  const ownMs = own.rows > 0 ? own.workMs * (1 - beside / own.rows) : 0;
  return {
    waitMs: waitBehind(freeMs, ownMs, rivals(prospect, own.workMs, outlook)),
    runMs: times.runMs(prospect.rows + beside),
    known: times.known(nowMs),
  };
}

function ahead(
  { tenant, level, deadlineMs }: PossibleRequest,
  { queue, pending, times }: QueueState,
): { readonly rows: number; readonly workMs: number } {
  const { items, workMs: all } = queue.flow(tenant);
  const place = placeOf(items, { tenant, level, deadlineMs, delayed: false, order: Infinity, workMs: 0 });
  let rows = 0;
  let workMs = place === items.length ? all : 0;
  for (let index = 0; index < place; index++) {
    rows += items[index]?.rows ?? 0;
    if (place !== items.length) workMs += items[index]?.workMs ?? 0;
  }
  for (let link = pending.first; link; link = link.after) {
    const ticket = link.value;
    if (ticket.tenant !== tenant || ticket.deadlineMs > deadlineMs) continue;
    rows += ticket.rows;
    workMs += workOf(ticket.rows, times, ticket.rows);
  }
  return { rows, workMs };
}

/** Time of an instance for this many rows if up to `together` of them share a run. 0 while no run was measured. */
export function workOf(rows: number, times: RunTimes, together: number, rowBytes?: number): number {
  const joined = times.joinedRows(Math.max(1, together), rowBytes);
  return ((times.runMs(joined, rowBytes) ?? 0) / joined) * rows;
}

/** The work of another tenant that fair queueing serves before the request. */
interface Rival {
  /** Waiting and admitted work. */
  readonly waitingMs: number;
  /** New work, in milliseconds of an instance per millisecond. */
  readonly pace: number;
  /** More than this is served later. */
  readonly mostMs: number;
}

/** Other tenants, until each has been served as much as this one will have been when `ownMs` are done. */
function rivals({ tenant }: PossibleRequest, ownMs: number, outlook: QueueState): readonly Rival[] {
  const { queue, pending, times, nowMs } = outlook;
  const granted = new Map<TenantId, number>();
  for (let link = pending.first; link; link = link.after) {
    const ticket = link.value;
    if (ticket.tenant === tenant) continue;
    const workMs = workOf(ticket.rows, times, ticket.rows);
    granted.set(ticket.tenant, (granted.get(ticket.tenant) ?? 0) + workMs);
  }
  // A tenant without work so far counts, too.
  for (const other of granted.keys()) queue.flow(other);
  const untilServed = queue.startOf(tenant) + ownMs / queue.flow(tenant).weight;
  const all: Rival[] = [];
  for (const flow of queue.flows()) {
    if (flow.tenant === tenant) continue;
    const served = flow.items.length > 0 ? flow.served : queue.startOf(flow.tenant);
    const mostMs = (untilServed - served) * flow.weight;
    const waitingMs = flow.workMs + (granted.get(flow.tenant) ?? 0);
    const pace = queue.paceOf(flow.tenant, nowMs);
    if (mostMs > 0 && (waitingMs > 0 || pace > 0)) all.push({ waitingMs, pace, mostMs });
  }
  return all;
}

/** The most rounds: a longer wait lets more requests arrive, and they lengthen the wait. */
const mostRounds = 8;
/** The rounds end when a wait grows by less than this, in milliseconds. */
const nearMs = 0.5;

/** The wait after some work and after that of other tenants. The longer it takes, the more of their work arrives. */
function waitBehind(freeMs: readonly number[], ownMs: number, others: readonly Rival[]): number {
  let waitMs = filledUntil(freeMs, ownMs);
  if (others.length === 0) return waitMs;
  for (let round = 0; round < mostRounds; round++) {
    let othersMs = 0;
    for (const { waitingMs, pace, mostMs } of others) othersMs += Math.min(mostMs, waitingMs + pace * waitMs);
    const longerMs = filledUntil(freeMs, ownMs + othersMs);
    if (longerMs - waitMs < nearMs) return longerMs;
    waitMs = longerMs;
  }
  return waitMs;
}

/** When the first instance is free once the work before is done, dealt to whichever is free first. */
export function filledUntil(freeMs: readonly number[], workMs: number): number {
  if (freeMs.length === 1) return (freeMs[0] ?? 0) + workMs;
  const sorted = [...freeMs].sort((a, b) => a - b);
  let level = sorted[0] ?? 0;
  let left = workMs;
  for (let busy = 1; busy < sorted.length; busy++) {
    const next = sorted[busy] ?? level;
    if ((next - level) * busy >= left) return level + left / busy;
    left -= (next - level) * busy;
    level = next;
  }
  return level + left / Math.max(1, sorted.length);
}
