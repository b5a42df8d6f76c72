import {
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  emptyBody,
  LongshoreError,
  readBody,
  type Reason,
  type WireBody,
  type WireResponse,
} from "@longshore/core";
import { modelPath, turnWhileWanted } from "@longshore/core/internal";
import { onePart, peek } from "../message/index.ts";
import * as proto from "../proto/inference_pb.ts";
import { ask, type Frame, type ServerCall, type ServiceParts } from "./call.ts";
import { metadataOf } from "./infer.ts";
import {
  logBody,
  regionMap,
  repositoryParameters,
  repositoryText,
  settingsReply,
  traceBody,
} from "./json-shapes.ts";
import { errorOf, type GrpcStatus, ok } from "./status.ts";

/**
 * Everything but inference: each method becomes the request of the handler that HTTP has for it, and the JSON of the reply
 * the message that gRPC has for it. No rule of the server is written a second time here.
 */

/** The most that a request of these may say; loading a model, which may carry files, has the limit of inference. */
const maxControlBytes = 65_536;
/** A piece of a load longer than this, in characters, is not written in one turn with others. */
const longPiece = 65_536;
/** Characters of JSON that become a message before other work gets its turn: about two milliseconds. */
const listedAtOnce = 32_768;
/** The most that a reply may take. */
const maxReplyBytes = 64 * 2 ** 20;

/** A request to the handler. */
interface Asked {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly json?: JsonValue;
}

/** A method of the service. */
export type ControlMethod = (parts: ServiceParts, served: ServerCall) => Promise<GrpcStatus>;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function jsonBody(json: JsonValue | undefined): WireBody {
  return json === undefined ? emptyBody : { kind: "parts", parts: [encoder.encode(JSON.stringify(json))] };
}

async function onlyFrame(served: ServerCall): Promise<Frame> {
  const frame = await served.next();
  if (!frame) throw new LongshoreError("invalid-input", "decode", "the call ended without a message");
  return frame;
}

/** Reads a message. Throws `invalid-input` when it is none of its kind. */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch (thrown) {
    throw new LongshoreError("invalid-input", "decode", `the message is no valid ${schema.name}`, {
      cause: thrown,
    });
  }
}

async function jsonOf(response: WireResponse): Promise<JsonValue> {
  const bytes = await readBody(response.body, { maxBytes: maxReplyBytes });
  return bytes.byteLength === 0 ? {} : (JSON.parse(decoder.decode(bytes)) as JsonValue);
}

async function sendJson(
  served: ServerCall,
  schema: DescMessage,
  json: JsonValue,
  response: WireResponse,
): Promise<GrpcStatus> {
  const message = fromJson(schema, json, { ignoreUnknownFields: true });
  await served.send(onePart(toBinary(schema, message)), metadataOf(response));
  return ok;
}

/**
 * A reply with so many entries that it is written in steps: several messages of one kind in a row are one with all their
 * entries.
 */
async function sendListed(
  parts: ServiceParts,
  served: ServerCall,
  schema: DescMessage,
  entries: Iterable<object>,
  toReply: (listed: JsonValue[]) => JsonValue,
  response: WireResponse,
): Promise<GrpcStatus> {
  const written: Uint8Array[] = [];
  let byteLength = 0;
  let listed: JsonValue[] = [];
  let characters = 0;
  const write = (): void => {
    const bytes = toBinary(schema, fromJson(schema, toReply(listed), { ignoreUnknownFields: true }));
    written.push(bytes);
    byteLength += bytes.byteLength;
    if (byteLength > maxReplyBytes) {
      throw new LongshoreError("body-too-large", "encode", `the reply has more than ${maxReplyBytes} bytes`);
    }
    listed = [];
    characters = 0;
  };
  for (const entry of entries) {
    // As JSON has it: without what is undefined.
    const text = JSON.stringify(entry);
    listed.push(JSON.parse(text) as JsonValue);
    characters += text.length;
    if (characters < listedAtOnce) continue;
    write();
    await turnWhileWanted(parts.clock, served.call.abort, "encode");
  }
  write();
  await served.send({ parts: written, byteLength }, metadataOf(response));
  return ok;
}

