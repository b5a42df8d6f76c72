import type { Clock } from "@longshore/core";

/** The longest delay that one timer of a browser takes, in milliseconds; a longer one would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * The browser's own time. A delay of `Infinity` never comes; one beyond 24 days is waited for in parts.
 *
 * @example
 * ```ts
 * import { systemClock } from "@longshore/web";
 *
 * const clock = systemClock();
 * const began = clock.nowMs();
 * console.log(clock.nowMs() >= began); // true
 * ```
 */
export function systemClock(): Clock {
  return {
    nowMs: () => performance.now(),
    wallMs: () => Date.now(),
    timer(delayMs, fire) {
      let rest = Math.max(0, delayMs);
      let handle: ReturnType<typeof setTimeout> | undefined;
      const arm = (): void => {
        if (rest === Infinity) return;
        const part = Math.min(rest, longestTimerMs);
        rest -= part;
        handle = setTimeout(() => (rest > 0 ? arm() : fire()), part);
      };
      arm();
      return { [Symbol.dispose]: () => clearTimeout(handle) };
    },
  };
}
