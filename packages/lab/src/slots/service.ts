import { type Call, type Clock, LongshoreError } from "@longshore/core";
import { abortError, whenAborted } from "@longshore/core/internal";

/** A step of a request: the resource that it needs, and its share of the request's time. */
export interface StepWork {
  /** Undefined for a transform. */
  readonly graph: string | undefined;
  /** 0..1 of the work of the request. */
  readonly ratio: number;
  /** Elements that it runs for, one by one. */
  readonly runs: number;
  /**
   * Elements that this step, and the neighbours with the same figure, work on together, while the next group is worked on
   * beside them. Undefined for a step that does all its runs before the next one begins.
   */
  readonly together?: number;
}

/** The slots that work off requests in the order of arrival: whole ones (`fifoSlots`), or their steps (`stepSlots`). */
export interface Slots {
  /**
   * Waits for a slot and holds it for what `serviceMs` says when it begins. Resolves with wait and service times. An
   * abort in the queue leaves it; an abort in service rejects at once, but the slot stays taken: a run cannot be cancelled.
   * Rejects with `queue-full` above the limit.
   */
  work(
    serviceMs: () => number,
    call: Call,
    /** Its expected time, for callers that want to know their wait; default: the mean of past services. */
    expectedMs?: number,
    /** Its steps, for slots that work off steps; default: one run. */
    steps?: readonly StepWork[],
  ): Promise<{ readonly queueMs: number; readonly serviceMs: number }>;
  /** Expected wait of a request that comes now; with steps, only their graphs count. */
  waitMs(steps?: readonly StepWork[]): number;
  /** Accepted and not finished. */
  readonly inFlight: number;
  /** Share of the slots that are busy now. */
  readonly busyRatio: number;
}

interface Waiting {
  readonly sinceMs: number;
  readonly serviceMs: () => number;
  readonly call: Call;
  readonly expectedMs: number | undefined;
  readonly begin: (queueMs: number, serviceMs: number) => void;
  readonly leave: () => void;
}

/** `count` slots with a bounded queue. */
export function fifoSlots(options: {
  readonly clock: Clock;
  readonly count: number;
  readonly maxQueue?: number;
}): Slots {
  const { clock, count, maxQueue = 1000 } = options;
  const queue: Waiting[] = [];
  const busyUntilMs = new Set<{ untilMs: number }>();
  let meanServiceMs = 0;

  function fill(): void {
    while (busyUntilMs.size < count) {
      const next = queue.shift();
      if (!next) return;
      const nowMs = clock.nowMs();
      const serviceMs = next.serviceMs();
      meanServiceMs = meanServiceMs === 0 ? serviceMs : meanServiceMs + 0.1 * (serviceMs - meanServiceMs);
      const held = { untilMs: nowMs + serviceMs };
      busyUntilMs.add(held);
      // The slot is free before the answer leaves: the load that it reports does not include itself.
      clock.timer(serviceMs, () => {
        busyUntilMs.delete(held);
        fill();
      });
      next.begin(nowMs - next.sinceMs, serviceMs);
    }
  }

  return {
    work(serviceMs, call, expectedMs) {
      if (queue.length >= maxQueue) {
        return Promise.reject(
          new LongshoreError(
            "queue-full",
            "admission",
            `${queue.length} requests wait already; the limit is ${maxQueue}`,
          ),
        );
      }
      return new Promise((resolve, reject) => {
        if (call.abort.aborted) {
          reject(abortError(call.abort, "queue"));
          return;
        }
        const waiting: Waiting = {
          sinceMs: clock.nowMs(),
          serviceMs,
          call,
          expectedMs,
          begin(queueMs, tookMs) {
            clock.timer(tookMs, () => {
              stopListening();
              resolve({ queueMs, serviceMs: tookMs });
            });
          },
          leave() {
            const at = queue.indexOf(waiting);
            if (at >= 0) queue.splice(at, 1);
            reject(abortError(call.abort, at >= 0 ? "queue" : "execute"));
          },
        };
        const stopListening = whenAborted(call.abort, waiting.leave);
        queue.push(waiting);
        fill();
      });
    },
    waitMs() {
      if (busyUntilMs.size < count) return 0;
      const nowMs = clock.nowMs();
      let first = Infinity;
      for (const { untilMs } of busyUntilMs) first = Math.min(first, untilMs - nowMs);
      let workMs = 0;
      for (const { expectedMs } of queue) workMs += expectedMs ?? meanServiceMs;
      return Math.max(0, first) + workMs / count;
    },
    get inFlight() {
      return queue.length + busyUntilMs.size;
    },
    get busyRatio() {
      return busyUntilMs.size / count;
    },
  };
}
