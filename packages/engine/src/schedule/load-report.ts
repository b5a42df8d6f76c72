import type { BatchReport, LoadReport, TenantId } from "@longshore/core";
import { filledUntil, type Outlook, workOf } from "./forecast.ts";
import type { Instance } from "./instance.ts";

/** Of a request that meets several of them: the least that they put together. Nothing where one of them does not. */
export function leastBatch(loads: readonly LoadReport[]): Pick<LoadReport, "batch"> {
  let least = loads[0]?.batch;
  for (const { batch } of loads) {
    least = least &&
      batch && {
        requests: Math.min(least.requests, batch.requests),
        shareRatio: Math.max(least.shareRatio, batch.shareRatio),
      };
  }
  return least ? { batch: least } : {};
}

/**
 * How busy instances are with so many requests under way, and how long a request waits that comes now. In the place of the
 * outlook, an instant says that an instance is idle then and nothing waits or is still to come.
 */
export function loadReport(
  instances: readonly Instance[],
  running: number,
  outlook: Outlook | number,
  batch?: BatchReport,
): LoadReport {
  let busy = 0;
  for (const { state } of instances) if (state === "busy") busy++;
  const cpuRatio = busy / instances.length;
  const together = batch ? { batch } : {};
  if (typeof outlook === "number")
    return { atMs: outlook, cpuRatio, inFlight: running, queueMs: 0, ...together };
  const { queue, pending, times, freeMs, maxBatchSize, nowMs } = outlook;
  let workMs = 0;
  let rows = 0;
  const tenants = new Set<TenantId>();
  for (const flow of queue.waiting()) {
    workMs += flow.workMs;
    for (const item of flow.items) rows += item.rows;
    tenants.add(flow.tenant);
  }
  for (let link = pending.first; link; link = link.after) {
    const ticket = link.value;
    workMs += workOf(ticket.rows, times, Math.min(maxBatchSize, ticket.rows));
    rows += ticket.rows;
    tenants.add(ticket.tenant);
  }
  // Those whose run it shares do not stand before it; of several tenants nobody knows whose it will be.
  const joined = tenants.size === 1 ? times.joinedRows(Math.min(maxBatchSize, rows + 1)) : 1;
  if (joined > 1) workMs *= 1 - (rows % joined) / rows;
  return {
    atMs: nowMs,
    cpuRatio,
    inFlight: queue.length + running,
    queueMs: filledUntil(freeMs, workMs),
    ...together,
  };
}
