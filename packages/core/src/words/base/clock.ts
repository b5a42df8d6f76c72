import { whenAborted } from "./when-aborted.ts";

/**
 * Time, injected. Core, engine and server never read a clock or start a timer themselves, so that the seeded simulator
 * runs the real code under virtual time.
 */
export interface Clock {
  /** Monotonic milliseconds since an arbitrary origin; only differences mean something. */
  nowMs(): number;
  /** Milliseconds since the Unix epoch. May jump; used only for what is shown to people or compared across machines. */
  wallMs(): number;
  /** Calls `fire` once, `delayMs` from now (at once for 0 or less, but never synchronously). Dispose to cancel. */
  timer(delayMs: number, fire: () => void): Disposable;
}

/** Resolves after `delayMs`, or rejects with the reason of `abort` if that comes first. */
export function sleep(clock: Clock, delayMs: number, abort?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (abort?.aborted) {
      reject(abort.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer[Symbol.dispose]();
      reject(abort?.reason as Error);
    };
    const stopListening = abort && whenAborted(abort, onAbort);
    const timer = clock.timer(delayMs, () => {
      stopListening?.();
      resolve();
    });
  });
}
