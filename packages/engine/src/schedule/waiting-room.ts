import { type Clock, LongshoreError, type TenantId } from "@longshore/core";
import { type FairQueue, fairQueue, type Flow } from "./fair-queue.ts";
import type { WaitingRules } from "./queue-policy.ts";
import type { RunTimes } from "./run-times.ts";
import type { Waiting } from "./waiting.ts";

/** The queue of one scheduler with the rules of its model's classes: limits, timeouts and what follows from them. */
export interface WaitingRoom {
  readonly queue: FairQueue<Waiting>;
  /** Throws `queue-full` when the class has no place left. */
  checkPlace(rules: WaitingRules, retryAfterMs: number): void;
  enter(item: Waiting): void;
  leave(item: Waiting): boolean;
  /** Makes the last in the order of a tenant leave, with `evicted`; false when none waits. */
  evictOf(tenant: TenantId, why: string): boolean;
  /** Whether it cannot be done in time, so that it is refused instead of served. */
  isHopeless(item: Waiting, nowMs: number): boolean;
  /** Refuses the next to be served for as long as it cannot be done in time. */
  refuseHopeless(nowMs: number): void;
  rejectAll(problem: LongshoreError): void;
}

/** What a room needs of its scheduler. */
export interface RoomParts {
  readonly name: string;
  readonly clock: Clock;
  readonly times: RunTimes;
  readonly weightOf: (tenant: TenantId) => number;
  /** Called when time changed who waits or in which order. */
  readonly changed: () => void;
}

export function waitingRoom({ name, clock, times, weightOf, changed }: RoomParts): WaitingRoom {
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

  function timedOut(item: Waiting): void {
    if (!leave(item)) return;
    if (item.rules.timeoutAction === "delay") {
      item.delayed = true;
      enter(item);
    } else {
      item.reject(
        new LongshoreError(
          "evicted",
          "queue",
          `waited ${item.rules.timeoutMs} ms for ${name}, which is the longest that its queue allows`,
        ),
      );
    }
    changed();
  }

  function hopeless({ deadlineMs, rows, rowBytes }: Waiting, nowMs: number): LongshoreError | undefined {
    if (nowMs > deadlineMs) {
      return new LongshoreError(
        "deadline-exceeded",
        "queue",
        `the deadline passed while waiting for ${name}`,
      );
    }
    if (deadlineMs === Infinity) return undefined;
    const fastestMs = times.fastestMs(rows, nowMs, rowBytes);
    if (fastestMs === undefined || nowMs + fastestMs <= deadlineMs) return undefined;
    return new LongshoreError(
      "evicted",
      "queue",
      `${name}: ${Math.ceil(deadlineMs - nowMs)} ms are left and the fastest run took ${Math.ceil(fastestMs)} ms`,
    );
  }

  return {
    queue,
    checkPlace({ level, maxQueued }, retryAfterMs) {
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
      const flow: Flow<Waiting> = queue.flow(tenant);
      const last = flow.items.at(-1);
      if (!last || !leave(last)) return false;
      last.reject(new LongshoreError("evicted", "queue", why, { retryAfterMs: Math.max(1, flow.workMs) }));
      return true;
    },
    isHopeless: (item, nowMs) => hopeless(item, nowMs) !== undefined,
    refuseHopeless(nowMs) {
      for (let head = queue.head(); head; head = queue.head()) {
        const problem = hopeless(head, nowMs);
        if (!problem) return;
        leave(head);
        head.reject(problem);
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
