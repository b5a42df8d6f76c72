import type { ModelDescription, ModelKnowledge, PortSpec, WireResponse } from "@longshore/core";
import { isForeignDigest, type ModelAddress } from "@longshore/core/internal";
import { findModel } from "./find-model.ts";
import type { Api, IncomingRequest, Served, ServerState } from "./parts.ts";
import { jsonReply } from "./replies.ts";

/** Extensions of the protocol that this server has, as `GET v2` lists them. */
const extensions: readonly string[] = [
  "binary_tensor_data",
  "classification",
  "generate",
  "logging",
  "model_configuration",
  "model_repository",
  "model_repository(unload_dependents)",
  "parameters",
  "schedule_policy",
  "sequence",
  "sequence(string_id)",
  "statistics",
  "trace",
  "longshore",
];

/** `GET v2`. */
export function serverMetadata(api: Pick<Api, "about" | "tensors">): WireResponse {
  const shared = api.tensors.regions.enabled ? ["system_shared_memory"] : [];
  return jsonReply({
    name: api.about.name,
    version: api.about.version,
    extensions: [...extensions, ...shared],
  });
}

/** Whether it is made of steps. */
export function isPipeline(description: ModelDescription): boolean {
  return description.variants[0]?.body.kind === "pipeline";
}

/** The platform that runs a model, in the words of the protocol. */
export function platform(description: ModelDescription): string {
  return isPipeline(description) ? "longshore_pipeline" : "onnxruntime_onnx";
}

/** The platform that a foreign server states: in its metadata, as far as its configuration shows them. */
function toldPlatform({ description, configuration }: ModelKnowledge): string {
  if (!isForeignDigest(description.digest)) return platform(description);
  const told = configuration?.["platform"] || configuration?.["backend"];
  return typeof told === "string" ? told : "";
}

async function versionsOf(
  api: ServerState,
  { name, version }: ModelDescription,
  incoming: IncomingRequest,
): Promise<readonly string[]> {
  const index = await api.models.repository?.index(incoming.call, name);
  const versions = (index ?? []).filter((entry) => entry.name === name && entry.state === "READY");
  return versions.length > 0 ? versions.map((entry) => entry.version) : [version];
}

/** `GET v2/models/{m}[/versions/{v}]`. */
export async function modelMetadata(
  api: Served & ServerState,
  route: ModelAddress,
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const knowledge = await findModel(api, route.model, route.version, incoming.call);
  const { description } = knowledge;
  const ports = (list: readonly PortSpec[]): readonly object[] =>
    list.map(({ name, datatype, shape }) => ({ name, datatype, shape }));
  return jsonReply({
    name: description.name,
    versions:
      route.version === undefined ? await versionsOf(api, description, incoming) : [description.version],
    platform: toldPlatform(knowledge),
    inputs: ports(description.inputs),
    outputs: ports(description.outputs),
  });
}

/** `GET v2/models/{m}[/versions/{v}]/ready`. */
export async function modelReady(
  api: Served,
  route: ModelAddress,
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const { model, version } = route;
  const { description } = await findModel(api, model, version, incoming.call);
  const ready = (await api.endpoint.capabilities.ready?.(model, version, incoming.call)) ?? true;
  const reply = jsonReply({ name: description.name, ready });
  return ready ? reply : { ...reply, status: 503 };
}
