import * as v from "valibot";
import type { BatchIsolation, Batching, PaddedAxis, PaddingBuckets, QueuePolicy } from "@longshore/core";
import { defaults } from "./config.ts";
import { badConfiguration } from "./names.ts";
import { count, defined, duration, strict, word } from "./yaml-parts.ts";

/** A queue's policy as written. */
type WrittenPolicy = { readonly [K in keyof QueuePolicy]?: QueuePolicy[K] | undefined };

/** The key `batching` as written. */
interface WrittenBatching {
  readonly maxBatchSize: number;
  readonly preferredSizes?: readonly number[] | undefined;
  readonly maxQueueDelayMs?: number | undefined;
  readonly preserveOrdering?: boolean | undefined;
  readonly isolation?: BatchIsolation | undefined;
  readonly queue?: WrittenPolicy | undefined;
  readonly priorities?:
    | {
        readonly levels: number;
        readonly defaultLevel?: number | undefined;
        readonly policies?: Readonly<Record<string, WrittenPolicy>> | undefined;
      }
    | undefined;
}

/** The key `buckets` as written. */
interface WrittenBuckets {
  readonly rows?: readonly number[] | undefined;
  readonly axes?:
    | readonly {
        readonly sizes: readonly number[];
        readonly inputs: Readonly<Record<string, number>>;
        readonly outputs?: Readonly<Record<string, number>> | undefined;
        readonly fill?: number | undefined;
      }[]
    | undefined;
}

const queuePolicy: v.GenericSchema<WrittenPolicy> = strict({
  timeoutAction: v.optional(v.picklist(["reject", "delay"])),
  timeoutMs: v.optional(duration),
  mayShorten: v.optional(v.boolean()),
  maxQueued: v.optional(count(0, 1_000_000)),
});

const level = v.pipe(v.string(), v.regex(/^[1-9][0-9]{0,3}$/, "must be a level, such as 1"));

/** The key `batching` of model.yaml. */
export const batching: v.GenericSchema<WrittenBatching> = strict({
  maxBatchSize: count(0, 4096),
  preferredSizes: v.optional(v.array(count(1, 4096))),
  maxQueueDelayMs: v.optional(duration),
  preserveOrdering: v.optional(v.boolean()),
  isolation: v.optional(v.picklist(["exclusive", "tenant", "shared"])),
  queue: v.optional(queuePolicy),
  priorities: v.optional(
    strict({
      levels: count(1, 1000),
      defaultLevel: v.optional(count(1, 1000)),
      policies: v.optional(v.record(level, queuePolicy)),
    }),
  ),
});

const rising = v.pipe(
  v.array(count(1, 2 ** 31 - 1)),
  v.minLength(1),
  v.maxLength(64),
  v.check(
    (sizes) => sizes.every((size, index) => index === 0 || size > (sizes[index - 1] ?? 0)),
    "must rise",
  ),
);
const axes = v.record(word, count(1, 15));

/** The key `buckets` of model.yaml. */
export const buckets: v.GenericSchema<WrittenBuckets> = strict({
  rows: v.optional(rising),
  axes: v.optional(
    v.pipe(
      v.array(
        strict({ sizes: rising, inputs: axes, outputs: v.optional(axes), fill: v.optional(v.number()) }),
      ),
      v.maxLength(16),
    ),
  ),
});

function policyOf(written: WrittenPolicy): QueuePolicy {
  return {
    timeoutAction: written.timeoutAction ?? "reject",
    timeoutMs: written.timeoutMs ?? 0,
    mayShorten: written.mayShorten ?? true,
    maxQueued: written.maxQueued ?? 0,
  };
}

function bucketsOf(written: WrittenBuckets): PaddingBuckets {
  return {
    ...(written.rows ? { rows: written.rows } : {}),
    axes: (written.axes ?? []).map(({ sizes, inputs, outputs, fill }): PaddedAxis => ({
      sizes,
      inputs,
      outputs: outputs ?? {},
      fill: fill ?? 0,
    })),
  };
}

/** What both keys say together. Throws `invalid-configuration` for levels that there are not. */
export function batchingOf(
  model: string,
  written: WrittenBatching | undefined,
  padding: WrittenBuckets | undefined,
): Batching {
  const { queue, priorities, ...rest }: WrittenBatching = written ?? defaults.batching;
  const levels = priorities?.levels ?? 0;
  const named = [priorities?.defaultLevel ?? 1, ...Object.keys(priorities?.policies ?? {}).map(Number)];
  const wrong = priorities ? named.find((one) => one > levels) : undefined;
  if (wrong !== undefined) {
    throw badConfiguration(
      model,
      "model.yaml",
      "batching.priorities",
      `names level ${wrong}; there are ${levels}`,
    );
  }
  return {
    ...defined(rest),
    ...(queue ? { queue: policyOf(queue) } : {}),
    ...(priorities
      ? {
          priorities: {
            levels,
            defaultLevel: priorities.defaultLevel ?? 1,
            policies: Object.fromEntries(
              Object.entries(priorities.policies ?? {}).map(([key, policy]) => [key, policyOf(policy)]),
            ),
          },
        }
      : {}),
    ...(padding ? { buckets: bucketsOf(padding) } : {}),
  };
}
