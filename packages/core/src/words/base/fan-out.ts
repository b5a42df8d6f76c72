import { type Call, ownCall } from "./call.ts";
import { LongshoreError } from "./error.ts";
import { whenAborted } from "./when-aborted.ts";

/**
 * Runs `work` for `count` elements, at most `width` at a time, each under a call of its own that ends with the
 * request's. The first failure ends the others, and is thrown.
 */
export async function fanOut<T>(
  count: number,
  width: number,
  call: Call,
  work: (index: number, call: Call) => Promise<T>,
): Promise<readonly T[]> {
  const results: T[] = [];
  const running = new Set<AbortController>();
  const stopAll = (reason: unknown): void => {
    for (const one of running) one.abort(reason);
  };
  // One listener for all elements, whose calls end in their order.
  const onAbort = (): void => stopAll(call.abort.reason);
  const stopListening = whenAborted(call.abort, onAbort);
  let next = 0;
  let failed = false;

  async function lane(): Promise<void> {
    while (next < count && !failed) {
      const index = next++;
      const controller = new AbortController();
      if (call.abort.aborted) controller.abort(call.abort.reason);
      running.add(controller);
      try {
        const own = ownCall(call);
        own.abort = controller.signal;
        results[index] = await work(index, own);
      } catch (thrown) {
        if (!failed) {
          failed = true;
          running.delete(controller);
          stopAll(new LongshoreError("cancelled", "execute", "another element of the same request failed"));
          throw thrown;
        }
      } finally {
        running.delete(controller);
      }
    }
  }

  try {
    await Promise.all(Array.from({ length: Math.min(count, Math.max(1, width)) }, lane));
    return results;
  } finally {
    stopListening();
  }
}
