/**
 * Loaded into a server with `--import`: tells its parent, when asked, how long the event loop was kept from turning since it
 * was asked last, and for how long at most the thread itself was at work meanwhile. The rest is waiting for a core, which
 * nothing in a program can help. Not a part of what is measured.
 */
import { openSync, readSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();

/** How often the thread's own time is looked at; a turn of the loop that is shorter than this shows as no more. */
const lookMs = 5;

/** Time on a core of the thread that loads this, in milliseconds; where the system keeps none, the time that passes. */
function ownTime(): () => number {
  if (process.platform !== "linux") return () => performance.now();
  const file = openSync(`/proc/self/task/${process.pid}/schedstat`, "r");
  const text = Buffer.alloc(128);
  return () => Number.parseInt(text.toString("latin1", 0, readSync(file, text, 0, text.length, 0)), 10) / 1e6;
}

const workedMs = ownTime();
let busyMaxMs = 0;
let beforeMs = performance.now();
let workedBeforeMs = workedMs();
setInterval(() => {
  const [nowMs, ownMs] = [performance.now(), workedMs()];
  busyMaxMs = Math.max(busyMaxMs, Math.min(nowMs - beforeMs, ownMs - workedBeforeMs));
  [beforeMs, workedBeforeMs] = [nowMs, ownMs];
}, lookMs).unref();

process.on("message", (message) => {
  if (message !== "loop-delay") return;
  process.send?.({ maxMs: delay.max / 1e6, p99Ms: delay.percentile(99) / 1e6, busyMaxMs });
  delay.reset();
  busyMaxMs = 0;
});
// A bench that was cut off leaves no server behind, which would be in the way of the next.
process.once("disconnect", () => process.exit(1));
process.channel?.unref();
