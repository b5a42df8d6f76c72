import type { Batching, QueuePolicy } from "@longshore/core";

/** What holds for one request while it waits. */
export interface WaitingRules {
  readonly level: number;
  /** The longest wait, in milliseconds; 0 for any. */
  readonly timeoutMs: number;
  readonly timeoutAction: QueuePolicy["timeoutAction"];
  /** Requests of its class that may wait; 0 for as many as the place takes. */
  readonly maxQueued: number;
}

const noPolicy: QueuePolicy = { timeoutAction: "reject", timeoutMs: 0, mayShorten: true, maxQueued: 0 };

/**
 * The rules for a request that asks for a class and a longest wait, as Triton has them: a class that there is not is the
 * default one, and a wait can be asked for only where the policy allows it, and only a shorter one. Where no policy is
 * written, a request may say how long it wants to wait.
 */
export function waitingRules(
  { priorities, queue }: Pick<Batching, "priorities" | "queue">,
  priority: number | undefined,
  wantedMs: number | undefined,
): WaitingRules {
  const asked = priority !== undefined && priority >= 1 && priority <= (priorities?.levels ?? 0);
  const level = asked ? priority : (priorities?.defaultLevel ?? 1);
  const policy = priorities?.policies[level] ?? queue ?? noPolicy;
  const shorter =
    policy.mayShorten &&
    wantedMs !== undefined &&
    wantedMs > 0 &&
    (policy.timeoutMs === 0 || wantedMs < policy.timeoutMs);
  return {
    level,
    timeoutMs: shorter ? wantedMs : policy.timeoutMs,
    timeoutAction: policy.timeoutAction,
    maxQueued: policy.maxQueued,
  };
}
