import type { LoadReport } from "@longshore/core";
import { filledUntil, type Outlook, workOf } from "./forecast.ts";
import type { Instance } from "./instance.ts";

/**
 * How busy instances are with so many requests under way, and how long a request waits that comes now. In the place of the
 * outlook, an instant says that an instance is idle then and nothing waits or is still to come.
 */
export function loadReport(
  instances: readonly Instance[],
  running: number,
  outlook: Outlook | number,
): LoadReport {
  let busy = 0;
  for (const { state } of instances) if (state === "busy") busy++;
  const cpuRatio = busy / instances.length;
  if (typeof outlook === "number") return { atMs: outlook, cpuRatio, inFlight: running, queueMs: 0 };
  const { queue, pending, times, freeMs, maxBatchSize, nowMs } = outlook;
  let workMs = 0;
  for (const flow of queue.waiting()) workMs += flow.workMs;
  for (const { rows } of pending) workMs += workOf(rows, times, Math.min(maxBatchSize, rows));
  return {
    atMs: nowMs,
    cpuRatio,
    inFlight: queue.length + running,
    queueMs: filledUntil(freeMs, workMs),
  };
}
