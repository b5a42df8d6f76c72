/**
 * Loaded into a server with `--import`: tells its parent, when asked, how long the event loop was kept from turning since it
 * was asked last, and for how long at most the thread itself was at work meanwhile. The rest is waiting for a core, which
 * nothing in a program can help. Not a part of what is measured: it looks at the main thread alone, though Node.js loads it
 * into every thread, and rarely, since each look may take the core from a run.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";
import { busiestTurn } from "./busy-time.ts";

if (isMainThread) {
  // Every 5 ms; what a timer is late by beyond that is what the loop was held up by.
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
  // A bench that was cut off leaves no server behind, which would be in the way of the next.
  process.once("disconnect", () => process.exit(1));
  process.channel?.unref();
}
