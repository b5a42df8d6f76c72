import type { Clock } from "@longshore/core";
import { systemClock } from "@longshore/nodejs";

/**
 * The machine's clock, whose monotonic time is the processor time of this process, all its threads added up. It measures runs
 * of one thread on a machine that others use too: their time does not count. The waiting time of a run does not count either,
 * so it is no clock for networks.
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
