import type { Json } from "@longshore/core";
import { type ProtoMessage, type ProtoScalar, TextProtoError } from "./text-proto.ts";

/**
 * The fields of Triton's `ModelConfig` and what they hold. A name that is not here is a misspelling and refused.
 *
 * Source: triton-inference-server/common, `protobuf/model_config.proto`.
 */
type FieldType = "string" | "int" | "float" | "bool" | "enum" | { readonly message: string };
type Field = FieldType | { readonly list: FieldType };

const list = (type: FieldType): Field => ({ list: type });
const message = (name: string): FieldType => ({ message: name });

const messages: Readonly<Record<string, Readonly<Record<string, Field>>>> = {
  ModelConfig: {
    name: "string",
    platform: "string",
    backend: "string",
    runtime: "string",
    version_policy: message("VersionPolicy"),
    max_batch_size: "int",
    input: list(message("Input")),
    output: list(message("Output")),
    batch_input: list(message("BatchPort")),
    batch_output: list(message("BatchPort")),
    optimization: message("Optimization"),
    dynamic_batching: message("DynamicBatching"),
    sequence_batching: message("SequenceBatching"),
    ensemble_scheduling: message("Ensemble"),
    instance_group: list(message("InstanceGroup")),
    default_model_filename: "string",
    cc_model_filenames: list(message("Pair")),
    metric_tags: list(message("Pair")),
    parameters: list(message("Parameter")),
    model_warmup: list(message("WarmUp")),
    model_operations: message("Operations"),
    model_transaction_policy: message("TransactionPolicy"),
    model_repository_agents: message("RepositoryAgents"),
    response_cache: message("ResponseCache"),
    model_metrics: message("Metrics"),
  },
  VersionPolicy: { latest: message("Latest"), all: message("All"), specific: message("Specific") },
  Latest: { num_versions: "int" },
  All: {},
  Specific: { versions: list("int") },
  Input: {
    name: "string",
    data_type: "enum",
    format: "enum",
    dims: list("int"),
    reshape: message("Reshape"),
    is_shape_tensor: "bool",
    allow_ragged_batch: "bool",
    optional: "bool",
    is_non_linear_format_io: "bool",
  },
  Output: {
    name: "string",
    data_type: "enum",
    dims: list("int"),
    reshape: message("Reshape"),
    label_filename: "string",
    is_shape_tensor: "bool",
    is_non_linear_format_io: "bool",
  },
  Reshape: { shape: list("int") },
  InstanceGroup: {
    name: "string",
    kind: "enum",
    count: "int",
    rate_limiter: message("RateLimiter"),
    gpus: list("int"),
    secondary_devices: list(message("SecondaryDevice")),
    profile: list("string"),
    passive: "bool",
    host_policy: "string",
  },
  RateLimiter: { resources: list(message("Resource")), priority: "int" },
  Resource: { name: "string", global: "bool", count: "int" },
  Parameter: { key: "string", value: message("ParameterValue") },
  ParameterValue: { string_value: "string" },
  WarmUp: { name: "string", batch_size: "int", inputs: list(message("WarmUpPair")), count: "int" },
  WarmUpPair: { key: "string", value: message("WarmUpInput") },
  WarmUpInput: {
    data_type: "enum",
    dims: list("int"),
    zero_data: "bool",
    random_data: "bool",
    input_data_file: "string",
  },
  DynamicBatching: {
    preferred_batch_size: list("int"),
    max_queue_delay_microseconds: "int",
    preserve_ordering: "bool",
    priority_levels: "int",
    default_priority_level: "int",
    default_queue_policy: message("QueuePolicy"),
    priority_queue_policy: list(message("LevelPolicy")),
  },
  QueuePolicy: {
    timeout_action: "enum",
    default_timeout_microseconds: "int",
    allow_timeout_override: "bool",
    max_queue_size: "int",
  },
  LevelPolicy: { key: "int", value: message("QueuePolicy") },
  SequenceBatching: {
    direct: message("Direct"),
    oldest: message("Oldest"),
    max_sequence_idle_microseconds: "int",
    control_input: list(message("ControlInput")),
    state: list(message("State")),
    iterative_sequence: "bool",
  },
  Direct: { max_queue_delay_microseconds: "int", minimum_slot_utilization: "float" },
  Oldest: {
    max_candidate_sequences: "int",
    preferred_batch_size: list("int"),
    max_queue_delay_microseconds: "int",
    preserve_ordering: "bool",
  },
  ControlInput: { name: "string", control: list(message("Control")) },
  Control: {
    kind: "enum",
    int32_false_true: list("int"),
    fp32_false_true: list("float"),
    bool_false_true: list("bool"),
    data_type: "enum",
  },
  State: {
    input_name: "string",
    output_name: "string",
    data_type: "enum",
    dims: list("int"),
    initial_state: list(message("InitialState")),
    use_same_buffer_for_input_output: "bool",
    use_growable_memory: "bool",
  },
  InitialState: {
    name: "string",
    data_type: "enum",
    dims: list("int"),
    zero_data: "bool",
    data_file: "string",
  },
  Ensemble: { step: list(message("EnsembleStep")), max_inflight_requests: "int" },
  EnsembleStep: {
    model_name: "string",
    model_version: "int",
    model_namespace: "string",
    input_map: list(message("Pair")),
    output_map: list(message("Pair")),
  },
  Pair: { key: "string", value: "string" },
  TransactionPolicy: { decoupled: "bool" },
  ResponseCache: { enable: "bool" },
  BatchPort: {
    kind: "enum",
    target_name: list("string"),
    data_type: "enum",
    source_input: list("string"),
  },
  SecondaryDevice: { kind: "enum", device_id: "int" },
  Optimization: {
    graph: message("GraphLevel"),
    priority: "enum",
    cuda: message("Cuda"),
    execution_accelerators: message("Accelerators"),
    input_pinned_memory: message("PinnedMemory"),
    output_pinned_memory: message("PinnedMemory"),
    gather_kernel_buffer_threshold: "int",
    eager_batching: "bool",
  },
  GraphLevel: { level: "int" },
  Cuda: {
    graphs: "bool",
    busy_wait_events: "bool",
    graph_spec: list(message("GraphSpec")),
    output_copy_stream: "bool",
  },
  GraphSpec: {
    batch_size: "int",
    input: list(message("GraphShapePair")),
    graph_lower_bound: message("GraphLowerBound"),
  },
  GraphLowerBound: { batch_size: "int", input: list(message("GraphShapePair")) },
  GraphShapePair: { key: "string", value: message("GraphShape") },
  GraphShape: { dim: list("int") },
  Accelerators: {
    gpu_execution_accelerator: list(message("NamedParameters")),
    cpu_execution_accelerator: list(message("NamedParameters")),
  },
  NamedParameters: { name: "string", parameters: list(message("Pair")) },
  PinnedMemory: { enable: "bool" },
  Operations: { op_library_filename: list("string") },
  RepositoryAgents: { agents: list(message("NamedParameters")) },
  Metrics: { metric_control: list(message("MetricControl")) },
  MetricControl: {
    metric_identifier: message("MetricIdentifier"),
    histogram_options: message("HistogramOptions"),
  },
  MetricIdentifier: { family: "string" },
  HistogramOptions: { buckets: list("float") },
};