/** A method whose request and reply are plain data. */
function control<Q extends DescMessage>(
  request: Q,
  reply: DescMessage,
  toAsk: (message: MessageShape<Q>) => Asked,
  toReply: (json: JsonValue) => JsonValue = (json) => json,
  listed: (entries: JsonValue[]) => JsonValue = toReply,
): ControlMethod {
  return async (parts, served) => {
    const frame = await onlyFrame(served);
    if (frame.byteLength > maxControlBytes) {
      throw new LongshoreError(
        "body-too-large",
        "decode",
        `${request.name} has ${frame.byteLength} bytes; at most ${maxControlBytes} are allowed`,
      );
    }
    const { method, path, json } = toAsk(decode(request, await frame.read()));
    const response = await ask(parts, served, { method, path, body: jsonBody(json) });
    if (response.status !== 200) throw await errorOf(response);
    const { entries } = response;
    if (entries) return sendListed(parts, served, reply, entries, listed, response);
    return sendJson(served, reply, toReply(await jsonOf(response)), response);
  };
}

/** A method that tells whether something is so; some refusals mean that it is not. */
function question<Q extends DescMessage>(
  request: Q,
  reply: DescMessage,
  field: string,
  toPath: (message: MessageShape<Q>) => string,
  no: readonly Reason[],
): ControlMethod {
  return async (parts, served) => {
    const path = toPath(decode(request, await (await onlyFrame(served)).read()));
    const response = await ask(parts, served, { method: "GET", path, body: emptyBody });
    if (response.status !== 200) {
      const error = await errorOf(response);
      if (!no.includes(error.reason)) throw error;
    }
    return sendJson(served, reply, { [field]: response.status === 200 }, response);
  };
}

interface Named {
  readonly name: string;
  readonly version: string;
}

function pathOf({ name, version }: Named): string {
  if (name === "") throw new LongshoreError("invalid-input", "decode", "name must name a model");
  return modelPath({ model: name, ...(version === "" ? {} : { version }) });
}

function noRepositoryName(name: string): void {
  if (name === "") return;
  throw new LongshoreError(
    "unsupported",
    "decode",
    "repository_name is not supported: a server has one repository",
  );
}

/** `v2/{system,cuda}sharedmemory[/region/{name}]`. */
function regionPath(memory: "system" | "cuda", name: string): string {
  return `/v2/${memory}sharedmemory${name === "" ? "" : `/region/${encodeURIComponent(name)}`}`;
}

/**
 * `RepositoryModelLoad` may carry a whole model. Its name comes first, so that rights are checked before the rest is
 * taken in.
 */
const load: ControlMethod = async (parts, served) => {
  const frame = await onlyFrame(served);
  const schema = proto.RepositoryModelLoadRequestSchema;
  const name = peek(frame.head, [2], parts.limits.maxNameLength).texts.get(2);
  const early = name === undefined ? decode(schema, await frame.read()) : undefined;
  const model = early?.modelName ?? name ?? "";
  if (model === "") throw new LongshoreError("invalid-input", "decode", "model_name must name a model");
  const body: WireBody = {
    kind: "stream",
    byteLength: undefined,
    async *read(): AsyncIterable<Uint8Array> {
      const message = early ?? decode(schema, await frame.read());
      noRepositoryName(message.repositoryName);
      if (message.modelName !== model) {
        throw new LongshoreError("invalid-input", "decode", "model_name must come once and first");
      }
      for (const piece of repositoryText(message.parameters)) {
        if (piece.length > longPiece) await turnWhileWanted(parts.clock, served.call.abort, "decode");
        yield encoder.encode(piece);
      }
    },
  };
  const path = `/v2/repository/models/${encodeURIComponent(model)}/load`;
  const response = await ask(parts, served, { method: "POST", path, body });
  if (response.status !== 200) throw await errorOf(response);
  return sendJson(served, proto.RepositoryModelLoadResponseSchema, {}, response);
};

