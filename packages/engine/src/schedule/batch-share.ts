import type { BatchReport } from "@longshore/core";
import type { RunTimes } from "./run-times.ts";

/** How requests were batched recently. */
export interface BatchShare {
  /** Records the start of a run with this many requests and rows. */
  began(requests: number, rows: number): void;
  /** Undefined before the first run, and while run times are unknown. */
  report(times: RunTimes, maxBatchSize: number): BatchReport | undefined;
}

/** Weight of one request in the average. */
const learning = 0.05;
/** The greatest weight of one run in the average. */
const mostLearning = 0.5;

/** Nothing has run yet. */
export function batchShare(): BatchShare {
  let requests = 0;
  let rows = 0;
  return {
    began(count, all) {
      // Each request counts, so that full runs count for as many as met them.
      const weight = requests === 0 ? 1 : Math.min(mostLearning, learning * count);
      requests += weight * (count - requests);
      rows += weight * (all - rows);
    },
    report(times, maxBatchSize) {
      const runMs = rows > 0 ? (times.runMs(rows) ?? 0) : 0;
      if (runMs === 0) return undefined;
      const joined = times.joinedRows(maxBatchSize);
      const rowMs = (times.runMs(joined) ?? 0) / joined;
      return { requests, shareRatio: Math.min(1, (rowMs * (rows / requests)) / runMs) };
    },
  };
}
