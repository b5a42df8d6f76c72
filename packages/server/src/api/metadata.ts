import type { Datatype, ModelAddress, ModelDescription, PortSpec, WireResponse } from "@longshore/core";
import { findModel } from "./find-model.ts";
import type { Api, Asked } from "./parts.ts";
import { jsonReply } from "./replies.ts";

/** Extensions of the protocol that this server has, as `GET v2` lists them. */
const extensions: readonly string[] = [
  "binary_tensor_data",
  "classification",
  "model_configuration",
  "model_repository",
  "parameters",
  "sequence",
  "sequence(string_id)",
  "statistics",
  "longshore",
];

/** `GET v2`. */
export function serverMetadata(api: Api): WireResponse {
  return jsonReply({ name: api.name, version: api.version, extensions });
}

function isPipeline(description: ModelDescription): boolean {
  return description.variants[0]?.body.kind === "pipeline";
}

function platform(description: ModelDescription): string {
  return isPipeline(description) ? "longshore_pipeline" : "onnxruntime_onnx";
}

async function versionsOf(
  api: Api,
  { name, version }: ModelDescription,
  asked: Asked,
): Promise<readonly string[]> {
  const index = await api.repository?.index(asked.call);
  const versions = (index ?? []).filter((entry) => entry.name === name && entry.state === "READY");
  return versions.length > 0 ? versions.map((entry) => entry.version) : [version];
}

/** `GET v2/models/{m}[/versions/{v}]`. */
export async function modelMetadata(api: Api, route: ModelAddress, asked: Asked): Promise<WireResponse> {
  const { description } = await findModel(api, route.model, route.version, asked.call);
  const ports = (list: readonly PortSpec[]): readonly object[] =>
    list.map(({ name, datatype, shape }) => ({ name, datatype, shape }));
  return jsonReply({
    name: description.name,
    versions: route.version === undefined ? await versionsOf(api, description, asked) : [description.version],
    platform: platform(description),
    inputs: ports(description.inputs),
    outputs: ports(description.outputs),
  });
}

/** `GET v2/models/{m}[/versions/{v}]/ready`. */
export async function modelReady(api: Api, route: ModelAddress, asked: Asked): Promise<WireResponse> {
  const { description } = await findModel(api, route.model, route.version, asked.call);
  return jsonReply({ name: description.name, ready: true });
}

function configType(datatype: Datatype): string {
  return datatype === "BYTES" ? "TYPE_STRING" : `TYPE_${datatype}`;
}

/** `GET v2/models/{m}[/versions/{v}]/config`: the keys of Triton's `ModelConfig` that its clients read. */
export async function modelConfiguration(api: Api, route: ModelAddress, asked: Asked): Promise<WireResponse> {
  const { description } = await findModel(api, route.model, route.version, asked.call);
  const { batching, sequence } = description;
  const batched = batching.maxBatchSize > 0;
  const ports = (list: readonly PortSpec[]): readonly object[] =>
    list.map(({ name, datatype, shape }) => ({
      name,
      data_type: configType(datatype),
      dims: batched ? shape.slice(1) : shape,
    }));
  return jsonReply({
    name: description.name,
    platform: platform(description),
    backend: isPipeline(description) ? "longshore" : "onnxruntime",
    version_policy: { latest: { num_versions: 1 } },
    max_batch_size: batching.maxBatchSize,
    input: ports(description.inputs),
    output: ports(description.outputs),
    instance_group: description.instances.map(({ count }, index) => ({
      name: `${description.name}_${index}`,
      kind: "KIND_CPU",
      count,
    })),
    ...(batched
      ? {
          dynamic_batching: {
            preferred_batch_size: batching.preferredSizes ?? [],
            max_queue_delay_microseconds: Math.round((batching.maxQueueDelayMs ?? 0) * 1000),
          },
        }
      : {}),
    ...(sequence
      ? { sequence_batching: { max_sequence_idle_microseconds: Math.round(sequence.maxIdleMs * 1000) } }
      : {}),
    parameters: { longshore_digest: { string_value: description.digest } },
  });
}
