import { cpus } from "node:os";

/** Time of all cores together since they started, in milliseconds. */
function spent(): { readonly busyMs: number; readonly allMs: number } {
  let [busyMs, allMs] = [0, 0];
  for (const { times } of cpus()) {
    const { user, nice, sys, idle, irq } = times;
    busyMs += user + nice + sys + irq;
    allMs += user + nice + sys + irq + idle;
  }
  return { busyMs, allMs };
}

/** Begins to watch the cores; what comes back tells the share of them that was at work since then, for whomever: 0 to 1. */
export function watchCores(): () => number {
  const before = spent();
  return () => {
    const now = spent();
    return (now.busyMs - before.busyMs) / Math.max(1, now.allMs - before.allMs);
  };
}
