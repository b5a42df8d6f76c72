/**
 * An endpoint that works pipelines as an engine does: the steps of several requests side by side. Each graph has one instance
 * with a queue of its own, all transforms have one thread, and no more graphs run at once than there are cores; transforms come
 * on top, and what is under way then shares the cores. A step that runs for each element requests its graph again for each, so
 * that two requests in the same step take turns, and one with two groups of elements under way takes two of three. Within a
 * queue it is first come, first served.
 */
import { type Call, type Clock, LongshoreError } from "@longshore/core";
import { abortError, fanOut, whenAborted } from "@longshore/core/internal";
import type { Slots, StepWork } from "./service.ts";
import { type SharedProcessor, sharedProcessor } from "./shared-processor.ts";
import { aloneRatio, groupsUnderWay, stepPartsOf } from "./step-parts.ts";

/** A run of a step that waits for its graph, or for the thread of the transforms. */
interface Turn {
  readonly graph: string | undefined;
  readonly workMs: number;
  readonly begin: () => void;
}

/** A request inside. */
interface Inside {
  /** The work that its graphs have not begun, in milliseconds of a core. */
  readonly leftMs: Map<string, number>;
  begun: boolean;
}

/** A request without steps is one run of a graph. */
const whole: readonly StepWork[] = [{ graph: "", ratio: 1, runs: 1 }];

/**
 * Slots of an endpoint with this many cores. `maxQueue` bounds the requests of which no step has run yet; `processor` does the
 * work, and may be shared with other endpoints.
 */
export function stepSlots(options: {
  readonly clock: Clock;
  readonly cores: number;
  readonly maxQueue?: number;
  readonly processor?: SharedProcessor;
}): Slots {
  const { clock, cores, maxQueue = 1000 } = options;
  const processor = options.processor ?? sharedProcessor({ clock, cores });
  const turns: Turn[] = [];
  /** Graphs that run, and `undefined` for the thread of the transforms, to when they end with a core of their own. */
  const busy = new Map<string | undefined, number>();
  const inside = new Set<Inside>();
  const running = (): number => busy.size - (busy.has(undefined) ? 1 : 0);

  const mayBegin = ({ graph }: Turn): boolean =>
    !busy.has(graph) && (graph === undefined || running() < cores);

  function fill(): void {
    for (let at = turns.findIndex(mayBegin); at >= 0; at = turns.findIndex(mayBegin)) {
      const [turn] = turns.splice(at, 1);
      if (!turn) return;
      busy.set(turn.graph, clock.nowMs() + turn.workMs);
      turn.begin();
    }
  }

  /**
   * One run of a step; resolves with how long it waited. A request that gives up while it waits leaves; a run that has begun
   * goes on to its end.
   */
  function run(graph: string | undefined, workMs: number, call: Call, begun: () => void): Promise<number> {
    return new Promise((resolve, reject) => {
      if (call.abort.aborted) return reject(abortError(call.abort, "queue"));
      const sinceMs = clock.nowMs();
      const turn: Turn = {
        graph,
        workMs,
        begin() {
          const queueMs = clock.nowMs() - sinceMs;
          begun();
          processor.run(workMs, () => {
            busy.delete(graph);
            stopListening();
            resolve(queueMs);
            fill();
          });
        },
      };
      const stopListening = whenAborted(call.abort, () => {
        const at = turns.indexOf(turn);
        if (at >= 0) turns.splice(at, 1);
        reject(abortError(call.abort, at >= 0 ? "queue" : "execute"));
      });
      turns.push(turn);
      fill();
    });
  }

  async function work(
    parts: ReturnType<typeof stepPartsOf>,
    wholeMs: number,
    call: Call,
    request: Inside,
  ): Promise<{ readonly queueMs: number; readonly serviceMs: number }> {
    const startedMs = clock.nowMs();
    let queueMs = 0;
    for (const groups of parts) {
      await fanOut(groups.length, groupsUnderWay, call, async (index, own) => {
        for (const { graph, ratio, first } of groups[index] ?? []) {
          const workMs = ratio * wholeMs;
          const waitedMs = await run(graph, workMs, own, () => {
            request.begun = true;
            if (graph !== undefined) addTo(request.leftMs, graph, -workMs);
          });
          // From the first run on a step is running, as an engine counts it; groups wait side by side.
          if (first) queueMs += waitedMs / groups.length;
        }
      });
    }
    return { queueMs, serviceMs: clock.nowMs() - startedMs - queueMs };
  }

  return {
    async work(serviceMs, call, _expectedMs, steps = whole) {
      const waiting = [...inside].filter(({ begun }) => !begun).length;
      if (waiting >= maxQueue) {
        throw new LongshoreError(
          "queue-full",
          "admission",
          `${waiting} requests wait already; the limit is ${maxQueue}`,
        );
      }
      const parts = stepPartsOf(steps);
      // Alone it takes the service time, even if parts of its work run side by side.
      const wholeMs = serviceMs() / aloneRatio(parts, cores);
      const leftMs = new Map<string, number>();
      for (const { graph, ratio } of steps) if (graph !== undefined) addTo(leftMs, graph, ratio * wholeMs);
      const request: Inside = { leftMs, begun: false };
      inside.add(request);
      try {
        return await work(parts, wholeMs, call, request);
      } finally {
        inside.delete(request);
      }
    },
    waitMs(steps) {
      const asked = steps && new Set(steps.map(({ graph }) => graph));
      const nowMs = clock.nowMs();
      let totalMs = 0;
      for (const [graph, endsMs] of busy)
        if (graph !== undefined && (!asked || asked.has(graph))) totalMs += Math.max(0, endsMs - nowMs);
      for (const { leftMs } of inside)
        for (const [graph, ms] of leftMs) if (!asked || asked.has(graph)) totalMs += Math.max(0, ms);
      return totalMs;
    },
    get inFlight() {
      return inside.size;
    },
    get busyRatio() {
      return Math.min(1, running() / cores);
    },
  };
}

function addTo(sums: Map<string, number>, key: string, ms: number): void {
  sums.set(key, (sums.get(key) ?? 0) + ms);
}
