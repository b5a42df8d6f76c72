import type { Clock } from "@longshore/core";

/** Watches one exchange for silence. Dispose it when the exchange is over. */
export interface Silence extends Disposable {
  /** Something came. */
  moved(): void;
  /** Who reads takes its time from now on, or no more: it is not the other side that is silent. */
  held(since: boolean): void;
}

/**
 * Calls `silent` once nothing has come and nothing more was written for `limitMs`. One timer is armed at a time and
 * looks back when it fires, so that busy exchanges do not arm a timer for each chunk.
 */
export function watchSilence(
  clock: Clock,
  limitMs: number,
  exchange: { written(): number; silent(): void },
): Silence {
  let movedMs = clock.nowMs();
  let written = 0;
  let isHeld = false;
  let timer: Disposable;
  const look = (): void => {
    const now = exchange.written();
    if (now !== written || isHeld) {
      written = now;
      movedMs = clock.nowMs();
    }
    const leftMs = movedMs + limitMs - clock.nowMs();
    if (leftMs <= 0) exchange.silent();
    else timer = clock.timer(leftMs, look);
  };
  timer = clock.timer(limitMs, look);
  return {
    moved: () => void (movedMs = clock.nowMs()),
    held(since) {
      isHeld = since;
      movedMs = clock.nowMs();
    },
    [Symbol.dispose]: () => timer[Symbol.dispose](),
  };
}
