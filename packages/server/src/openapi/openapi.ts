import type { Json } from "@longshore/core";
import {
  binaryType,
  headerLengthHeader,
  jsonType,
  type RouteEntry,
  wireRoutes,
} from "@longshore/core/internal";
import { routeAccess } from "../identify/index.ts";
import { ref, type JsonSchema, schemas } from "./openapi-schemas.ts";

/** The input and output of an operation, beside the facts of its path. */
interface Operation {
  readonly summary: string;
  readonly extension: string;
  /** Schema of a JSON body; a body that may be left out is empty otherwise. */
  readonly body?: { readonly schema: JsonSchema; readonly optional?: boolean; readonly binary?: boolean };
  /** By media type. */
  readonly gives: Readonly<Record<string, JsonSchema>>;
  readonly query?: Readonly<Record<string, JsonSchema>>;
  /** Keys of the query that every request needs. Default: none. */
  readonly requires?: readonly string[];
  /** Statuses besides 200 and the errors that every operation may have. */
  readonly statuses?: readonly number[];
}

const json = (schema: JsonSchema): Operation["gives"] => ({ [jsonType]: schema });
const bytes: JsonSchema = { type: "string", format: "binary" };
const offers = {
  bytes: { type: "number", minimum: 0 },
  size: { type: "number", minimum: 0 },
  items: { type: "number", minimum: 0 },
};
const tensors = { [jsonType]: ref("InferReply"), [binaryType]: bytes };

/** Every kind of route of the table, so that a route without documentation does not compile. */
const operations: Readonly<Record<RouteEntry["kind"], Operation>> = {
  server: {
    summary: "Name, version and extensions of this server",
    extension: "core",
    gives: json(ref("Server")),
  },
  live: { summary: "Whether the process runs", extension: "core", gives: json(ref("Live")) },
  ready: {
    summary:
      "Whether the server takes requests; 503 while it starts or drains, and at a gateway without a server that answers",
    extension: "core",
    gives: json(ref("Ready")),
    statuses: [503],
  },
  model: { summary: "A model's inputs and outputs", extension: "core", gives: json(ref("Model")) },
  "model-ready": {
    summary: "Whether a model is ready; 503 at a gateway while no server has it ready",
    extension: "core",
    gives: json(ref("Ready")),
    statuses: [503],
  },
  infer: {
    summary: "Runs a model, or a part of it",
    extension: "core",
    body: { schema: ref("InferRequest"), binary: true },
    gives: tensors,
  },
  config: {
    summary: "Triton's `ModelConfig` as JSON, as loaded; for a model of a foreign server, that server's",
    extension: "model_configuration",
    gives: json(ref("Configuration")),
  },
  stats: { summary: "Counts and times", extension: "statistics", gives: json(ref("Statistics")) },
  generate: {
    summary: "Runs a model with one text output",
    extension: "generate",
    body: { schema: ref("GenerateRequest") },
    gives: json(ref("GenerateReply")),
  },
  "generate-stream": {
    summary: "Runs a model with one text output; each answer is a server-sent event",
    extension: "generate",
    body: { schema: ref("GenerateRequest") },
    gives: { "text/event-stream": { type: "string" } },
  },
  index: {
    summary: 'All versions with their states; only ready ones with `{"ready": true}`',
    extension: "model_repository",
    body: { schema: ref("IndexRequest"), optional: true },
    gives: json(ref("Index")),
  },
  load: {
    summary: "Loads a model, if the operator allows it",
    extension: "model_repository",
    body: { schema: ref("LoadRequest"), optional: true },
    gives: json(ref("Nothing")),
  },
  unload: {
    summary: "Unloads a model, if the operator allows it",
    extension: "model_repository(unload_dependents)",
    body: { schema: ref("UnloadRequest"), optional: true },
    gives: json(ref("Nothing")),
  },
  "log-settings": { summary: "Log settings", extension: "logging", gives: json(ref("LogSettings")) },
  "set-log-settings": {
    summary: "Changes log settings",
    extension: "logging",
    body: { schema: ref("LogSettings"), optional: true },
    gives: json(ref("LogSettings")),
  },
  "trace-settings": { summary: "Trace settings", extension: "trace", gives: json(ref("TraceSettings")) },
  "set-trace-settings": {
    summary: "Changes trace settings",
    extension: "trace",
    body: { schema: ref("TraceChange"), optional: true },
    gives: json(ref("TraceSettings")),
  },
  "shared-status": { summary: "Registered regions", extension: "shared_memory", gives: json(ref("Regions")) },
  "shared-register": {
    summary: "Registers a region of shared memory",
    extension: "shared_memory",
    body: { schema: ref("Region") },
    gives: json(ref("Nothing")),
  },
  "shared-unregister": {
    summary: "Forgets regions of shared memory",
    extension: "shared_memory",
    body: { schema: ref("Anything"), optional: true },
    gives: json(ref("Nothing")),
  },
  offers: {
    summary: "All that another endpoint needs to plan with this one",
    extension: "longshore",
    gives: json(ref("Offers")),
    query: { ...offers, knowledge: { enum: ["0", "1"] }, offers: { enum: ["0", "1"] } },
  },
  explain: {
    summary: "Where a request would run, and why not elsewhere",
    extension: "longshore",
    gives: json(ref("Explanation")),
    query: offers,
  },
  sequence: {
    summary: "The last step of a sequence that was made here",
    extension: "longshore",
    gives: json(ref("Sequence")),
    query: { id: { type: "string", minLength: 1, maxLength: 256 } },
    requires: ["id"],
  },
  prepare: {
    summary: "Loads a part of a model; with `longshore-digest` only that content",
    extension: "longshore",
    gives: json(ref("Nothing")),
  },
  head: {
    summary: "The part of a model up to a cut as an ONNX file, with `Range: bytes=N-`",
    extension: "longshore",
    gives: { [binaryType]: bytes },
  },
  package: {
    summary: "The files of a model, signed by its operator",
    extension: "longshore",
    gives: json(ref("SignedManifest")),
  },
  "package-file": {
    summary: "A file of a package, whole or from some byte on",
    extension: "longshore",
    gives: { [binaryType]: bytes },
    statuses: [206],
  },
  directory: {
    summary: "The endpoints, or their changes",
    extension: "longshore",
    gives: json(ref("DirectoryPage")),
    query: { since: { type: "string", maxLength: 128 } },
  },
  rollouts: {
    summary: "Aliases and how their candidates do",
    extension: "longshore",
    gives: json({ type: "object" }),
  },
  rollout: {
    summary: "An alias and how its candidate does",
    extension: "longshore",
    gives: json({ type: "object" }),
  },
  "rollout-change": {
    summary: "Changes an alias by comparing and setting its revision",
    extension: "longshore",
    body: { schema: { type: "object" } },
    gives: json({ type: "object" }),
    statuses: [409],
  },
  "directory-join": {
    summary: "Joins the directory, and stays in it",
    extension: "longshore",
    body: { schema: ref("JoinRequest") },
    gives: json(ref("JoinReply")),
  },
  "directory-leave": {
    summary: "Leaves the directory",
    extension: "longshore",
    body: { schema: ref("LeaveRequest") },
    gives: json(ref("Nothing")),
  },
  "directory-lease": {
    summary: "Leases a part of a tenant's limit",
    extension: "longshore",
    body: { schema: ref("LeaseRequest") },
    gives: json(ref("LeaseReply")),
  },
  probe: {
    summary: "Up to 128 kB that measure the link and are dropped; an empty body asks for the load",
    extension: "longshore",
    body: { schema: bytes, optional: true, binary: true },
    gives: { "text/plain": { type: "string" } },
  },
  openapi: { summary: "The OpenAPI document", extension: "longshore", gives: json({ type: "object" }) },
  metrics: {
    summary: "Prometheus text",
    extension: "longshore",
    gives: { "text/plain": { type: "string" }, "application/openmetrics-text": { type: "string" } },
  },
};

