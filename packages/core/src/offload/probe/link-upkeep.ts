import type { Clock } from "../../words/base/index.ts";
import type { EndpointStates } from "../endpoints/index.ts";

/** Updates the beliefs about links from observations, off the path of requests. */
export interface LinkUpkeep extends Disposable {
  /** Something happened on a link. */
  news(): void;
}

/** The least pause before the next link computes its belief, in milliseconds. Computing holds the event loop for a millisecond or more. */
const delayMs = 1;
/** The pause is at least this many times what the last computation took, so that requests come first. */
const restRatio = 20;
/** A belief processes events in ticks. Before the tick of the last acknowledgement ends, it does not include it. In milliseconds. */
const settleMs = 11;
/** Longest pause, in milliseconds: a busy process does not count as a long computation. */
const longestRestMs = 1000;
/** A body that occupies a link for at least this long is news when it begins, in milliseconds: the next request would wait behind it. */
export const longSendMs = 20;
/**
 * A belief ages while nothing happens. Its table is computed again at these times after the last event, in milliseconds, so that the next
 * request does not use a table from the middle of a stall. Later it hardly changes.
 */
const agingMs: readonly number[] = [1_200, 4_000, 12_000];

/** Starts with the first event. */
export function linkUpkeep(
  clock: Clock,
  { all, links }: Pick<EndpointStates, "links"> & { readonly all: { readonly size: number } },
): LinkUpkeep {
  let timer: Disposable | undefined;
  /** When tables are due, and when their timer fires (no later). */
  let dueMs = Infinity;
  let firesMs = Infinity;
  /** Until when requests have priority, whatever happens. */
  let restsUntilMs = -Infinity;
  /** Computations since the last event; infinite before any. */
  let aged = Infinity;
  let stopped = false;

  function arm(nowMs: number): void {
    timer?.[Symbol.dispose]();
    firesMs = dueMs;
    timer = clock.timer(dueMs - nowMs, tend);
  }

  function tend(): void {
    timer = undefined;
    if (stopped) return;
    const nowMs = clock.nowMs();
    if (nowMs >= dueMs) {
      const more = links.refreshOne(nowMs);
      const restMs = Math.max(delayMs, restRatio * (clock.nowMs() - nowMs));
      restsUntilMs = nowMs + Math.min(longestRestMs, restMs);
      const pauseMs = more ? 0 : agingMs[aged++];
      if (pauseMs === undefined) return;
      dueMs = Math.max(restsUntilMs, nowMs + pauseMs);
    }
    arm(nowMs);
  }

  return {
    news() {
      if (all.size === 0 || stopped || aged === 0) return;
      const nowMs = clock.nowMs();
      const soonMs = nowMs + settleMs;
      const stale = links.stale(soonMs);
      aged = stale ? 0 : 1;
      dueMs = stale ? Math.max(soonMs, restsUntilMs) : soonMs + (agingMs[0] ?? 0);
      // One that fires too early looks again: a timer for each request would cost more.
      if (!timer || firesMs > dueMs) arm(nowMs);
    },
    [Symbol.dispose]() {
      stopped = true;
      timer?.[Symbol.dispose]();
    },
  };
}
