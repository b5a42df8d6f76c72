import type { Batching, Priorities, QueuePolicy } from "@longshore/core";

/** `ModelQueuePolicy` as the schema decodes it. */
export interface TritonQueuePolicy {
  readonly timeout_action?: string;
  readonly default_timeout_microseconds?: number;
  readonly allow_timeout_override?: boolean;
  readonly max_queue_size?: number;
}

/** `dynamic_batching` as the schema decodes it. */
export interface TritonDynamicBatching {
  readonly preferred_batch_size?: readonly number[];
  readonly max_queue_delay_microseconds?: number;
  readonly preserve_ordering?: boolean;
  readonly priority_levels?: number;
  readonly default_priority_level?: number;
  readonly default_queue_policy?: TritonQueuePolicy;
  readonly priority_queue_policy?: readonly { readonly key?: number; readonly value?: TritonQueuePolicy }[];
}

type Bad = (path: string, problem: string) => Error;

function policyOf(written: TritonQueuePolicy, path: string, bad: Bad): QueuePolicy {
  const action = written.timeout_action ?? "REJECT";
  if (action !== "REJECT" && action !== "DELAY") {
    throw bad(`${path} timeout_action`, `is ${action}; expected REJECT, DELAY`);
  }
  const [microseconds, most] = [written.default_timeout_microseconds ?? 0, written.max_queue_size ?? 0];
  if (microseconds < 0)
    throw bad(`${path} default_timeout_microseconds`, `is ${microseconds}; 0 or more is allowed`);
  if (most < 0) throw bad(`${path} max_queue_size`, `is ${most}; 0 or more is allowed`);
  return {
    timeoutAction: action === "DELAY" ? "delay" : "reject",
    timeoutMs: microseconds / 1000,
    mayShorten: written.allow_timeout_override ?? false,
    maxQueued: most,
  };
}

function prioritiesOf(dynamic: TritonDynamicBatching, bad: Bad): Priorities | undefined {
  const { priority_levels: levels = 0, default_priority_level: defaultLevel = 0 } = dynamic;
  const policies = dynamic.priority_queue_policy ?? [];
  if (levels === 0) {
    if (policies.length > 0) throw bad("priority_queue_policy", "needs priority_levels");
    return undefined;
  }
  if (levels < 0 || levels > 1000) throw bad("priority_levels", `is ${levels}; 0 to 1000 is allowed`);
  if (defaultLevel < 1 || defaultLevel > levels) {
    throw bad("default_priority_level", `is ${defaultLevel}; 1 to ${levels} is allowed`);
  }
  return {
    levels,
    defaultLevel,
    policies: Object.fromEntries(
      policies.map(({ key = 0, value = {} }): [number, QueuePolicy] => {
        if (key < 1 || key > levels)
          throw bad("priority_queue_policy", `names level ${key}; there are ${levels}`);
        return [key, policyOf(value, `priority_queue_policy ${key}`, bad)];
      }),
    ),
  };
}

/**
 * Reads `dynamic_batching`. A queue delay that is not written is learned; one of 0 is Triton's way not to wait. Throws
 * `invalid-configuration`.
 */
export function dynamicBatching(dynamic: TritonDynamicBatching, maxBatchSize: number, bad: Bad): Batching {
  const within: Bad = (path, problem) => bad(`dynamic_batching ${path}`, problem);
  const priorities = prioritiesOf(dynamic, within);
  const delay = dynamic.max_queue_delay_microseconds;
  if (delay !== undefined && delay < 0)
    throw within("max_queue_delay_microseconds", `is ${delay}; 0 or more is allowed`);
  for (const size of dynamic.preferred_batch_size ?? []) {
    if (size >= 1 && (maxBatchSize === 0 || size <= maxBatchSize)) continue;
    throw within("preferred_batch_size", `holds ${size}; 1 to max_batch_size (${maxBatchSize}) is allowed`);
  }
  return {
    maxBatchSize,
    ...(dynamic.preferred_batch_size ? { preferredSizes: dynamic.preferred_batch_size } : {}),
    ...(delay === undefined ? {} : { maxQueueDelayMs: delay / 1000 }),
    ...(dynamic.preserve_ordering === undefined ? {} : { preserveOrdering: dynamic.preserve_ordering }),
    ...(priorities ? { priorities } : {}),
    ...(dynamic.default_queue_policy
      ? { queue: policyOf(dynamic.default_queue_policy, "default_queue_policy", within) }
      : {}),
  };
}
