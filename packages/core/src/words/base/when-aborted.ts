import { Chain } from "./chain.ts";

/**
 * A signal that never fires, for calls that cannot be ended. One for all: `whenAborted` keeps no listeners on it.
 */
export const neverAborted: AbortSignal = new AbortController().signal;

const listeners = new WeakMap<AbortSignal, Chain<() => void>>();

/**
 * Calls `listener` once when `abort` fires. Returns how to take that back. However many wait for one signal, the signal itself
 * has one listener: a fan-out over a hundred elements waits a hundred times for the end of its call, and platforms take many
 * listeners on one signal for a leak. A signal that has fired already calls no listener; look at `aborted` first.
 */
export function whenAborted(abort: AbortSignal, listener: () => void): () => void {
  if (abort === neverAborted) return nothing;
  let waiting = listeners.get(abort);
  if (!waiting) {
    const all = new Chain<() => void>();
    const tell = (): void => {
      listeners.delete(abort);
      for (let one = all.first; one; one = all.first) {
        all.remove(one);
        one.value();
      }
    };
    abort.addEventListener("abort", tell, { once: true });
    listeners.set(abort, all);
    waiting = all;
  }
  const all = waiting;
  const link = all.add(listener);
  return () => void all.remove(link);
}

/** Whether no listener waits for it by `whenAborted`. */
export function nobodyWaits(abort: AbortSignal): boolean {
  return (listeners.get(abort)?.size ?? 0) === 0;
}

function nothing(): void {
  // There was nothing to take back.
}
