/**
 * Loaded into a server before any of its own code (`node --import`): reports to its parent, over the channel between the two
 * processes, how much memory it holds and how long its event loop was held up. It does not keep the process alive, and collects
 * garbage only to measure kept memory: in a running server, uncollected memory comes and goes by tens of megabytes.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { busiestTurn } from "../load/busy-time.ts";

/** The requests to the probe: how the server runs, or the memory that it keeps after a collection in its main thread. */
export type ProbeRequest = "running" | "kept";

/** The server's figures of itself. */
export interface ProbeSample {
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** Since the sample before. */
  readonly loopP99Ms: number;
  readonly loopMaxMs: number;
  /** The most that the thread itself was at work in one turn. */
  readonly loopBusyMaxMs: number;
  /** Sockets, timers, processes, threads and other handles that keep the loop busy. */
  readonly handles: number;
  /** Time of processors that it has used, in milliseconds. */
  readonly processorMs: number;
}

if (process.send) {
  // Every 10 ms; a timer's further lateness is the time that the loop was held up.
  const resolution = 10;
  const delay = monitorEventLoopDelay({ resolution });
  const lateMs = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - resolution);
  delay.enable();
  const busyMaxMs = busiestTurn();
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  process.on("message", (question: ProbeRequest) => {
    // The pause of this collection is not the server's.
    const late = { p99Ms: lateMs(delay.percentile(99)), maxMs: lateMs(delay.max), busyMaxMs: busyMaxMs() };
    if (question === "kept") collect();
    const { rss, heapUsed, external } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const sample: ProbeSample = {
      rssBytes: rss,
      heapBytes: heapUsed,
      externalBytes: external,
      loopP99Ms: late.p99Ms,
      loopMaxMs: late.maxMs,
      loopBusyMaxMs: late.busyMaxMs,
      handles: process.getActiveResourcesInfo().length,
      processorMs: (user + system) / 1000,
    };
    delay.reset();
    process.send?.(sample);
  });
  // A bench that was cut off leaves no server running.
  process.once("disconnect", () => process.exit(1));
  process.channel?.unref();
}