/** The methods by name. */
export const controlMethods: Readonly<Record<string, ControlMethod>> = {
  ServerLive: question(
    proto.ServerLiveRequestSchema,
    proto.ServerLiveResponseSchema,
    "live",
    () => "/v2/health/live",
    [],
  ),
  ServerReady: question(
    proto.ServerReadyRequestSchema,
    proto.ServerReadyResponseSchema,
    "ready",
    () => "/v2/health/ready",
    ["rejected", "shutting-down"],
  ),
  ModelReady: question(
    proto.ModelReadyRequestSchema,
    proto.ModelReadyResponseSchema,
    "ready",
    (message) => `${pathOf(message)}/ready`,
    ["unknown-model", "unknown-version", "rejected", "shutting-down"],
  ),
  ServerMetadata: control(proto.ServerMetadataRequestSchema, proto.ServerMetadataResponseSchema, () => ({
    method: "GET",
    path: "/v2",
  })),
  ModelMetadata: control(proto.ModelMetadataRequestSchema, proto.ModelMetadataResponseSchema, (message) => ({
    method: "GET",
    path: pathOf(message),
  })),
  ModelConfig: control(
    proto.ModelConfigRequestSchema,
    proto.ModelConfigResponseSchema,
    (message) => ({ method: "GET", path: `${pathOf(message)}/config` }),
    (config) => ({ config }),
  ),
  ModelStatistics: control(
    proto.ModelStatisticsRequestSchema,
    proto.ModelStatisticsResponseSchema,
    (message) => ({
      method: "GET",
      path: message.name === "" ? "/v2/models/stats" : `${pathOf(message)}/stats`,
    }),
    (json) => json,
    (entries) => ({ model_stats: entries }),
  ),
  RepositoryIndex: control(
    proto.RepositoryIndexRequestSchema,
    proto.RepositoryIndexResponseSchema,
    ({ repositoryName, ready }) => {
      noRepositoryName(repositoryName);
      return { method: "POST", path: "/v2/repository/index", json: { ready } };
    },
    (models) => ({ models }),
  ),
  RepositoryModelLoad: load,
  RepositoryModelUnload: control(
    proto.RepositoryModelUnloadRequestSchema,
    proto.RepositoryModelUnloadResponseSchema,
    ({ repositoryName, modelName, parameters }) => {
      noRepositoryName(repositoryName);
      const path = `/v2/repository/models/${encodeURIComponent(modelName)}/unload`;
      return { method: "POST", path, json: repositoryParameters(parameters) };
    },
    () => ({}),
  ),
  SystemSharedMemoryStatus: control(
    proto.SystemSharedMemoryStatusRequestSchema,
    proto.SystemSharedMemoryStatusResponseSchema,
    ({ name }) => ({ method: "GET", path: `${regionPath("system", name)}/status` }),
    regionMap,
  ),
  SystemSharedMemoryRegister: control(
    proto.SystemSharedMemoryRegisterRequestSchema,
    proto.SystemSharedMemoryRegisterResponseSchema,
    ({ name, key, offset, byteSize }) => ({
      method: "POST",
      path: `${regionPath("system", name)}/register`,
      json: { key, offset: Number(offset), byte_size: Number(byteSize) },
    }),
    () => ({}),
  ),
  SystemSharedMemoryUnregister: control(
    proto.SystemSharedMemoryUnregisterRequestSchema,
    proto.SystemSharedMemoryUnregisterResponseSchema,
    ({ name }) => ({ method: "POST", path: `${regionPath("system", name)}/unregister` }),
    () => ({}),
  ),
  CudaSharedMemoryStatus: control(
    proto.CudaSharedMemoryStatusRequestSchema,
    proto.CudaSharedMemoryStatusResponseSchema,
    ({ name }) => ({ method: "GET", path: `${regionPath("cuda", name)}/status` }),
    regionMap,
  ),
  CudaSharedMemoryRegister: control(
    proto.CudaSharedMemoryRegisterRequestSchema,
    proto.CudaSharedMemoryRegisterResponseSchema,
    ({ name, rawHandle, deviceId, byteSize }) => ({
      method: "POST",
      path: `${regionPath("cuda", name)}/register`,
      json: {
        raw_handle: { b64: btoa(String.fromCharCode(...rawHandle)) },
        device_id: Number(deviceId),
        byte_size: Number(byteSize),
      },
    }),
    () => ({}),
  ),
  CudaSharedMemoryUnregister: control(
    proto.CudaSharedMemoryUnregisterRequestSchema,
    proto.CudaSharedMemoryUnregisterResponseSchema,
    ({ name }) => ({ method: "POST", path: `${regionPath("cuda", name)}/unregister` }),
    () => ({}),
  ),
  TraceSetting: control(
    proto.TraceSettingRequestSchema,
    proto.TraceSettingResponseSchema,
    ({ modelName, settings }) => {
      const path = `${modelName === "" ? "/v2" : modelPath({ model: modelName })}/trace/setting`;
      const json = traceBody(settings);
      return json === undefined ? { method: "GET", path } : { method: "POST", path, json };
    },
    (json) => settingsReply(json, "list"),
  ),
  LogSettings: control(
    proto.LogSettingsRequestSchema,
    proto.LogSettingsResponseSchema,
    ({ settings }) => {
      const json = logBody(settings);
      const path = "/v2/logging";
      return json === undefined ? { method: "GET", path } : { method: "POST", path, json };
    },
    (json) => settingsReply(json, "typed"),
  ),
};
