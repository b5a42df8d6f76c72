import type { JsonValue } from "@bufbuild/protobuf";
import { read } from "@longshore/core";
import type {
  LogSettingsRequest_SettingValue,
  ModelRepositoryParameter,
  TraceSettingRequest_SettingValue,
} from "../proto/inference_pb.ts";

/** Where the JSON of HTTP and the messages of gRPC have other shapes for the same thing. */

type Settings<T> = Readonly<Record<string, T>>;

function base64(bytes: Uint8Array): string {
  // In pieces: a call takes only so many arguments.
  let text = "";
  for (let at = 0; at < bytes.byteLength; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(text);
}

/** Parameters of loading and unloading. Numbers beyond 2^53 are none that a server has a use for. */
export function repositoryParameters(parameters: Settings<ModelRepositoryParameter>): JsonValue {
  const entries = Object.entries(parameters).map(([name, { parameterChoice }]) => {
    const { value } = parameterChoice;
    if (value instanceof Uint8Array) return [name, base64(value)] as const;
    return [name, typeof value === "bigint" ? Number(value) : (value ?? null)] as const;
  });
  return entries.length === 0 ? {} : { parameters: Object.fromEntries(entries) };
}

/** Settings of traces: text, lists of text, and null, which goes back to the default. Undefined when none changes. */
export function traceBody(settings: Settings<TraceSettingRequest_SettingValue>): JsonValue | undefined {
  const entries = Object.entries(settings);
  if (entries.length === 0) return undefined;
  return Object.fromEntries(
    entries.map(([name, { value }]) => [
      name,
      value.length === 0 ? null : value.length === 1 ? (value[0] ?? "") : value,
    ]),
  );
}

/** Settings of the log. Undefined when none changes. */
export function logBody(settings: Settings<LogSettingsRequest_SettingValue>): JsonValue | undefined {
  const entries = Object.entries(settings);
  if (entries.length === 0) return undefined;
  return Object.fromEntries(
    entries.map(([name, { parameterChoice }]) => [name, parameterChoice.value ?? null]),
  );
}

function textOf(value: JsonValue): string {
  if (value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function settingValue(value: JsonValue, form: "list" | "typed"): JsonValue {
  if (form === "list") return { value: (Array.isArray(value) ? value : [value]).map(textOf) };
  if (typeof value === "boolean") return { boolParam: value };
  if (typeof value === "number") return { uint32Param: value };
  return { stringParam: textOf(value) };
}

/** Settings as gRPC has them: each a list of texts, or a choice of types. */
export function settingsReply(json: JsonValue, form: "list" | "typed"): JsonValue {
  const entries = Object.entries(read.objectAt(json, "settings") as Settings<JsonValue>);
  return { settings: Object.fromEntries(entries.map(([name, value]) => [name, settingValue(value, form)])) };
}

/** Regions of shared memory: a list over HTTP, a map by name over gRPC. */
export function regionMap(json: JsonValue): JsonValue {
  const list = Array.isArray(json) ? json : [json];
  const entries = list.flatMap((region) => {
    const name = typeof region === "object" && region !== null ? read.own(region, "name") : undefined;
    return typeof name === "string" ? [[name, region] as const] : [];
  });
  return { regions: Object.fromEntries(entries) };
}
