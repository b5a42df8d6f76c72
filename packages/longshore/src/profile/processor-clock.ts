import type { Clock } from "@longshore/core";
import { systemClock } from "@longshore/nodejs";

/**
 * The machine's clock, whose monotonic time is what processors have worked for this process, all its threads added up. For
 * measuring runs that use one thread on a machine that others use too: what they take does not count. What a run waits
 * for does not count either, so it is no clock for networks.
 */
export function processorClock(): Clock {
  const clock = systemClock();
  return {
    nowMs() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
    wallMs: () => clock.wallMs(),
    timer: (delayMs, fire) => clock.timer(delayMs, fire),
  };
}
