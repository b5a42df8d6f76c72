import { type Clock, Once } from "@longshore/core";
import { TimerQueue } from "./timer-queue.ts";

/**
 * The machine's own time. Timers keep the program alive; dispose those that nobody waits for. A delay beyond 24 days is
 * waited for in parts, and one of `Infinity` never comes.
 */
export function systemClock(): Clock {
  const queue = new TimerQueue();
  return {
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    timer(delayMs, fire) {
      if (delayMs <= 0) {
        // A timer of the platform takes a millisecond at least; this comes when what has arrived by now was looked at.
        const next = setImmediate(fire);
        return new Once(() => clearImmediate(next));
      }
      // One that is not a number is due at once, as for the platform: nobody waits for ever for it.
      return delayMs === Infinity ? never : queue.add(delayMs > 0 ? delayMs : 1, fire);
    },
  };
}

/** One that does not come. */
const never = new Once(() => undefined);