/** A message as plain data: fields by name, repeated ones as arrays. Throws `TextProtoError` for what does not fit. */
export function decodeTriton(parsed: ProtoMessage, type = "ModelConfig"): { readonly [field: string]: Json } {
  const known = messages[type] ?? {};
  const decoded: Record<string, Json> = {};
  const lists: Record<string, Json[]> = {};
  for (const { name, value, line } of parsed.fields) {
    const field = Object.hasOwn(known, name) ? known[name] : undefined;
    if (field === undefined) {
      throw new TextProtoError(
        line,
        `${name} is no field of ${type}; known here: ${Object.keys(known).join(", ") || "none"}`,
      );
    }
    if (typeof field === "object" && "list" in field) {
      (lists[name] ??= []).push(decodeValue(value, field.list, name, line));
    } else if (Object.hasOwn(decoded, name)) {
      throw new TextProtoError(line, `${name} is given twice; it holds one value`);
    } else decoded[name] = decodeValue(value, field, name, line);
  }
  return { ...decoded, ...lists };
}

function decodeValue(value: ProtoMessage | ProtoScalar, type: FieldType, name: string, line: number): Json {
  if (typeof type === "object") {
    if (value.kind !== "message")
      throw new TextProtoError(line, `${name} holds fields in braces, not ${value.text}`);
    return decodeTriton(value, type.message);
  }
  if (value.kind === "message") throw new TextProtoError(line, `${name} is a message; expected ${type}`);
  const { kind, text } = value;
  const wrong = (): TextProtoError =>
    new TextProtoError(line, `${name} is ${JSON.stringify(text)}; expected ${type}`);
  switch (type) {
    case "string":
      if (kind !== "string") throw wrong();
      return text;
    case "enum":
      if (kind !== "word") throw wrong();
      return text;
    case "bool":
      if (kind === "word" && ["true", "True", "t"].includes(text)) return true;
      if (kind === "word" && ["false", "False", "f"].includes(text)) return false;
      if (kind === "number" && (text === "0" || text === "1")) return text === "1";
      throw wrong();
    case "int": {
      const whole = wholeNumber(text);
      if (kind !== "number" || whole === undefined) throw wrong();
      return whole;
    }
    case "float": {
      const number = Number(text.replace(/f$/i, ""));
      if (kind !== "number" || !Number.isFinite(number)) throw wrong();
      return number;
    }
  }
}

