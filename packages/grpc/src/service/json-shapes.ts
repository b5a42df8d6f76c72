import type { JsonValue } from "@bufbuild/protobuf";
import { read } from "@longshore/core/internal";
import type {
  LogSettingsRequest_SettingValue,
  ModelRepositoryParameter,
  TraceSettingRequest_SettingValue,
} from "../proto/inference_pb.ts";

/** Where the JSON of HTTP and the messages of gRPC have other shapes for the same thing. */

type Settings<T> = Readonly<Record<string, T>>;

/** Bytes that become base64 at once: a multiple of three, about a millisecond. */
const base64AtOnce = 3 * 2 ** 18;

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

/** Numbers beyond 2^53 are none that a server has a use for. */
function plain({ parameterChoice: { value } }: ModelRepositoryParameter): string | number | boolean | null {
  if (value instanceof Uint8Array) return base64(value);
  return typeof value === "bigint" ? Number(value) : (value ?? null);
}

/** Parameters of unloading. */
export function repositoryParameters(parameters: Settings<ModelRepositoryParameter>): JsonValue {
  const entries = Object.entries(parameters).map(([name, value]) => [name, plain(value)] as const);
  return entries.length === 0 ? {} : { parameters: Object.fromEntries(entries) };
}

/** The same as text for loading, where files may be among them: in pieces, each of which takes about a millisecond at most. */
export function* repositoryText(parameters: Settings<ModelRepositoryParameter>): Generator<string> {
  let lead = '{"parameters":{';
  for (const [name, parameter] of Object.entries(parameters)) {
    yield `${lead}${JSON.stringify(name)}:`;
    lead = ",";
    const { value } = parameter.parameterChoice;
    if (value instanceof Uint8Array && value.byteLength > base64AtOnce) {
      yield '"';
      for (let at = 0; at < value.byteLength; at += base64AtOnce) {
        yield base64(value.subarray(at, at + base64AtOnce));
      }
      yield '"';
    } else yield JSON.stringify(plain(parameter));
  }
  yield lead === "," ? "}}" : "{}";
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
