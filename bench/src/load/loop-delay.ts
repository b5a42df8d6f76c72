/**
 * Loaded into a server with `--import`: reports to its parent, on request, how long the event loop was kept from turning since
 * the last report, and the longest time for which the thread itself was at work meanwhile. The rest is waiting for a core,
 * which no program can mend. It is not part of the measured system: it samples the main thread alone, though Node.js loads it
 * into every thread, and rarely, since each sample may take the core from a run.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";
import { busiestTurn } from "./busy-time.ts";

if (isMainThread) {
  // Every 5 ms; a timer's further lateness is the time that the loop was held up.
  const resolution = 5;
  const delay = monitorEventLoopDelay({ resolution });
  const lateMs = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - resolution);
  delay.enable();
  const busyMaxMs = busiestTurn();

  process.on("message", (message) => {
    if (message !== "loop-delay") return;
    process.send?.({
      maxMs: lateMs(delay.max),
      p99Ms: lateMs(delay.percentile(99)),
      busyMaxMs: busyMaxMs(),
    });
    delay.reset();
  });
  // A bench that was cut off leaves no server running, which would disturb the next.
  process.once("disconnect", () => process.exit(1));
  process.channel?.unref();
}
