import { type Clock, LongshoreError, type TenantId } from "@longshore/core";
import { type FairQueue, fairQueue } from "./fair-queue.ts";
import type { PossibleRequest } from "./forecast.ts";
import type { WaitingRules } from "./queue-policy.ts";
import type { RunTimes } from "./run-times.ts";
import type { Waiting } from "./waiting.ts";

/** The queue of one scheduler, with the rules of the model's classes: limits, timeouts and what follows from them. */
export interface WaitingRequests {
  readonly queue: FairQueue<Waiting>;
  /** Throws `queue-full` if the queue of the class is full. */
  checkFits(rules: WaitingRules, retryAfterMs: number): void;
  enter(item: Waiting): void;
  leave(item: Waiting): boolean;
  /** Removes the last waiting request of a tenant with `evicted`. Returns false if none waits. */
  evictOf(tenant: TenantId, why: string): boolean;
  /** Whether it cannot be done in time, so that it is refused instead of served. */
  isHopeless(item: Waiting, nowMs: number): boolean;
  /** Refuses requests at the head of the queue that cannot be done in time. */
  refuseHopeless(nowMs: number): void;
  rejectAll(problem: LongshoreError): void;
}

/** The parts of a scheduler that its queue uses. */
export interface WaitingRequestsParts {
  readonly name: string;
  readonly clock: Clock;
  readonly times: RunTimes;
  readonly weightOf: (tenant: TenantId) => number;
  /** How long a request would wait that came now, in milliseconds. */
  readonly waitMs: (prospect: PossibleRequest) => number;
  /** Called when time changed the queue or its order. */
  readonly changed: () => void;
}

export function waitingRequests({
  name,
  clock,
  times,
  weightOf,
  waitMs,
  changed,
}: WaitingRequestsParts): WaitingRequests {
  const queue = fairQueue<Waiting>(weightOf);
  const byLevel = new Map<number, number>();

  function leave(item: Waiting): boolean {
    if (!queue.remove(item)) return false;
    byLevel.set(item.level, (byLevel.get(item.level) ?? 1) - 1);
    item.timeout?.[Symbol.dispose]();
    item.timeout = undefined;
    return true;
  }

  function enter(item: Waiting): void {
    queue.push(item);
    byLevel.set(item.level, (byLevel.get(item.level) ?? 0) + 1);
    const { timeoutMs } = item.rules;
    if (timeoutMs > 0 && !item.delayed) {
      const leftMs = item.enqueuedMs + timeoutMs - clock.nowMs();
      item.timeout = clock.timer(leftMs, () => timedOut(item));
    }
  }

  /** Refuses one that has left the queue; it may come back when one like it would wait no longer than it can. */
  function evict(item: Waiting, why: string, longestMs: number): void {
    const { rows, tenant, level, enqueuedMs } = item;
    const deadlineMs = clock.nowMs() + item.deadlineMs - enqueuedMs;
    const retryAfterMs = Math.max(1, Math.ceil(waitMs({ rows, tenant, level, deadlineMs }) - longestMs));
    item.reject(new LongshoreError("evicted", "queue", why, { retryAfterMs }));
  }

  function timedOut(item: Waiting): void {
    if (!leave(item)) return;
    if (item.rules.timeoutAction === "delay") {
      item.delayed = true;
      enter(item);
    } else {
      const { timeoutMs } = item.rules;
      const why = `waited ${timeoutMs} ms for ${name}, which is the longest that its queue allows`;
      evict(item, why, timeoutMs);
    }
    changed();
  }

  /** The fastest run's time if even that is too long, 0 if the deadline has passed, otherwise undefined. */
  function hopeless({ deadlineMs, rows, rowBytes }: Waiting, nowMs: number): number | undefined {
    if (nowMs > deadlineMs) return 0;
    if (deadlineMs === Infinity) return undefined;
    const fastestMs = times.fastestMs(rows, nowMs, rowBytes);
    return fastestMs === undefined || nowMs + fastestMs <= deadlineMs ? undefined : fastestMs;
  }

  function refuse(item: Waiting, nowMs: number, fastestMs: number): void {
    const leftMs = item.deadlineMs - nowMs;
    if (leftMs < 0) {
      const passed = `the deadline passed while waiting for ${name}`;
      item.reject(new LongshoreError("deadline-exceeded", "queue", passed));
      return;
    }
    const why = `${name}: ${Math.ceil(leftMs)} ms are left and the fastest run took ${Math.ceil(fastestMs)} ms`;
    evict(item, why, item.deadlineMs - fastestMs - item.enqueuedMs);
  }

  return {
    queue,
    checkFits({ level, maxQueued }, retryAfterMs) {
      if (maxQueued === 0 || (byLevel.get(level) ?? 0) < maxQueued) return;
      throw new LongshoreError(
        "queue-full",
        "admission",
        `${maxQueued} requests of priority ${level} wait for ${name}, which is the most that its policy allows`,
        { retryAfterMs },
      );
    },
    enter,
    leave,
    evictOf(tenant, why) {
      const last = queue.flow(tenant).items.at(-1);
      if (!last || !leave(last)) return false;
      evict(last, why, 0);
      return true;
    },
    isHopeless: (item, nowMs) => hopeless(item, nowMs) !== undefined,
    refuseHopeless(nowMs) {
      for (let head = queue.head(); head; head = queue.head()) {
        const fastestMs = hopeless(head, nowMs);
        if (fastestMs === undefined) return;
        leave(head);
        refuse(head, nowMs, fastestMs);
      }
    },
    rejectAll(problem) {
      for (let item = queue.head(); item; item = queue.head()) {
        leave(item);
        item.reject(problem);
      }
    },
  };
}
