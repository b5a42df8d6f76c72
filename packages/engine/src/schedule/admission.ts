import { type Call, LongshoreError, type Random } from "@longshore/core";
import type { Scheduler } from "./seam.ts";
import type { Ticket } from "./tickets.ts";

/** What one request will ask of one scheduler. */
export interface Demand {
  readonly scheduler: Scheduler;
  /** Runs that are expected: 1, or the elements of a fan-out as far as they are known. */
  readonly runs: number;
}

/** What is asked of a place, besides its schedulers. */
export interface Request {
  readonly demands: readonly Demand[];
  /** Time that it will spend outside the schedulers. */
  readonly otherMs: number;
  /** How much later than foreseen requests like it are done that had to wait. */
  readonly slackMs: number;
}

/** Places granted for one request. Dispose when it ends, however it ends. */
export interface Admission extends Disposable {
  ticket(scheduler: Scheduler): Ticket | undefined;
  /** What it was foreseen to take from then on, waiting included; what nobody asked for without a deadline. */
  readonly predictedMs: number;
  /** Of it, waiting. */
  readonly waitMs: number;
}

/**
 * Decides once, at the door, for all that a request will need: a request that would miss its deadline is refused before
 * it costs anything, and one that got in is not refused half-way for want of a place in a queue. Nothing is refused by
 * figures that are few or old while nobody waits: one request has to try.
 *
 * Throws `busier` where the sender set a longest wait, `rejected` (with `retryAfterMs`, spread a little so that the refused do not all return together), `queue-full`
 * or `shutting-down`.
 */
export function admit(request: Request, call: Call, nowMs: number, random: Random): Admission {
  const { demands, otherMs, slackMs } = request;
  if (call.mostWaitMs !== undefined) checkWait(demands, call.mostWaitMs);
  let workMs = otherMs;
  let waitMs = 0;
  let known = true;
  // Nothing is too late for a request without a deadline, so nobody asks what it will meet.
  const bounded = call.deadlineMs !== Infinity;
  for (const { scheduler, runs } of bounded ? demands : []) {
    const one = scheduler.expected(1, call);
    waitMs += one.waitMs;
    workMs += (one.runMs ?? 0) * Math.ceil(runs / scheduler.instances);
    known &&= one.known;
  }
  const leftMs = call.deadlineMs - nowMs;
  const predictedMs = waitMs + workMs;
  const neededMs = predictedMs + (waitMs > 0 ? slackMs : 0);
  if (neededMs > leftMs && (known || waitMs > 0)) {
    for (const { scheduler } of demands) scheduler.turnedAway(call);
    throw new LongshoreError(
      "rejected",
      "admission",
      `${Math.ceil(leftMs)} ms are left and ${Math.ceil(neededMs)} ms are needed, waiting included`,
      { retryAfterMs: Math.max(1, Math.ceil((neededMs - leftMs) * (1 + random.next() / 4))) },
    );
  }
  const tickets = new Map<Scheduler, Ticket>();
  const admission = new Places(tickets, predictedMs, waitMs);
  try {
    for (const { scheduler, runs } of demands) {
      const granted = tickets.get(scheduler);
      if (granted) granted.expect(granted.rows + runs);
      else tickets.set(scheduler, scheduler.admit(runs, call));
    }
  } catch (thrown) {
    admission[Symbol.dispose]();
    throw thrown;
  }
  return admission;
}

/** Throws `busier` where more waits than the sender believed; by what is told with every reply, which that belief is made of. */
function checkWait(demands: readonly Demand[], mostMs: number): void {
  let waitMs = 0;
  for (const scheduler of new Set(demands.map((one) => one.scheduler))) waitMs += scheduler.load().queueMs;
  if (waitMs <= mostMs) return;
  throw new LongshoreError(
    "busier",
    "admission",
    `it would wait for ${Math.ceil(waitMs)} ms; its sender goes elsewhere above ${Math.floor(mostMs)} ms`,
    { retryAfterMs: Math.max(1, Math.ceil(waitMs - mostMs)) },
  );
}

class Places implements Admission {
  readonly predictedMs: number;
  readonly waitMs: number;
  readonly #tickets: ReadonlyMap<Scheduler, Ticket>;

  constructor(tickets: ReadonlyMap<Scheduler, Ticket>, predictedMs: number, waitMs: number) {
    this.#tickets = tickets;
    this.predictedMs = predictedMs;
    this.waitMs = waitMs;
  }

  ticket(scheduler: Scheduler): Ticket | undefined {
    return this.#tickets.get(scheduler);
  }

  [Symbol.dispose](): void {
    for (const ticket of this.#tickets.values()) ticket[Symbol.dispose]();
  }
}
