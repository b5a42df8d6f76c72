import { type Call, LongshoreError, type Random } from "@longshore/core";
import type { Scheduler } from "./scheduler-interface.ts";
import type { Ticket } from "./tickets.ts";

/** The demand of one request on one scheduler. */
export interface Demand {
  readonly scheduler: Scheduler;
  /** Expected runs: 1, or the number of elements of a fan-out as far as it is known. */
  readonly runs: number;
}

/** The demands of one request on schedulers, and its time outside them. */
export interface Request {
  readonly demands: readonly Demand[];
  /** Time that it will spend outside the schedulers. */
  readonly otherMs: number;
  /** How much later than predicted similar requests end that had to wait. */
  readonly slackMs: number;
}

/** Queue positions granted to one request. Dispose it when the request ends, in whatever way. */
export interface Admission extends Disposable {
  ticket(scheduler: Scheduler): Ticket | undefined;
  /** Predicted time from then on, waiting included. 0 for requests without a deadline, which need no prediction. */
  readonly predictedMs: number;
  /** The part of it spent waiting. */
  readonly waitMs: number;
}

/**
 * Decides once, before any work, about everything that a request needs. A request that would miss its deadline is refused before it costs
 * anything. An admitted request is not refused later for lack of a queue position. Figures that are few or old refuse nothing while no
 * request waits: one request has to try.
 *
 * Throws `busier` if the sender's longest wait is exceeded, `rejected` (with `retryAfterMs`, spread a little so that refused requests do
 * not all return together), `queue-full` or `shutting-down`.
 */
export function admit(request: Request, call: Call, nowMs: number, random: Random): Admission {
  const { demands, otherMs, slackMs } = request;
  if (call.mostWaitMs !== undefined) checkWait(demands, call.mostWaitMs);
  let workMs = otherMs;
  let waitMs = 0;
  let known = true;
  // Without a deadline nothing is too late, so no forecast is needed.
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
  const admission = new GrantedTickets(tickets, predictedMs, waitMs);
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

/** Throws `busier` if the queue is longer than the sender allows. It uses the load of replies, from which the sender made its belief. */
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

class GrantedTickets implements Admission {
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
