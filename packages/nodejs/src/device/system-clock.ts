import { performance } from "node:perf_hooks";
import type { Clock } from "@longshore/core";
import { Once } from "@longshore/core/internal";

/** The longest delay that one timer of the platform takes, in milliseconds; a longer one fires at once there. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * The machine's own time. Timers keep the program alive; dispose unused ones. A delay beyond 24 days is waited for in parts,
 * and one of `Infinity` never comes.
 *
 * @example
 * ```ts
 * import { systemClock } from "@longshore/nodejs";
 *
 * const clock = systemClock();
 * const began = clock.nowMs();
 * console.log(clock.nowMs() >= began); // true
 * ```
 */
export function systemClock(): Clock {
  return {
    // Of the module: each read of the global of that name takes as long as the reading of the clock.
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    timer(delayMs, fire) {
      // A timer of the platform takes a millisecond at least; this comes when what has arrived by now was looked at.
      if (delayMs <= 0) {
        const next = setImmediate(fire);
        return new Once(() => clearImmediate(next));
      }
      if (delayMs > longestTimerMs) return longTimer(delayMs, fire);
      const handle = setTimeout(fire, delayMs);
      return new Once(() => clearTimeout(handle));
    },
  };
}

/** A delay that is waited for in parts. */
function longTimer(delayMs: number, fire: () => void): Disposable {
  let restMs = delayMs;
  let handle: NodeJS.Timeout | undefined;
  const arm = (): void => {
    if (restMs === Infinity) return;
    const partMs = Math.min(restMs, longestTimerMs);
    restMs -= partMs;
    handle = setTimeout(() => (restMs > 0 ? arm() : fire()), partMs);
  };
  arm();
  return new Once(() => clearTimeout(handle));
}
