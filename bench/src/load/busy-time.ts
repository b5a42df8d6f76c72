import { openSync, readSync } from "node:fs";

/** How often the thread's own time is looked at; a turn of the loop that is shorter than this shows as no more. */
const lookMs = 5;

/** Time on a core of the thread that loads this, in milliseconds; where the system keeps none, the time that passes. */
function ownTime(): () => number {
  if (process.platform !== "linux") return () => performance.now();
  const file = openSync(`/proc/self/task/${process.pid}/schedstat`, "r");
  const text = Buffer.alloc(128);
  return () => Number.parseInt(text.toString("latin1", 0, readSync(file, text, 0, text.length, 0)), 10) / 1e6;
}

/**
 * Reports the longest time for which the main thread itself was at work in one turn of its loop since the last report, in
 * milliseconds. Any further lateness of the loop is waiting for a core, which no program can mend.
 */
export function busiestTurn(): () => number {
  const workedMs = ownTime();
  let mostMs = 0;
  let beforeMs = performance.now();
  let workedBeforeMs = workedMs();
  setInterval(() => {
    const [nowMs, ownMs] = [performance.now(), workedMs()];
    mostMs = Math.max(mostMs, Math.min(nowMs - beforeMs, ownMs - workedBeforeMs));
    [beforeMs, workedBeforeMs] = [nowMs, ownMs];
  }, lookMs).unref();
  return () => {
    const told = mostMs;
    mostMs = 0;
    return told;
  };
}
