import type { Json } from "@longshore/core";
import { type ProtoMessage, type ProtoScalar, TextProtoError } from "./text-proto.ts";

/**
 * The fields of Triton's `ModelConfig` and what they hold. `aside` is a message that is accepted whole and kept without
 * being understood; `[]` repeats. A name that is not here is a misspelling and refused.
 *
 * Source: triton-inference-server/common, `protobuf/model_config.proto`.
 */
type FieldType = "string" | "int" | "float" | "bool" | "enum" | "aside" | { readonly message: string };
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
    batch_input: list("aside"),
    batch_output: list("aside"),
    optimization: "aside",
    dynamic_batching: message("DynamicBatching"),
    sequence_batching: message("SequenceBatching"),
    ensemble_scheduling: message("Ensemble"),
    instance_group: list(message("InstanceGroup")),
    default_model_filename: "string",
    cc_model_filenames: list("aside"),
    metric_tags: list("aside"),
    parameters: list("aside"),
    model_warmup: list("aside"),
    model_operations: "aside",
    model_transaction_policy: message("TransactionPolicy"),
    model_repository_agents: "aside",
    response_cache: "aside",
    model_metrics: "aside",
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
    rate_limiter: "aside",
    gpus: list("int"),
    secondary_devices: list("aside"),
    profile: list("string"),
    passive: "bool",
    host_policy: "string",
  },
  DynamicBatching: {
    preferred_batch_size: list("int"),
    max_queue_delay_microseconds: "int",
    preserve_ordering: "bool",
    priority_levels: "int",
    default_priority_level: "int",
    default_queue_policy: "aside",
    priority_queue_policy: list("aside"),
  },
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
  if (type === "aside") return asideValue(value);
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

function asideValue(value: ProtoMessage | ProtoScalar): Json {
  if (value.kind !== "message") return value.text;
  return value.fields.map((field): Json => ({ [field.name]: asideValue(field.value) }));
}
