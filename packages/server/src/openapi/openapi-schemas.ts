import { datatypes, type Json } from "@longshore/core";

/** A JSON schema. */
export type JsonSchema = Readonly<Record<string, Json>>;

const text: JsonSchema = { type: "string" };
const flag: JsonSchema = { type: "boolean" };
const whole: JsonSchema = { type: "integer", minimum: 0 };
const object = (
  properties: Readonly<Record<string, Json>>,
  required: readonly string[] = [],
): JsonSchema => ({
  type: "object",
  properties,
  ...(required.length > 0 ? { required } : {}),
});
/** An object whose other fields are refused. */
const closed = (properties: Readonly<Record<string, Json>>): JsonSchema => ({
  ...object(properties),
  additionalProperties: false,
});
/** A number, better as text, or null for its default. */
const figure = (pattern: string, minimum: number): JsonSchema => ({
  anyOf: [
    { type: "string", pattern },
    { type: "integer", minimum, maximum: 9_999_999_999 },
    { type: "null" },
  ],
});
const list = (items: Json): JsonSchema => ({ type: "array", items });

/** Points to one of the schemas below. */
export function ref(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

const countAndTime = object({ count: whole, ns: whole }, ["count", "ns"]);
const kindsOfTime = [
  "success",
  "fail",
  "queue",
  "compute_input",
  "compute_infer",
  "compute_output",
  "cache_hit",
  "cache_miss",
];
const times = Object.fromEntries(kindsOfTime.map((kind) => [kind, countAndTime]));

const tensor = {
  name: { type: "string", minLength: 1, maxLength: 512 },
  datatype: { type: "string", enum: [...datatypes] },
  shape: { type: "array", items: whole, maxItems: 32 },
  parameters: ref("Parameters"),
  data: { type: "array", description: "Row-major, flat or nested no deeper than the shape" },
};

/** The schemas of messages, by name. */
export const schemas: Readonly<Record<string, JsonSchema>> = {
  Error: object({ error: text, reason: text, stage: text, retryAfterMs: { type: "number", minimum: 0 } }, [
    "error",
  ]),
  Parameters: {
    type: "object",
    maxProperties: 256,
    additionalProperties: { type: ["string", "number", "boolean"] },
  },
  Nothing: { type: "object", maxProperties: 0 },
  Live: object({ live: flag }, ["live"]),
  Ready: object({ ready: flag, name: text }, ["ready"]),
  Server: object({ name: text, version: text, extensions: list(text) }, ["name", "version", "extensions"]),
  Port: object({ name: text, datatype: tensor.datatype, shape: list({ type: "integer" }) }, [
    "name",
    "datatype",
    "shape",
  ]),
  Model: object(
    {
      name: text,
      versions: list(text),
      platform: text,
      inputs: list(ref("Port")),
      outputs: list(ref("Port")),
    },
    ["name", "platform", "inputs", "outputs"],
  ),
  Configuration: {
    ...object({ name: text, platform: text, backend: text, max_batch_size: whole }, [
      "name",
      "max_batch_size",
    ]),
    description: "Triton's ModelConfig as JSON",
  },
  Statistics: object(
    {
      model_stats: list(
        object(
          {
            name: text,
            version: text,
            last_inference: whole,
            inference_count: whole,
            execution_count: whole,
            inference_stats: object(times, kindsOfTime),
            response_stats: { type: "object" },
            batch_stats: list({ type: "object" }),
            memory_usage: list({ type: "object" }),
          },
          ["name", "version", "inference_stats"],
        ),
      ),
    },
    ["model_stats"],
  ),
  Tensor: object(tensor, ["name", "datatype", "shape"]),
  RequestedOutput: object({ name: tensor.name, parameters: ref("Parameters") }, ["name"]),
  InferRequest: object(
    {
      id: { type: "string", maxLength: 512 },
      parameters: {
        ...ref("Parameters"),
        description:
          "Names that begin with triton_ are reserved; of them there is triton_enable_empty_final_response",
      },
      inputs: { type: "array", items: ref("Tensor"), maxItems: 256 },
      outputs: { type: "array", items: ref("RequestedOutput"), maxItems: 256 },
    },
    ["inputs"],
  ),
  InferReply: object(
    {
      model_name: text,
      model_version: text,
      id: text,
      parameters: { type: "object" },
      outputs: list(ref("Tensor")),
    },
    ["model_name", "outputs"],
  ),
  GenerateRequest: {
    type: "object",
    description: "Inputs by their names; all other fields are parameters",
    properties: { id: { type: "string", maxLength: 512 }, parameters: ref("Parameters") },
  },
  GenerateReply: object({ model_name: text, model_version: text, id: text }, ["model_name"]),
  IndexRequest: object({ ready: flag }),
  Index: list(object({ name: text, version: text, state: text, reason: text }, ["name"])),
  LoadRequest: object({
    parameters: {
      ...closed({ config: text }),
      description: "Files of the model as `file:<version>/<name>` in base64, where the server takes them",
      patternProperties: { "^file:": text },
    },
  }),
  UnloadRequest: object({ parameters: object({ unload_dependents: flag }) }),
  Anything: { type: "object" },
  LogSettings: closed({
    log_file: { const: "" },
    log_info: flag,
    log_warning: flag,
    log_error: flag,
    log_verbose_level: { ...whole, maximum: 1000 },
    log_format: { const: "ISO8601" },
  }),
  TraceSettings: object({
    trace_file: text,
    trace_level: list(text),
    trace_rate: text,
    trace_count: text,
    log_frequency: text,
    trace_mode: text,
  }),
  TraceChange: closed({
    trace_file: { enum: ["", null] },
    trace_level: {
      anyOf: [{ enum: ["OFF", "TIMESTAMPS", null] }, list({ const: "OFF" }), list({ const: "TIMESTAMPS" })],
    },
    trace_rate: figure("^[0-9]{1,10}$", 0),
    trace_count: figure("^(-1|[0-9]{1,10})$", -1),
    log_frequency: { enum: ["0", null] },
    trace_mode: { enum: ["opentelemetry", null] },
  }),
  Regions: list(object({ name: text, key: text, offset: whole, byte_size: whole }, ["name", "byte_size"])),
  Region: object(
    {
      key: { type: "string", pattern: "^/?[^/\\u0000]{1,255}$" },
      offset: whole,
      byte_size: { ...whole, minimum: 1 },
    },
    ["key", "byte_size"],
  ),
  SignedManifest: object(
    {
      body: object(
        {
          schemaVersion: { const: 1 },
          model: text,
          files: list(object({ path: text, bytes: whole, digest: text }, ["path", "bytes", "digest"])),
        },
        ["schemaVersion", "model", "files"],
      ),
      signature: object({ key: text, value: text }, ["key", "value"]),
    },
    ["body"],
  ),
  DirectoryPage: object(
    {
      schemaVersion: { const: 1 },
      at: text,
      full: flag,
      records: list({ type: "object" }),
      gone: list(text),
    },
    ["schemaVersion", "at", "full", "records", "gone"],
  ),
  JoinRequest: object(
    {
      schemaVersion: { const: 1 },
      id: { type: "string", pattern: "^[A-Za-z0-9._-]{1,128}$" },
      tier: { enum: ["device", "edge", "cloud"] },
      statement: {
        type: "object",
        description: "The endpoint's own statement: address, zone, trust, serves",
      },
      signed: { type: "object", description: "The operator's entry with its signature" },
      earlier: ref("EarlierReply"),
    },
    ["schemaVersion", "id", "statement"],
  ),
  EarlierReply: object({ instance: text, members: whole }, ["instance", "members"]),
  JoinReply: object(
    { schemaVersion: { const: 1 }, leaseMs: whole, packages: list(text), earlier: ref("EarlierReply") },
    ["schemaVersion", "leaseMs", "packages"],
  ),
  LeaveRequest: object({ id: { type: "string", pattern: "^[A-Za-z0-9._-]{1,128}$" } }, ["id"]),
  LeaseRequest: object(
    {
      schemaVersion: { const: 1 },
      holder: { type: "string", pattern: "^[A-Za-z0-9._-]{1,128}$" },
      tenant: { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" },
      meter: { enum: ["requests", "bytes", "device-ms", "micros", "concurrency"] },
      needed: { type: "number", minimum: 0 },
      wanted: { type: "number", minimum: 0 },
      owed: { type: "number", minimum: 0 },
    },
    ["schemaVersion", "holder", "tenant", "meter", "needed", "wanted", "owed"],
  ),
  LeaseReply: object(
    {
      schemaVersion: { const: 1 },
      granted: { type: ["number", "null"] },
      retryAfterMs: { type: "number" },
      why: text,
    },
    ["schemaVersion", "granted"],
  ),
  Explanation: object(
    {
      schemaVersion: { const: 1 },
      legs: list({ type: "object" }),
      predictedMs: { type: "number" },
      predictedLabel: { enum: ["measured", "assumed"] },
      because: text,
      lost: list({ type: "object" }),
    },
    ["schemaVersion", "because", "lost"],
  ),
  Sequence: object(
    {
      schemaVersion: { const: 1 },
      step: { type: "integer", minimum: 0 },
      ended: { type: "boolean" },
      idleMs: { type: "number", minimum: 0 },
      key: text,
    },
    ["schemaVersion"],
  ),
  Offers: object(
    {
      schemaVersion: { const: 1 },
      description: { type: "object" },
      configuration: {
        type: "object",
        description: "The statement of a server that this one forwards to: Triton's ModelConfig",
      },
      profile: { type: "object" },
      offers: list({ type: "object" }),
      missing: list(object({ zones: list(text), trust: text }, ["zones", "trust"])),
    },
    ["schemaVersion"],
  ),
};
