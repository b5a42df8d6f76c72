import { LongshoreError } from "@longshore/core";

/** A place that admission has granted; work that is still to come counts as waiting. Dispose it when the request ends. */
export interface Ticket extends Disposable {
  readonly deadlineMs: number;
  /** Rows still to come. */
  readonly rows: number;
  /** Says how many rows are really to come, once it is known. */
  expect(rows: number): void;
}

/** All tickets of one scheduler. */
export interface TicketDesk {
  readonly open: ReadonlySet<Ticket>;
  /** Throws `queue-full` with the time that one place takes to become free. */
  grant(rows: number, deadlineMs: number, rowMs: number): Ticket;
}

/** At most `most` tickets at a time for `name`; `returned` is called when one comes back. */
export function ticketDesk(name: string, most: number, returned: () => void): TicketDesk {
  const open = new Set<Ticket>();
  return {
    open,
    grant(rows, deadlineMs, rowMs) {
      if (open.size >= most) {
        throw new LongshoreError(
          "queue-full",
          "admission",
          `${open.size} requests for ${name} are under way; at most ${most} are taken`,
          { retryAfterMs: Math.max(1, Math.ceil(rowMs)) },
        );
      }
      let left = rows;
      const ticket: Ticket = {
        deadlineMs,
        get rows() {
          return left;
        },
        expect: (count) => void (left = Math.max(0, count)),
        [Symbol.dispose]: () => {
          if (open.delete(ticket)) returned();
        },
      };
      open.add(ticket);
      return ticket;
    },
  };
}

/**
 * When a newcomer would begin: the work ahead of it is dealt to whichever instance is free first. `freeMs` is how long
 * each instance stays busy.
 */
export function expectedWaitMs(freeMs: readonly number[], aheadMs: Iterable<number>): number {
  const free = [...freeMs];
  for (const workMs of aheadMs) {
    const first = free.indexOf(Math.min(...free));
    free[first] = (free[first] ?? 0) + workMs;
  }
  return Math.min(...free);
}
