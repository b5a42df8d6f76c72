/**
 * Loaded into a server before anything of its own (`node --import`): tells whoever started it, over the channel between
 * the two processes, how much memory it holds and how long its event loop was held up. It neither keeps the process
 * alive nor collects garbage: what is measured is the server as it runs.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";

/** What the server says of itself. */
export interface ProbeSample {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** Since the sample before. */
  readonly loopP99Ms: number;
  readonly loopMaxMs: number;
  /** Sockets, timers, processes, threads and the like that keep the loop busy. */
  readonly handles: number;
}

if (process.send) {
  // Every 10 ms; what a timer is late by beyond that is what the loop was held up by.
  const resolution = 10;
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  process.on("message", () => {
    const { rss, heapUsed, external } = process.memoryUsage();
    const lateMs = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - resolution);
    const sample: ProbeSample = {
      rssBytes: rss,
      heapBytes: heapUsed,
      externalBytes: external,
      loopP99Ms: lateMs(delay.percentile(99)),
      loopMaxMs: lateMs(delay.max),
      handles: process.getActiveResourcesInfo().length,
    };
    delay.reset();
    process.send?.(sample);
  });
  process.channel?.unref();
}