/** Decimal, `0x` and leading-zero octal, as the format has them; undefined beyond exact integers. */
function wholeNumber(text: string): number | undefined {
  if (!/^-?(?:0[xX][0-9a-fA-F]+|\d+)$/.test(text)) return undefined;
  const digits = text.replace("-", "");
  const value = /^0\d/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  return Number.isSafeInteger(value) ? (text.startsWith("-") ? -value : value) : undefined;
}

/** Messages that Protocol Buffers' JSON writes as an object from key to value. */
const maps: Readonly<Record<string, true>> = {
  Parameter: true,
  WarmUpPair: true,
  Pair: true,
  LevelPolicy: true,
  GraphShapePair: true,
};

/** Decoded fields as Protocol Buffers' JSON has them: an object where there is a map. */
export function tritonJson(
  decoded: { readonly [field: string]: Json },
  type = "ModelConfig",
): { readonly [field: string]: Json } {
  const known = messages[type] ?? {};
  return Object.fromEntries(
    Object.entries(decoded).map(([name, value]) => [name, shown(value, known[name])]),
  );
}

function shown(value: Json, field: Field | undefined): Json {
  if (typeof field !== "object") return value;
  if ("list" in field) {
    // Decoding made a list of every repeated field.
    const entries = (value as readonly Json[]).map((one) => shown(one, field.list));
    if (typeof field.list !== "object" || !maps[field.list.message]) return entries;
    // Absent fields of an entry are empty.
    const nothing = messages[field.list.message]?.["value"] === "string" ? "" : {};
    const pairs = entries
      .filter(isObject)
      .map(({ key = "", value: held = nothing }) => [
        typeof key === "string" ? key : JSON.stringify(key),
        held,
      ]);
    return Object.fromEntries(pairs) as Json;
  }
  return isObject(value) ? tritonJson(value, field.message) : value;
}

/** The same from Protocol Buffers' JSON. Throws `TextProtoError` for what does not fit. */
export function decodeTritonJson(
  object: { readonly [field: string]: Json },
  type = "ModelConfig",
): { readonly [field: string]: Json } {
  const known = messages[type] ?? {};
  const decoded: Record<string, Json> = {};
  for (const [written, value] of Object.entries(object)) {
    const name = written.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const field = Object.hasOwn(known, name) ? known[name] : undefined;
    if (field === undefined) {
      throw new TextProtoError(
        1,
        `${written} is no field of ${type}; known here: ${Object.keys(known).join(", ") || "none"}`,
      );
    }
    if (Object.hasOwn(decoded, name))
      throw new TextProtoError(1, `${name} is given twice; it holds one value`);
    if (value === null) continue;
    decoded[name] =
      typeof field === "object" && "list" in field
        ? listOf(value, field.list, name).map((one) => jsonValue(one, field.list, name))
        : jsonValue(value, field, name);
  }
  return decoded;
}

function listOf(value: Json, type: FieldType, name: string): readonly Json[] {
  if (Array.isArray(value)) return value;
  const map = typeof type === "object" && maps[type.message] === true;
  if (map && isObject(value)) return Object.entries(value).map(([key, one]) => ({ key, value: one }));
  throw new TextProtoError(1, `${name} is a list`);
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function jsonValue(value: Json, type: FieldType, name: string): Json {
  if (typeof type === "object") {
    if (isObject(value)) return decodeTritonJson(value, type.message);
    throw new TextProtoError(1, `${name} is an object`);
  }
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const kinds = { string: "string", enum: "word", bool: "word", int: "number", float: "number" } as const;
  const wanted = typeof value === "boolean" ? "boolean" : typeof value;
  const fits =
    type === "bool"
      ? wanted === "boolean"
      : type === "int" || type === "float"
        ? wanted === "number" || wanted === "string"
        : wanted === "string";
  if (!fits)
    throw new TextProtoError(1, `${name} is ${JSON.stringify(value).slice(0, 60)}; expected ${type}`);
  return decodeValue({ kind: kinds[type], text }, type, name, 1);
}
