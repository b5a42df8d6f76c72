import type { Clock } from "../../words/base/index.ts";
import type { EndpointStates } from "../endpoints/index.ts";

/** Takes what was experienced of links into what is believed of them, off the path of requests. */
export interface LinkUpkeep extends Disposable {
  /** Something happened on a link. */
  news(): void;
}

/** The least pause before the next link computes its belief, in milliseconds. Computing holds the event loop for a millisecond or more. */
const delayMs = 1;
/** The pause is at least this many times what the last computation took, so that requests come first. */
const restRatio = 20;
/** A belief takes in what happened tick by tick: asked before the tick of the last acknowledgement is over, it does not know of it. */
const settleMs = 11;
/** A process that was held up meanwhile does not rest for that. */
const longestRestMs = 1000;
/** A body that keeps a link for at least so many milliseconds is news as it begins: the next request would wait behind it. */
export const longSendMs = 20;
/**
 * A belief ages while nothing happens: it is written down again so long after the last news, in milliseconds, so that the
 * next request does not decide by what was believed in the middle of a stall. Afterwards it hardly changes any more.
 */
const agingMs: readonly number[] = [1_200, 4_000, 12_000];

/** Begins with the first news. */
export function linkUpkeep(clock: Clock, endpoints: EndpointStates): LinkUpkeep {
  let timer: Disposable | undefined;
  /** When beliefs are written down again, and when the timer for it fires: no later. */
  let dueMs = Infinity;
  let firesMs = Infinity;
  /** Until when requests have the processor, whatever news there are. */
  let restsUntilMs = -Infinity;
  /** How often beliefs were written down since the last news; infinite before any. */
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
      const more = endpoints.refreshOneLink(nowMs);
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
      if (endpoints.all.size === 0 || stopped || aged === 0) return;
      const nowMs = clock.nowMs();
      const soonMs = nowMs + settleMs;
      const stale = endpoints.linksStale(soonMs);
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
