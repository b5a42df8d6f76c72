import type { Clock } from "@longshore/core";
import { Chain } from "@longshore/core/internal";

/**
 * Time limits for what is waited for on a connection. Almost nothing that is waited for is ever late, so one timer looks
 * after all of it now and then, instead of one timer each being started and stopped again.
 */
export interface Patience {
  /** Calls `late` once, some time after `forMs` but within a quarter more. Dispose when what was awaited is there. */
  wait(late: () => void): Disposable;
}

interface Wait {
  readonly dueMs: number;
  readonly late: () => void;
}

/** @param forMs How long anything is waited for. */
export function createPatience(clock: Clock, forMs: number): Patience {
  const waits = new Chain<Wait>();
  let looking = false;
  const look = (): void => {
    looking = false;
    const nowMs = clock.nowMs();
    // In the order in which they began, so the first that is not due ends it.
    for (let link = waits.first; link && link.value.dueMs <= nowMs; link = waits.first) {
      waits.remove(link);
      link.value.late();
    }
    if (waits.size > 0) start();
  };
  const start = (): void => {
    if (looking) return;
    looking = true;
    clock.timer(forMs / 4, look);
  };
  return {
    wait(late) {
      const link = waits.add({ dueMs: clock.nowMs() + forMs, late });
      start();
      return { [Symbol.dispose]: () => void waits.remove(link) };
    },
  };
}
