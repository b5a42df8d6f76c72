import {
  type Call,
  type Datatype,
  type Json,
  LongshoreError,
  type ModelDescription,
  type ModelKnowledge,
  type PortSpec,
  type Priorities,
  type QueuePolicy,
  type WireResponse,
} from "@longshore/core";
import type { ModelAddress } from "@longshore/core/internal";
import { findModel } from "./find-model.ts";
import { isPipeline, platform } from "./metadata.ts";
import type { Api, IncomingRequest, Served, ServerState } from "./parts.ts";
import { jsonReply } from "./replies.ts";

/**
 * Triton's `ModelConfig` as JSON. Fields that the description determines come from it, so that they describe what is served. Fields that
 * only the operator's file knows (optimisation, parameters, warm-up) come from the file. Every field that Triton writes without being set
 * is present with its default, since clients read these unconditionally.
 */

type Fields = Readonly<Record<string, Json>>;

function configType(datatype: Datatype): string {
  return datatype === "BYTES" ? "TYPE_STRING" : `TYPE_${datatype}`;
}

function isFields(value: Json | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function listOf(value: Json | undefined): readonly Fields[] {
  return Array.isArray(value) ? (value as readonly Json[]).filter(isFields) : [];
}

function fieldsOf(value: Json | undefined): Fields {
  return isFields(value) ? value : {};
}

const plainInput: Fields = {
  format: "FORMAT_NONE",
  is_shape_tensor: false,
  allow_ragged_batch: false,
  optional: false,
  is_non_linear_format_io: false,
};
const plainOutput: Fields = { label_filename: "", is_shape_tensor: false, is_non_linear_format_io: false };

function ports(
  list: readonly PortSpec[],
  batched: boolean,
  written: Json | undefined,
  plain: Fields,
): readonly Fields[] {
  const own = new Map(listOf(written).map((one) => [one["name"], one]));
  return list.map(({ name, datatype, shape }) => ({
    ...plain,
    ...own.get(name),
    name,
    data_type: configType(datatype),
    dims: batched ? shape.slice(1) : shape,
  }));
}

const microseconds = (ms: number): number => Math.round(ms * 1000);

function queuePolicy({ timeoutAction, timeoutMs, mayShorten, maxQueued }: QueuePolicy): Fields {
  return {
    timeout_action: timeoutAction === "delay" ? "DELAY" : "REJECT",
    default_timeout_microseconds: microseconds(timeoutMs),
    allow_timeout_override: mayShorten,
    max_queue_size: maxQueued,
  };
}

function priorityFields(priorities: Priorities | undefined): Fields {
  const policies = Object.entries(priorities?.policies ?? {});
  return {
    priority_levels: priorities?.levels ?? 0,
    default_priority_level: priorities?.defaultLevel ?? 0,
    priority_queue_policy: Object.fromEntries(policies.map(([level, one]) => [level, queuePolicy(one)])),
  };
}

function scheduling({ batching, sequence, variants }: ModelDescription, written: Fields): Fields {
  if (isFields(written["ensemble_scheduling"])) {
    return { ensemble_scheduling: written["ensemble_scheduling"] };
  }
  const own = written["sequence_batching"];
  if (sequence || isFields(own)) {
    return {
      sequence_batching: {
        // One of two in Triton's message: gRPC cannot carry both.
        ...(isFields(own) && isFields(own["oldest"]) ? {} : { direct: {} }),
        control_input: [],
        state: (sequence?.states ?? []).map(({ input, output, datatype, shape }) => ({
          input_name: input,
          output_name: output,
          data_type: configType(datatype),
          dims: batching.maxBatchSize > 0 ? shape.slice(1) : shape,
          initial_state: [],
        })),
        ...(isFields(own) ? own : {}),
        max_sequence_idle_microseconds: microseconds(sequence?.maxIdleMs ?? 0),
      },
    };
  }
  if (batching.maxBatchSize === 0 || variants[0]?.body.kind === "pipeline") return {};
  const { preferredSizes, maxQueueDelayMs, preserveOrdering, priorities, queue } = batching;
  return {
    dynamic_batching: {
      preferred_batch_size: preferredSizes ?? [],
      max_queue_delay_microseconds: microseconds(maxQueueDelayMs ?? 0),
      preserve_ordering: preserveOrdering ?? false,
      ...priorityFields(priorities),
      ...(queue ? { default_queue_policy: queuePolicy(queue) } : {}),
    },
  };
}

function instances(
  { name, instances: groups }: ModelDescription,
  written: Json | undefined,
): readonly Fields[] {
  const own = listOf(written).filter(({ passive }) => passive !== true);
  return groups.map(({ count }, index) => ({
    name: `${name}_${index}`,
    kind: "KIND_CPU",
    gpus: [],
    secondary_devices: [],
    profile: [],
    passive: false,
    host_policy: "",
    ...own[index],
    count,
  }));
}

const plainOptimisation: Fields = {
  priority: "PRIORITY_DEFAULT",
  input_pinned_memory: { enable: false },
  output_pinned_memory: { enable: false },
  gather_kernel_buffer_threshold: 0,
  eager_batching: false,
};

/** The whole configuration of a version, with the operator's own fields. */
export function configurationOf(description: ModelDescription, written: Fields): Fields {
  const { name, batching, inputs, outputs, variants, digest } = description;
  const batched = batching.maxBatchSize > 0;
  const body = variants[0]?.body;
  const file = body?.kind === "graph" ? body.file : "";
  return {
    version_policy: { latest: { num_versions: 1 } },
    runtime: "",
    batch_input: [],
    batch_output: [],
    cc_model_filenames: {},
    model_warmup: [],
    ...written,
    name,
    platform: isFields(written["ensemble_scheduling"]) ? "ensemble" : platform(description),
    backend: isPipeline(description) ? "" : "onnxruntime",
    max_batch_size: batching.maxBatchSize,
    input: ports(inputs, batched, written["input"], plainInput),
    output: ports(outputs, batched, written["output"], plainOutput),
    optimization: { ...plainOptimisation, ...fieldsOf(written["optimization"]) },
    instance_group: instances(description, written["instance_group"]),
    default_model_filename: file,
    metric_tags: fieldsOf(written["metric_tags"]),
    parameters: { ...fieldsOf(written["parameters"]), longshore_digest: { string_value: digest } },
    ...(description.decoupled ? { model_transaction_policy: { decoupled: true } } : {}),
    ...(description.responseCache ? { response_cache: { enable: true } } : {}),
    ...scheduling(description, written),
  };
}

/**
 * The whole configuration of a version: as the server behind this one states it, or made of the description and what the operator wrote. Gateways
 * show it as it is here.
 */
export async function fullConfiguration(
  { models }: Pick<Api, "models">,
  { description, configuration }: ModelKnowledge,
  call: Call,
): Promise<Readonly<Record<string, Json>>> {
  // A server behind this one knows best what it serves.
  if (configuration) return { ...configuration, name: description.name };
  const { name, version } = description;
  const written = await models.repository?.configuration?.(name, version, call).catch((thrown: unknown) => {
    // An alias is no model of the repository.
    if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return undefined;
    throw thrown;
  });
  return configurationOf(description, written ?? {});
}

/** `GET v2/models/{m}[/versions/{v}]/config`. */
export async function modelConfiguration(
  api: Served & ServerState,
  route: ModelAddress,
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const knowledge = await findModel(api, route.model, route.version, incoming.call);
  return jsonReply(await fullConfiguration(api, knowledge, incoming.call));
}
