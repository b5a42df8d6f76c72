import type { BatchReport, LoadReport, TenantId } from "@longshore/core";
import { filledUntil, type QueueState, workOf } from "./forecast.ts";
import type { Instance } from "./instance.ts";

/** For a request that passes several graphs: the smallest batches that any of them forms. Empty if one of them forms none. */
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
 * How busy the instances are with the requests under way, and how long a new request waits. An instant in place of the outlook says that an
 * instance is idle then and that nothing waits or was admitted.
 */
export function loadReport(
  instances: readonly Instance[],
  running: number,
  outlook: QueueState | number,
  batch?: BatchReport,
): LoadReport {
  let busy = 0;
  for (const { state } of instances) if (state === "busy") busy++;
  const cpuRatio = busy / instances.length;
  if (typeof outlook === "number") {
    // Written out, because this runs for every small request: a spread copies each property by its name.
    return batch
      ? { atMs: outlook, cpuRatio, inFlight: running, queueMs: 0, batch }
      : { atMs: outlook, cpuRatio, inFlight: running, queueMs: 0 };
  }
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
  // Rows that share its run do not count as work before it. With several tenants it is unknown whose run it will be.
  const joined = tenants.size === 1 ? times.joinedRows(Math.min(maxBatchSize, rows + 1)) : 1;
  if (joined > 1) workMs *= 1 - (rows % joined) / rows;
  return {
    atMs: nowMs,
    cpuRatio,
    inFlight: queue.length + running,
    queueMs: filledUntil(freeMs, workMs),
    ...(batch ? { batch } : {}),
  };
}
