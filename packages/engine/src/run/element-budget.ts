import type { Call } from "@longshore/core";
import { abortError, whenAborted } from "@longshore/core/internal";

/**
 * Limits how many elements of fan-outs are being worked on at a time, over all requests: the values between the steps of one
 * element take memory until the slowest step has read them.
 */
export interface ElementBudget {
  readonly taken: number;
  /**
   * Waits until there is room; first come, first served. A demand above the limit is granted when nothing else is under way.
   * Dispose it to give them back. Rejects when the call ends first.
   */
  take(count: number, call: Call): Promise<Disposable>;
}

interface Waiting {
  readonly count: number;
  begin(): void;
}

/** Room for `most` elements. */
export function elementBudget(most: number): ElementBudget {
  const queue: Waiting[] = [];
  let taken = 0;

  function next(): void {
    for (let head = queue[0]; head; head = queue[0]) {
      if (taken > 0 && taken + head.count > most) return;
      queue.shift();
      taken += head.count;
      head.begin();
    }
  }

  return {
    get taken() {
      return taken;
    },
    take: (count, { abort }) =>
      new Promise((resolve, reject) => {
        let over = false;
        const lease: Disposable = {
          [Symbol.dispose]() {
            if (over) return;
            over = true;
            taken -= count;
            next();
          },
        };
        const stop = (): void => {
          queue.splice(queue.indexOf(waiting), 1);
          reject(abortError(abort, "queue"));
          next();
        };
        const waiting: Waiting = {
          count,
          begin() {
            stopListening();
            resolve(lease);
          },
        };
        if (abort.aborted) return reject(abortError(abort, "queue"));
        const stopListening = whenAborted(abort, stop);
        queue.push(waiting);
        next();
      }),
  };
}
