import { type Call, LongshoreError, type Random } from "@longshore/core";
import type { Scheduler } from "./scheduler.ts";
import type { Ticket } from "./tickets.ts";

/** What one request will ask of one scheduler. */
export interface Demand {
  readonly scheduler: Scheduler;
  /** Runs that are expected: 1, or the elements of a fan-out as far as they are known. */
  readonly runs: number;
}

/** Places granted for one request. Dispose when it ends, however it ends. */
export interface Admission extends Disposable {
  ticket(scheduler: Scheduler): Ticket | undefined;
}

/**
 * Decides once, at the door, for all that a request will need: a request that would miss its deadline is refused before
 * it costs anything, and one that got in is not refused half-way for want of a place in a queue. `otherMs` is time that it
 * will spend outside the schedulers.
 *
 * Throws `rejected` (with `retryAfterMs`, spread a little so that the refused do not all return together), `queue-full`
 * or `shutting-down`.
 */
export function admit(
  demands: readonly Demand[],
  otherMs: number,
  call: Call,
  nowMs: number,
  random: Random,
): Admission {
  let predictedMs = otherMs;
  for (const { scheduler, runs } of demands) {
    const { waitMs, runMs } = scheduler.expected(1, call.deadlineMs);
    predictedMs += waitMs + (runMs ?? 0) * Math.ceil(runs / scheduler.instances);
  }
  const leftMs = call.deadlineMs - nowMs;
  if (predictedMs > leftMs) {
    throw new LongshoreError(
      "rejected",
      "admission",
      `${Math.ceil(leftMs)} ms are left and ${Math.ceil(predictedMs)} ms are needed, waiting included`,
      { retryAfterMs: Math.max(1, Math.ceil((predictedMs - leftMs) * (1 + random.next() / 4))) },
    );
  }
  const tickets = new Map<Scheduler, Ticket>();
  const giveBack = (): void => {
    for (const ticket of tickets.values()) ticket[Symbol.dispose]();
  };
  try {
    for (const { scheduler, runs } of demands) {
      const known = tickets.get(scheduler);
      if (known) known.expect(known.rows + runs);
      else tickets.set(scheduler, scheduler.admit(runs, call.deadlineMs));
    }
  } catch (thrown) {
    giveBack();
    throw thrown;
  }
  return { ticket: (scheduler) => tickets.get(scheduler), [Symbol.dispose]: giveBack };
}
