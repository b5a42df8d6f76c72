import { abortError, type Call, LongshoreError, type Tensors, whenAborted } from "@longshore/core";
import type { Candidate } from "./form-batch.ts";
import type { WaitingRules } from "./queue-policy.ts";

/** What a run gave and took. */
export interface RunOutcome {
  readonly outputs: Tensors;
  readonly queueMs: number;
  readonly runMs: number;
  /** This request's share of the instance's time: less than `runMs` when the run was shared. */
  readonly busyMs: number;
}

/** What the scheduler knows of a request when it comes. */
export interface Arrived extends Omit<Candidate, "delayed" | "batchKey"> {
  readonly batchKey: string | undefined;
  /** Padded. */
  readonly feeds: Tensors;
  /** Cuts the request's outputs back to its own sizes. */
  readonly cut: (outputs: Tensors) => Tensors;
  readonly fetches: readonly string[];
  readonly call: Call;
  readonly rules: WaitingRules;
}

/** A request that waits or runs. */
export interface Waiting extends Omit<Arrived, "batchKey"> {
  /** Taken away when it must run alone. */
  batchKey: string | undefined;
  /** Set, outside the queue only, when it has waited for too long. */
  delayed: boolean;
  /** Ends its wait; armed while it is in the queue. */
  timeout: Disposable | undefined;
  readonly settled: boolean;
  /** Called when its caller gives up while it runs. */
  left: (() => void) | undefined;
  resolve(outcome: RunOutcome): void;
  reject(error: LongshoreError): void;
}

/**
 * The outcome of a request that `begin` puts into a queue. `gaveUp` is called when the call ends before the outcome is
 * there.
 */
export function outcomeOf(
  arrived: Arrived,
  begin: (item: Waiting) => void,
  gaveUp: (item: Waiting) => void,
): Promise<RunOutcome> {
  return new Promise((resolve, reject) => {
    const { abort } = arrived.call;
    const settle = (): boolean => {
      if (item.settled) return false;
      item.settled = true;
      unheard();
      return true;
    };
    const item: Waiting & { settled: boolean } = {
      ...arrived,
      settled: false,
      delayed: false,
      timeout: undefined,
      left: undefined,
      resolve: (outcome) => void (settle() && resolve(outcome)),
      reject: (error) => void (settle() && reject(error)),
    };
    const onAbort = (): void => {
      item.reject(abortError(abort, "queue"));
      gaveUp(item);
    };
    const unheard = whenAborted(abort, onAbort);
    begin(item);
  });
}

/** The call of a shared run: it ends when every member's caller has given up. Call `over` after the run. */
export function joinedCall(
  members: readonly Waiting[],
  first: Waiting,
): { readonly call: Call; readonly over: () => void } {
  if (members.length === 1) return { call: first.call, over: nothing };
  const controller = new AbortController();
  let interested = members.length;
  for (const member of members) {
    member.left = () => {
      interested--;
      if (interested > 0) return;
      controller.abort(new LongshoreError("cancelled", "execute", "nobody waits for the run any more"));
    };
  }
  return {
    call: {
      ...first.call,
      abort: controller.signal,
      deadlineMs: Math.max(...members.map(({ deadlineMs }) => deadlineMs)),
    },
    over() {
      for (const member of members) member.left = undefined;
    },
  };
}

function nothing(): void {
  // A request alone hears of its own end.
}
