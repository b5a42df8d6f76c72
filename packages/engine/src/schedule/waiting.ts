import { abortError, type Call, LongshoreError, type Tensors } from "@longshore/core";
import type { Candidate } from "./form-batch.ts";

/** What a run gave and took. */
export interface RunOutcome {
  readonly outputs: Tensors;
  readonly queueMs: number;
  readonly runMs: number;
  /** This request's share of the instance's time: less than `runMs` when the run was shared. */
  readonly busyMs: number;
}

/** A request that waits or runs. */
export interface Waiting extends Omit<Candidate, "batchKey"> {
  /** Taken away when it must run alone. */
  batchKey: string | undefined;
  readonly feeds: Tensors;
  readonly fetches: readonly string[];
  readonly call: Call;
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
  facts: Omit<Waiting, "settled" | "left" | "resolve" | "reject">,
  begin: (item: Waiting) => void,
  gaveUp: (item: Waiting) => void,
): Promise<RunOutcome> {
  return new Promise((resolve, reject) => {
    const { abort } = facts.call;
    let settled = false;
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      abort.removeEventListener("abort", onAbort);
      return true;
    };
    const item: Waiting = {
      ...facts,
      get settled() {
        return settled;
      },
      left: undefined,
      resolve: (outcome) => void (settle() && resolve(outcome)),
      reject: (error) => void (settle() && reject(error)),
    };
    const onAbort = (): void => {
      item.reject(abortError(abort, "queue"));
      gaveUp(item);
    };
    abort.addEventListener("abort", onAbort, { once: true });
    begin(item);
  });
}

/** The call of a shared run: it ends when every member's caller has given up. Dispose it after the run. */
export function joinedCall(
  members: readonly Waiting[],
  first: Waiting,
): { readonly call: Call } & Disposable {
  if (members.length === 1) return { call: first.call, [Symbol.dispose]: () => undefined };
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
    [Symbol.dispose]: () => {
      for (const member of members) member.left = undefined;
    },
  };
}
