import type { Batching, QueuePolicy } from "@longshore/core";

/** The rules for one waiting request. */
export interface WaitingRules {
  readonly level: number;
  /** The longest wait, in milliseconds; 0 for any. */
  readonly timeoutMs: number;
  readonly timeoutAction: QueuePolicy["timeoutAction"];
  /** The most waiting requests of its class; 0 for as many as the engine takes. */
  readonly maxQueued: number;
}

const noPolicy: QueuePolicy = { timeoutAction: "reject", timeoutMs: 0, mayShorten: true, maxQueued: 0 };

/**
 * The rules for a request that names a class and a longest wait, as in Triton. An unknown class means the default class. A wait is used
 * only if the policy allows it and only if it is shorter. Without a policy, a request may choose its wait.
 */
export function waitingRules(
  { priorities, queue }: Pick<Batching, "priorities" | "queue">,
  priority: number | undefined,
  wantedMs: number | undefined,
): WaitingRules {
  const isListed = priority !== undefined && priority >= 1 && priority <= (priorities?.levels ?? 0);
  const level = isListed ? priority : (priorities?.defaultLevel ?? 1);
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
