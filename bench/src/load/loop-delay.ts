/**
 * Loaded into a server with `--import`: tells its parent, when asked, how long the event loop was kept from turning since it
 * was asked last. Not a part of what is measured.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
process.on("message", (message) => {
  if (message !== "loop-delay") return;
  process.send?.({ maxMs: delay.max / 1e6, p99Ms: delay.percentile(99) / 1e6 });
  delay.reset();
});
process.channel?.unref();
