import * as v from "valibot";
import type { BatchIsolation, Batching, PaddingBuckets, QueuePolicy } from "@longshore/core";
import type { PaddedAxis } from "@longshore/core/internal";
import { defaults } from "./config.ts";
import { badConfiguration } from "./names.ts";
import { about, count, defined, duration, strict, word } from "./yaml-parts.ts";

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
  timeoutAction: v.optional(
    about(
      "The treatment of a request that waited too long. Default: `reject`.",
      v.picklist(["reject", "delay"]),
    ),
  ),
  timeoutMs: v.optional(about("Longest wait in the queue; 0 for no limit. Default: 0.", duration)),
  mayShorten: v.optional(about("Whether a request may shorten its own wait. Default: `true`.", v.boolean())),
  maxQueued: v.optional(about("Requests that may wait; 0 for no limit. Default: 0.", count(0, 1_000_000))),
});

const level = v.pipe(v.string(), v.regex(/^[1-9][0-9]{0,3}$/, "must be a level, such as 1"));

/** The key `batching` of model.yaml. */
export const batching: v.GenericSchema<WrittenBatching> = strict({
  maxBatchSize: about("Rows in one run.", count(0, 4096)),
  preferredSizes: v.optional(about("Sizes that a wait aims at. Default: learned.", v.array(count(1, 4096)))),
  maxQueueDelayMs: v.optional(
    about("Longest wait for more rows; 0 never waits. Default: learned.", duration),
  ),
  preserveOrdering: v.optional(
    about("Answers leave in the order of their requests. Default: `false`.", v.boolean()),
  ),
  isolation: v.optional(
    about(
      "Which requests may share a run: none, those of one tenant, or all. Default: `tenant`.",
      v.picklist(["exclusive", "tenant", "shared"]),
    ),
  ),
  queue: v.optional(about("Queue policy.", queuePolicy)),
  priorities: v.optional(
    about(
      "Priority classes; 1 is the most urgent. Default: one class.",
      strict({
        levels: about("Number of classes.", count(1, 1000)),
        defaultLevel: v.optional(about("Class of requests that name none. Default: 1.", count(1, 1000))),
        policies: v.optional(about("Class to queue policy.", v.record(level, queuePolicy))),
      }),
    ),
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
  rows: v.optional(about("Batch sizes.", rising)),
  axes: v.optional(
    about(
      "Axes and the sizes they are padded to.",
      v.pipe(
        v.array(
          strict({
            sizes: about("Sizes, rising.", rising),
            inputs: about("Input to axis.", axes),
            outputs: v.optional(about("Output to axis that is cut back. Default: none.", axes)),
            fill: v.optional(about("Value of the padding. Default: 0.", v.number())),
          }),
        ),
        v.maxLength(16),
      ),
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

/** The batching settings of both keys together. Throws `invalid-configuration` for levels that there are not. */
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
