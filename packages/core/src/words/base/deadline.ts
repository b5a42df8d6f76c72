/**
 * One timer of the injected clock, set here and nowhere else, ends work at a deadline.
 *
 * Three kinds of work end at one. A call that goes on to others ends as a call within its parent (`untilDeadline`; `withTime`
 * for work that sets its own limit). A promise that cannot be stopped is no longer waited for (`untilEnded`). Any other work is
 * told of the moment (`atDeadline`).
 */
import { type Call, childCall, ownCall } from "./call.ts";
import type { Clock } from "./clock.ts";
import { abortError, LongshoreError, type Stage } from "./error.ts";
import { untilAborted } from "./until-aborted.ts";

/** Calls `late` when the deadline passes, unless the result is disposed before. Undefined where there is no deadline. */
export function atDeadline(clock: Clock, deadlineMs: number, late: () => void): Disposable | undefined {
  return deadlineMs === Infinity ? undefined : clock.timer(deadlineMs - clock.nowMs(), late);
}

/** A call that ends at its deadline. Dispose it when its work ends. */
export interface EndingCall extends Disposable {
  readonly call: Call;
}

/** The same call, ended with the error that `late` makes when its deadline passes. Undefined where there is no deadline. */
export function untilDeadline(
  parent: Call,
  clock: Clock,
  late: () => LongshoreError,
): EndingCall | undefined {
  return parent.deadlineMs === Infinity ? undefined : new Ending(parent, clock, late);
}

/**
 * The same call with `mostMs` to live from now, whatever its deadline was; after that it ends with the error that `late` makes.
 */
export function withTime(parent: Call, clock: Clock, mostMs: number, late: () => LongshoreError): EndingCall {
  const own = ownCall(parent);
  own.deadlineMs = clock.nowMs() + mostMs;
  return new Ending(own, clock, late);
}

class Ending implements EndingCall {
  readonly #child: ReturnType<typeof childCall>;
  readonly #timer: Disposable | undefined;

  constructor(parent: Call, clock: Clock, late: () => LongshoreError) {
    const child = childCall(parent);
    this.#child = child;
    this.#timer = atDeadline(clock, parent.deadlineMs, () => child.cancel(late()));
  }

  get call(): Call {
    return this.#child.call;
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#child[Symbol.dispose]();
  }
}

/** That the deadline passed, in the words for work of any kind. */
export function pastDeadline(stage: Stage): LongshoreError {
  return new LongshoreError("deadline-exceeded", stage, "the deadline passed before the work was done");
}

/** Throws when the call was cancelled or its deadline has passed. */
export function checkCall(call: Call, clock: Clock, stage: Stage): void {
  if (call.abort.aborted) throw abortError(call.abort, stage);
  if (clock.nowMs() > call.deadlineMs) throw pastDeadline(stage);
}

/** Throws for calls that ended before they began. */
export function checkFresh(call: Call, nowMs: number): void {
  if (call.abort.aborted) throw abortError(call.abort, "plan");
  if (call.deadlineMs <= nowMs) {
    throw new LongshoreError(
      "deadline-past",
      "plan",
      `the deadline had already passed (${Math.round(nowMs - call.deadlineMs)} ms ago)`,
    );
  }
}

/** `untilAborted` that rejects with `deadline-exceeded` when the call's deadline passes, too. */
export function untilEnded<T>(
  work: Promise<T>,
  { abort, deadlineMs }: Pick<Call, "abort" | "deadlineMs">,
  clock: Clock,
  stage: Stage,
): Promise<T> {
  if (deadlineMs === Infinity) return untilAborted(work, abort, stage);
  return new Promise((resolve, reject) => {
    const timer = atDeadline(clock, deadlineMs, () => reject(pastDeadline(stage)));
    untilAborted(work, abort, stage).then(
      (value) => {
        timer?.[Symbol.dispose]();
        resolve(value);
      },
      (thrown: unknown) => {
        timer?.[Symbol.dispose]();
        reject(thrown);
      },
    );
  });
}
