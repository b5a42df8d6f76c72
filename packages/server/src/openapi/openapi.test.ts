import { describe, expect, it } from "vitest";
import {
  bytesTensor,
  codecSet,
  emptyBody,
  float32Tensor,
  type Json,
  rawCodec,
  readBody,
  tensorsOf,
  textElements,
  type WireBody,
  type WireRequest,
} from "@longshore/core";
import { type Alias, createRegistry, housekeepingCall, wireRoutes } from "@longshore/core/internal";
import { type DoubleModel, doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import { createAllowanceLeases, LocalAllowances } from "../quota/index.ts";
import { createHandler } from "../api/handler.ts";
import { openApiDocument } from "./openapi.ts";

const echo: DoubleModel = {
  description: doubleDescription({
    name: "echo",
    inputs: [{ name: "text_input", datatype: "BYTES", shape: [-1] }],
    outputs: [{ name: "text_output", datatype: "BYTES", shape: [-1] }],
  }),
  run: (inputs) => tensorsOf(bytesTensor("text_output", textElements(inputs.get("text_input")!))),
};

const plain: DoubleModel = {
  description: doubleDescription({ name: "plain" }),
  run: () => tensorsOf(float32Tensor("y", [1, 3], new Float32Array(3))),
};

const shelved = {
  model: "echo",
  digest: "sha256:0",
  manifest: new TextEncoder().encode('{"body": {"schemaVersion": 1, "model": "echo", "files": []}}'),
};

const alias: Alias = {
  schemaVersion: 1,
  name: "echo",
  revision: 1,
  model: "plain",
  stable: { version: "1", digest: "sha256:0" },
  because: "",
};

function server() {
  const double = doubleEndpoint([echo, plain], { id: "server" });
  const sequence = async () => ({ step: 7, ended: false, idleMs: 1200, key: "k" });
  const prepare = () => Promise.resolve();
  const endpoint = { ...double, capabilities: { ...double.capabilities, sequence, prepare } };
  const handler = createHandler({
    endpoint,
    codecs: codecSet(rawCodec),
    clock: manualClock(),
    observer: { record: () => undefined },
    modelControl: true,
    directory: createRegistry({
      clock: manualClock(),
      instance: "i",
      codecs: ["raw"],
      admits: { zone: "eu", trust: "listed" },
    }),
    modelUploads: true,
    leases: createAllowanceLeases(new LocalAllowances(() => ({ tenants: {} }), manualClock()), manualClock()),
    rollouts: {
      find: () => alias,
      list: () => [{ alias, figures: undefined }],
      change: async () => alias,
      follow: () => undefined,
      ended: () => undefined,
      compared: () => undefined,
    },
    packages: {
      ofModel: async () => shelved,
      ofDigest: async () => shelved,
      async open() {
        return {
          bytes: 1,
          async *read() {
            yield Uint8Array.of(1);
          },
        };
      },
    },
    repository: {
      index: async () => [{ name: "echo", version: "1", state: "READY", reason: "" }],
      load: async () => undefined,
      unload: async () => undefined,
      head: async () => ({ digest: "sha256:0", bytes: Uint8Array.of(1) }),
    },
    sharedMemory: {
      open: async () => ({
        byteLength: 64,
        read: async () => undefined,
        write: async () => undefined,
        close: async () => undefined,
      }),
    },
  });
  return async (request: Pick<WireRequest, "method" | "path"> & { readonly body?: WireBody }) => {
    const response = await handler(
      { headers: {}, body: emptyBody, peer: { address: "127.0.0.1", loopback: true }, ...request },
      housekeepingCall("test"),
    );
    const bytes = await readBody(response.body, { maxBytes: 1e6 });
    return { ...response, bytes, text: new TextDecoder().decode(bytes) };
  };
}

type Object_ = Readonly<Record<string, Json>>;

const at = (value: Json | undefined, ...path: readonly string[]): Json | undefined =>
  path.reduce<Json | undefined>((inner, key) => (inner as Object_ | undefined)?.[key], value);

const document = openApiDocument("test", "1");

/** A schema that this document points to. */
function resolved(schema: Json | undefined): Object_ {
  const pointer = at(schema, "$ref") as string | undefined;
  if (pointer === undefined) return (schema ?? {}) as Object_;
  const found = at(document, ...pointer.slice(2).split("/"));
  expect(found, pointer).toBeDefined();
  return found as Object_;
}

/** The few parts of JSON schema that the document uses. */
function check(value: unknown, schema: Json | undefined, where: string): void {
  const { type, properties, required, items, enum: words, const: constant, minimum } = resolved(schema);
  if (constant !== undefined) expect(value, where).toEqual(constant);
  if (words !== undefined) expect(words, where).toContain(value);
  if (minimum !== undefined) expect(value, where).toBeGreaterThanOrEqual(minimum as number);
  if (type === "string" || type === "boolean") expect(typeof value, where).toBe(type);
  if (type === "integer") expect(Number.isSafeInteger(value), where).toBe(true);
  if (type === "array") {
    expect(Array.isArray(value), where).toBe(true);
    (value as unknown[]).forEach((item, index) => items && check(item, items, `${where}[${index}]`));
  }
  if (type === "object") {
    for (const key of (required ?? []) as string[]) expect(value, where).toHaveProperty([key]);
    for (const [key, inner] of Object.entries((properties ?? {}) as Object_)) {
      const own = (value as Record<string, unknown>)[key];
      if (own !== undefined) check(own, inner, `${where}.${key}`);
    }
  }
}

const bodies: Readonly<Record<string, unknown>> = {
  infer: { inputs: [{ name: "text_input", datatype: "BYTES", shape: [1], data: ["hello"] }] },
  generate: { text_input: "hello", temperature: 1 },
  "generate-stream": { text_input: "hello" },
  load: { parameters: { config: "{}", "file:1/model.onnx": "AAAA" } },
  unload: { parameters: { unload_dependents: true } },
  "set-log-settings": { log_verbose_level: 1 },
  "set-trace-settings": { trace_level: ["OFF"], trace_rate: "10", trace_count: null },
  "directory-join": { schemaVersion: 1, id: "till-4", statement: { address: "http://127.0.0.1:1" } },
  "directory-leave": { id: "till-4" },
  "directory-lease": {
    schemaVersion: 1,
    holder: "gate-2",
    tenant: "acme",
    meter: "requests",
    needed: 1,
    wanted: 2,
    owed: 0,
  },
  "rollout-change": { revision: 1, change: { do: "promote" } },
  "shared-register": { key: "/k", byte_size: 64 },
};

const offered = wireRoutes.filter(({ refused }) => !refused);

describe("the OpenAPI document", () => {
  it("documents every route of the table, and nothing else", () => {
    const listed = Object.entries(document["paths"] as Object_).flatMap(([path, verbs]) =>
      Object.keys(verbs as Object_).map((verb) => `${verb.toUpperCase()} ${path}`),
    );
    expect(listed.toSorted()).toEqual(offered.map(({ method, path }) => `${method} ${path}`).toSorted());
    const ids = Object.values(document["paths"] as Object_).flatMap((verbs) =>
      Object.values(verbs as Object_).map((one) => at(one, "operationId")),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("is served", async () => {
    const { status, text } = await server()({ method: "GET", path: "/v2/openapi.json" });
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ openapi: "3.1.0", paths: { "/v2/health/live": {} } });
  });

  it.each(offered.map((entry) => [`${entry.method} ${entry.path}`, entry] as const))(
    "%s answers as documented",
    async (_name, { kind, method, path, fixed }) => {
      const ask = server();
      const filled = path
        .replace("{model}", "echo")
        .replace("{version}", "1")
        .replace("{variant}", "default")
        .replace("{from}..{to}", "start..end")
        .replace("{to}", "end")
        .replace("{region}", "r");
      if (kind === "shared-status" && fixed?.["memory"] === "system" && path.includes("{region}")) {
        const register = new TextEncoder().encode(JSON.stringify(bodies["shared-register"]));
        await ask({
          method: "POST",
          path: "/v2/systemsharedmemory/region/r/register",
          body: { kind: "parts", parts: [register] },
        });
      }
      const body = bodies[kind];
      const bytes = body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body));
      const reply = await ask({
        method,
        path: kind === "sequence" ? `${filled}?id=s` : filled,
        ...(bytes ? { body: { kind: "parts", parts: [bytes] } } : {}),
      });
      const operation = at(document["paths"], path, method.toLowerCase());
      // There is no CUDA memory, so no region of it has a status.
      const status = fixed?.["memory"] === "cuda" && path.includes("{region}") ? [404, 200] : [200];
      expect(status, reply.text).toContain(reply.status);
      const range = reply.status === 200 ? "200" : `${reply.status.toString()[0]}XX`;
      const type = (reply.headers["content-type"] ?? "").split(";")[0] ?? "";
      const schema = at(operation, "responses", range, "content", type, "schema");
      expect(schema, `${type} of ${reply.status}`).toBeDefined();
      if (type === "application/json") check(JSON.parse(reply.text), schema, path);
      // A request in the wrong form is refused with the documented error.
      const wrong = await ask({ method: "DELETE", path: filled });
      expect(wrong).toMatchObject({ status: 405, headers: { allow: expect.stringContaining(method) } });
      check(JSON.parse(wrong.text), { $ref: "#/components/schemas/Error" }, "error");
      const options = await ask({ method: "OPTIONS", path: filled });
      expect(options).toMatchObject({ status: 204, headers: { allow: wrong.headers["allow"] } });
    },
  );

  it("explains that a server without others runs each request itself", async () => {
    const { status, text } = await server()({ method: "GET", path: "/v2/models/plain/explain" });
    expect(status).toBe(200);
    expect(JSON.parse(text)).toEqual({
      schemaVersion: 1,
      legs: [
        {
          endpoint: "server",
          segment: expect.objectContaining({ model: "plain", from: "start", to: "end" }),
        },
      ],
      because: "this server runs every request itself, so no other endpoint was compared",
      lost: [],
    });
    const wrong = await server()({ method: "GET", path: "/v2/models/plain/explain?bytes=many" });
    expect(wrong.status).toBe(400);
  });

  it("reports absent regions and models, and models that are not for generate", async () => {
    const ask = server();
    const reason = async (method: "GET" | "POST", path: string): Promise<unknown> =>
      (JSON.parse((await ask({ method, path })).text) as { reason: unknown }).reason;
    expect(await reason("GET", "/v2/systemsharedmemory/region/none/status")).toBe("unknown-region");
    expect(await reason("POST", "/v2/cudasharedmemory/region/r/register")).toBe("unsupported");
    expect(await reason("POST", "/v2/models/plain/generate")).toBe("invalid-input");
    expect(await reason("POST", "/v2/models/none/generate")).toBe("unknown-model");
    expect(await reason("GET", "/v2/models/none/trace/setting")).toBe("unknown-model");
  });
});
