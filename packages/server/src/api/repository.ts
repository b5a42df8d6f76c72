import { LongshoreError, readBody, type WireBody, type WireResponse } from "@longshore/core";
import {
  bodyLength,
  callFromHeaders,
  digestHeader,
  inSteps,
  read,
  type Route,
  turnWhileWanted,
} from "@longshore/core/internal";
import { separateFiles } from "../body/index.ts";
import { unknownModel } from "./find-model.ts";
import { fileReply, rangeStart } from "./package.ts";
import type { Api, IncomingRequest, InferenceApi, ServerState } from "./parts.ts";
import { doneReply, listReply, objectFrom, requestObject } from "./replies.ts";
import type { ModelOverride } from "./served-repository.ts";

/** The most bytes of a configuration in a request. */
const maxConfigBytes = 2 ** 20;
/** The most bytes of a request besides its files: such a configuration, with the escapes of JSON. */
const maxJsonBytes = 2 * maxConfigBytes;

const filePath = /^[0-9]{1,18}\/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;

/** The text of a request to load or unload, and its files, which the text refers to by number. */
interface ControlRequest {
  readonly object: object;
  readonly files: readonly Uint8Array[];
}

async function loadRequest(
  { clock, bodies: { limits } }: InferenceApi,
  { request, call }: IncomingRequest,
): Promise<ControlRequest> {
  const pause = (): Promise<void> => turnWhileWanted(clock, call.abort, "decode");
  const body = await readBody(request.body, { maxBytes: limits.maxBodyBytes, pause });
  const { json, files } = await inSteps(separateFiles(body, maxJsonBytes), pause);
  return { object: json.byteLength === 0 ? {} : objectFrom(json), files };
}

/** The configuration and files in the parameters of a load; undefined when there are none. */
function overrideFrom(
  api: ServerState,
  { identity }: IncomingRequest,
  parameters: object,
  came: readonly Uint8Array[],
): ModelOverride | undefined {
  const written = read.own(parameters, "config");
  const isFile = (name: string): boolean => name.startsWith("file:");
  const names = Object.keys(parameters).filter(isFile);
  // A misspelt name would load the very files that were to be replaced.
  const unknown = Object.keys(parameters).find((name) => name !== "config" && !isFile(name));
  if (unknown !== undefined) {
    read.refuseField(`parameters.${unknown.slice(0, 64)}`, "config, or file: with a version and a name");
  }
  if (names.length > 0 && !api.models.uploads) {
    throw new LongshoreError(
      "not-permitted",
      "admission",
      "models are loaded from this server's repository only, not from files in a request",
    );
  }
  if (written === undefined) {
    if (names.length > 0) read.refuseField("parameters.config", "there when files are");
    return undefined;
  }
  const config = read.readText(maxConfigBytes)(written, "config");
  const sees = identity.sees ? { sees: identity.sees } : {};
  if (names.length === 0) return { config, ...sees };
  const files = names.map((name): [string, Uint8Array] => {
    const path = name.slice("file:".length);
    if (!filePath.test(path)) read.refuseField("file:", "followed by a version, '/' and the name of a file");
    const file = read.own(parameters, name);
    const bytes = typeof file === "string" ? came[Number(file)] : undefined;
    return [path, bytes ?? read.refuseField("a file", "the bytes of a file in base64")];
  });
  return { config, files: new Map(files), ...sees };
}

/** `POST v2/repository/index`: every version with its state and, if it cannot be used, the reason; on request only the ready ones. */
export async function repositoryIndex(api: Api, incoming: IncomingRequest): Promise<WireResponse> {
  const object = await requestObject(incoming);
  const ready = read.optional(read.readFlag)(read.own(object, "ready"), "ready") ?? false;
  const {
    endpoint,
    models: { repository },
  } = api;
  // The sender may be a gateway, which another one behind this may query in turn.
  const call = callFromHeaders(
    incoming.request.headers,
    incoming.call,
    api.clock.nowMs(),
    api.access.unstatedRules,
  );
  const entries = (await (repository ? repository.index(call) : endpoint.capabilities.models?.(call))) ?? [];
  const sees = incoming.identity.sees ?? (() => true);
  const seen = entries.filter((entry) => sees(entry.name) && (!ready || entry.state === "READY"));
  const pause = (): Promise<void> => turnWhileWanted(api.clock, incoming.call.abort, "encode");
  return listReply(seen, (entry) => entry, ["[", "]"], pause);
}

/**
 * `POST v2/repository/models/{m}/load` and `/unload`. A configuration in the request needs the right to load; files are accepted only if
 * the operator allows them, too.
 */
export async function repositoryControl(
  api: Api,
  route: Route & { kind: "load" | "unload" },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  if (!api.models.control || !api.models.repository) {
    throw new LongshoreError(
      "not-permitted",
      "admission",
      "loading and unloading is switched off on this server",
    );
  }
  const uploads = api.models.uploads && route.kind === "load";
  const maxBytes = uploads ? api.bodies.limits.maxBodyBytes : maxConfigBytes;
  using _held = api.bodies.budget.reserve(bodyLength(incoming.request.body) ?? maxBytes);
  const { object, files } = uploads
    ? await loadRequest(api, incoming)
    : { object: await requestObject(incoming, maxBytes), files: [] };
  const given = read.own(object, "parameters");
  const parameters = given === undefined ? {} : read.objectAt(given, "parameters");
  if (route.kind === "load") {
    const override = overrideFrom(api, incoming, parameters, files);
    try {
      await api.models.repository.load(route.model, undefined, incoming.call, override);
    } catch (thrown) {
      const unknown = LongshoreError.is(thrown) && thrown.reason === "unknown-model";
      // A sender that may see some models only does not learn the names of others.
      throw unknown && incoming.identity.sees ? unknownModel(route.model) : thrown;
    }
  } else {
    const flag = read.own(parameters, "unload_dependents");
    const dependents = read.optional(read.readFlag)(flag, "unload_dependents") ?? false;
    // Others may use models that this sender may not see.
    await api.models.repository.unload(
      route.model,
      incoming.call,
      dependents && (incoming.identity.sees ?? true),
    );
  }
  return doneReply;
}

/** `GET v2/models/{m}/versions/{v}/variants/{variant}/head/{to}`: the head of a split, as an ONNX file, from `Range: bytes=N-` on. */
export async function modelHead(
  api: ServerState,
  route: Route & { kind: "head" },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const { model, version, variant, to } = route;
  const head = await api.models.repository?.head?.({ model, version, variant, to }, incoming.call);
  if (!head) {
    throw new LongshoreError(
      "unknown-cut",
      "resolve",
      `${model}/${version}/${variant} has no head to '${to}' here`,
    );
  }
  const { digest, bytes } = head;
  const from = rangeStart(incoming);
  const body: WireBody = { kind: "parts", parts: [bytes.subarray(from)] };
  const reply = fileReply(digest, bytes.byteLength, from, body, incoming.call);
  return { ...reply, headers: { ...reply.headers, [digestHeader]: digest } };
}
