import type { Call } from "@longshore/core";
import { abortError, whenAborted } from "@longshore/core/internal";
import type { Program } from "../repository/index.ts";
import type { SegmentPlan } from "./segment-plan.ts";

/**
 * Limits the memory of values between the steps of pipelines. A request inside a pipeline holds the outputs of its steps. When
 * a late step is slow, requests pile up before it with images and tensors in hand. So a request enters a pipeline only when its
 * expected peak fits beside what others hold, and when fewer are inside than the operator allows. Requests that wait hold
 * nothing but their inputs. Requests inside never wait here, so all of them get through.
 */
export interface PipelineAdmission {
  readonly heldBytes: number;
  readonly waiting: number;
  /** First come, first served, except that no request waits after one whose own pipeline is full. Rejects when the call ends. */
  enter(plan: SegmentPlan, call: Call): Promise<AdmittedPipeline>;
}

/** One request inside. Dispose it when the request ends. */
export interface AdmittedPipeline extends Disposable {
  /** Told how much the request held at most, which the next one is expected to. */
  held(peakBytes: number): void;
}

interface Waiting {
  readonly plan: SegmentPlan;
  begin(): void;
}

/** The share of an earlier request's peak that is still expected when the newest held less. */
const memory = 0.8;

const outside: AdmittedPipeline = { held: () => undefined, [Symbol.dispose]: () => undefined };

/** Room for `maxBytes` between the steps of all pipelines. */
export function pipelineAdmission(maxBytes: number): PipelineAdmission {
  const expected = new WeakMap<SegmentPlan, number>();
  const inside = new WeakMap<Program, number>();
  const queue: Waiting[] = [];
  let heldBytes = 0;
  let entered = 0;

  const full = ({ program }: SegmentPlan): boolean =>
    (inside.get(program) ?? 0) >= (program.maxInFlight ?? Infinity);
  const fits = (plan: SegmentPlan): boolean =>
    entered === 0 || heldBytes + (expected.get(plan) ?? 0) <= maxBytes;

  function next(): void {
    for (let at = 0; at < queue.length;) {
      const item = queue[at];
      if (!item) return;
      if (full(item.plan)) {
        at++;
        continue;
      }
      if (!fits(item.plan)) return;
      queue.splice(at, 1);
      item.begin();
    }
  }

  function enter(plan: SegmentPlan): AdmittedPipeline {
    const { program } = plan;
    const bytes = expected.get(plan) ?? 0;
    entered += 1;
    heldBytes += bytes;
    inside.set(program, (inside.get(program) ?? 0) + 1);
    let over = false;
    return {
      held(peakBytes) {
        expected.set(plan, Math.max(peakBytes, (expected.get(plan) ?? 0) * memory));
      },
      [Symbol.dispose]() {
        if (over) return;
        over = true;
        entered -= 1;
        heldBytes -= bytes;
        inside.set(program, (inside.get(program) ?? 1) - 1);
        next();
      },
    };
  }

  return {
    get heldBytes() {
      return heldBytes;
    },
    get waiting() {
      return queue.length;
    },
    enter(plan, { abort }) {
      // A bare model has nothing between its steps.
      if (plan.program.bare) return Promise.resolve(outside);
      return new Promise((resolve, reject) => {
        if (abort.aborted) return reject(abortError(abort, "queue"));
        const stop = (): void => {
          queue.splice(queue.indexOf(item), 1);
          reject(abortError(abort, "queue"));
          next();
        };
        const item: Waiting = {
          plan,
          begin() {
            stopListening();
            resolve(enter(plan));
          },
        };
        const stopListening = whenAborted(abort, stop);
        queue.push(item);
        next();
      });
    },
  };
}
