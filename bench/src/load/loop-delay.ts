/**
 * Loaded into a server with `--import`: tells its parent, when asked, how long the event loop was kept from turning since it
 * was asked last, and for how long at most the thread itself was at work meanwhile. The rest is waiting for a core, which
 * nothing in a program can help. Not a part of what is measured.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { busiestTurn } from "./busy-time.ts";

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();

const busyMaxMs = busiestTurn();

process.on("message", (message) => {
  if (message !== "loop-delay") return;
  process.send?.({ maxMs: delay.max / 1e6, p99Ms: delay.percentile(99) / 1e6, busyMaxMs: busyMaxMs() });
  delay.reset();
});
// A bench that was cut off leaves no server behind, which would be in the way of the next.
process.once("disconnect", () => process.exit(1));
process.channel?.unref();