/** The permitted names in a path. */
const nameSchema: JsonSchema = { type: "string", minLength: 1, maxLength: 256, pattern: "^[^/\\\\]+$" };
const cutSchema: JsonSchema = { type: "string", pattern: "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$" };

function pathParameters(path: string): readonly Json[] {
  return [...path.matchAll(/\{([a-z]+)\}/g)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    schema: name === "from" || name === "to" ? cutSchema : nameSchema,
  }));
}

function header(name: string, schema: JsonSchema, description: string): Json {
  return { name, in: "header", required: false, schema, description };
}

/**
 * Headers that any client may send. Those of our own extension are in docs/protocol.md: generic clients cannot read the replies
 * to them.
 */
const inferHeaders: readonly Json[] = [
  header(headerLengthHeader, { type: "integer", minimum: 0 }, "Bytes of JSON before binary tensors"),
];

const failure: Json = {
  description: "Refused or failed; `reason` is of a closed list",
  content: { [jsonType]: { schema: ref("Error") } },
};

/** The right that a sender needs. */
function rightText(kind: RouteEntry["kind"], path: string): string {
  const { right } = routeAccess[kind];
  if (right === "none") return "Needs no right.";
  if (right === "any") return "Needs any right.";
  if (path.endsWith("/stats") && !path.includes("{"))
    return "Needs the right `infer`; `observe` for all tenants.";
  return path.includes("/segments/")
    ? "Needs the right `infer` for a whole model, `segment:infer` for a part."
    : `Needs the right \`${right}\`.`;
}

function documented({ kind, method, path }: RouteEntry): Json {
  const { summary, extension, body, gives, query, requires = [], statuses = [] } = operations[kind];
  const content = (types: Readonly<Record<string, JsonSchema>>): Json =>
    Object.fromEntries(Object.entries(types).map(([type, schema]) => [type, { schema }]));
  const accepts = body && {
    ...(body.schema === bytes ? {} : { [jsonType]: body.schema }),
    ...(body.binary ? { [binaryType]: bytes } : {}),
  };
  return {
    // A path's words tell operations of one kind apart.
    operationId: `${method.toLowerCase()}${path.replaceAll(/[^A-Za-z0-9]+/g, "_")}`,
    summary,
    description: rightText(kind, path),
    tags: [extension],
    parameters: [
      ...pathParameters(path),
      ...Object.entries(query ?? {}).map(([name, schema]) => ({
        name,
        in: "query",
        required: requires.includes(name),
        schema,
      })),
      ...(kind === "infer" ? inferHeaders : []),
    ],
    ...(accepts ? { requestBody: { required: body?.optional !== true, content: content(accepts) } } : {}),
    responses: {
      200: { description: "Done", content: content(gives) },
      ...Object.fromEntries(
        statuses.map((status) => [
          status,
          { description: status === 206 ? "A part" : "Not now", content: content(gives) },
        ]),
      ),
      "4XX": failure,
      ...(statuses.includes(503) ? {} : { "5XX": failure }),
    },
  };
}

/** The OpenAPI document of a server of this name and version, made from the table that routes. */
export function openApiDocument(name: string, version: string): Readonly<Record<string, Json>> {
  const paths: Record<string, Record<string, Json>> = {};
  for (const entry of wireRoutes) {
    if (entry.refused) continue;
    (paths[entry.path] ??= {})[entry.method.toLowerCase()] = documented(entry);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: name,
      version,
      description: "Open Inference Protocol v2 with the extensions of Triton and of Longshore",
    },
    paths,
    components: { schemas },
  };
}
