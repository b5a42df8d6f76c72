import { describe, expect, it } from "vitest";
import {
  type Body,
  bytesTensor,
  type Call,
  codecSet,
  emptyBody,
  float32Tensor,
  float32View,
  type InferenceRequest,
  LongshoreError,
  type ModelListing,
  type Peer,
  rawCodec,
  readBody,
  seededRandom,
  type Tensor,
  tensorsOf,
  textElements,
  type WireRequest,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { type DoubleModel, doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import { createTelemetry, createTracing } from "../telemetry/index.ts";
import { createHandler } from "./handler.ts";
import type { HandlerParts } from "./parts.ts";
import type { ModelOverride, ServedRepository } from "./served-repository.ts";
import type { SharedMemory } from "./shared-regions.ts";

const here: Peer = { address: "127.0.0.1", loopback: true };
const elsewhere: Peer = { address: "192.0.2.7", loopback: false };

const doubling: DoubleModel = {
  description: doubleDescription({
    name: "double",
    batching: {
      maxBatchSize: 8,
      preferredSizes: [4],
      maxQueueDelayMs: 2,
      priorities: { levels: 2, defaultLevel: 2, policies: {} },
      queue: { timeoutAction: "reject", timeoutMs: 5, mayShorten: true, maxQueued: 9 },
    },
    responseCache: true,
  }),
  run: (inputs) => {
    const input = inputs.get("x")!;
    return tensorsOf(
      float32Tensor(
        "y",
        input.spec.shape,
        float32View(input).map((value) => value * 2),
      ),
    );
  },
};

const echo: DoubleModel = {
  description: doubleDescription({
    name: "echo",
    inputs: [{ name: "text_input", datatype: "BYTES", shape: [-1] }],
    outputs: [{ name: "text_output", datatype: "BYTES", shape: [-1] }],
    decoupled: true,
  }),
  run: (inputs) => tensorsOf(bytesTensor("text_output", textElements(inputs.get("text_input")!))),
};

const counting: DoubleModel = {
  description: doubleDescription({
    name: "counts",
    inputs: [{ name: "counts", datatype: "INT64", shape: [-1] }],
    outputs: [{ name: "text_output", datatype: "BYTES", shape: [-1] }],
  }),
  run: () => tensorsOf(bytesTensor("text_output", ["done"])),
};

/** Shared memory that is an array. */
function arrayMemory(): SharedMemory & { readonly bytes: Uint8Array; readonly closed: string[] } {
  const bytes = new Uint8Array(64);
  const closed: string[] = [];
  return {
    bytes,
    closed,
    async open(key) {
      if (!key.startsWith("/ours")) throw new LongshoreError("not-permitted", "admission", "not ours");
      return {
        byteLength: bytes.byteLength,
        async read(offset, into) {
          into.set(bytes.subarray(offset, offset + into.byteLength));
        },
        async write(offset, from) {
          bytes.set(from, offset);
        },
        async close() {
          closed.push(key);
        },
      };
    },
  };
}

function server(change: Partial<HandlerParts> = {}) {
  const endpoint = doubleEndpoint([doubling, echo, counting], { id: "server" });
  const handler = createHandler({
    endpoint,
    codecs: codecSet(rawCodec),
    clock: manualClock(),
    observer: { record: () => undefined },
    ...change,
  });
  const ask = async (
    method: WireRequest["method"],
    path: string,
    json?: unknown,
    more: Partial<WireRequest> = {},
  ) => {
    const body: WireRequest["body"] =
      json === undefined
        ? emptyBody
        : { kind: "parts", parts: [new TextEncoder().encode(JSON.stringify(json))] };
    const response = await handler(
      { method, path, headers: {}, body, peer: here, ...more },
      housekeepingCall("test"),
    );
    const text = new TextDecoder().decode(await readBody(response.body, { maxBytes: 1e6 }));
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: /^[{[][^]*[}\]]$/.test(text) ? (JSON.parse(text) as Record<string, unknown>) : {},
    };
  };
  return { ask, endpoint };
}

const x = { name: "x", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] };

describe("logging and trace settings", () => {
  it("are read, changed and taken back, one by one", async () => {
    const { ask } = server();
    const before = (await ask("GET", "/v2/logging")).json;
    expect(before).toMatchObject({ log_file: "", log_verbose_level: 0, log_format: "ISO8601" });
    const changed = await ask("POST", "/v2/logging", { log_verbose_level: 2, log_info: true });
    expect(changed.json).toEqual({ ...before, log_verbose_level: 2, log_info: true });
    expect((await ask("POST", "/v2/trace/setting", { trace_level: ["TIMESTAMPS"], trace_rate: "3" })).json).toMatchObject({ trace_level: ["TIMESTAMPS"], trace_rate: "3", trace_count: "-1" }); // prettier-ignore
    const own = await ask("POST", "/v2/models/double/trace/setting", { trace_rate: "7", trace_count: 5 });
    expect(own.json).toMatchObject({ trace_rate: "7", trace_count: "5" });
    expect((await ask("GET", "/v2/trace/setting")).json).toMatchObject({ trace_rate: "3" });
    const back = await ask("POST", "/v2/models/double/trace/setting", {
      trace_rate: null,
      trace_count: null,
    });
    expect(back.json).toMatchObject({ trace_rate: "3", trace_count: "-1" });
    expect((await ask("POST", "/v2/trace/setting", { trace_rate: null })).json).toMatchObject({
      trace_rate: "1000",
    });
  });

  it("of traces follow all models' where a model has none of its own, as in Triton", async () => {
    const { ask } = server();
    const ofModel = "/v2/models/double/trace/setting";
    await ask("POST", ofModel, { trace_rate: "9" });
    await ask("POST", "/v2/trace/setting", { trace_rate: "3", trace_count: "7" });
    const both = { trace_rate: "9", trace_count: "7" };
    expect((await ask("GET", ofModel)).json).toMatchObject(both);
    // Taking back what it does not have leaves what it has.
    expect((await ask("POST", ofModel, { trace_count: null })).json).toMatchObject(both);
  });

  it("of traces go back to what the server was started with", async () => {
    const random = seededRandom(1);
    const tracing = createTracing(random, { level: "TIMESTAMPS", rate: 5 });
    const { ask } = server({ telemetry: createTelemetry({ clock: manualClock(), random, tracing }) });
    await ask("POST", "/v2/trace/setting", { trace_level: "OFF", trace_rate: "2", trace_count: "4" });
    const back = await ask("POST", "/v2/trace/setting", {
      trace_level: null,
      trace_rate: null,
      trace_count: null,
    });
    expect(back.json).toMatchObject({ trace_level: ["TIMESTAMPS"], trace_rate: "5", trace_count: "-1" });
  });

  const refused: readonly [string, unknown, string][] = [
    ["/v2/logging", { log_file: "/etc/passwd" }, "not-permitted"],
    ["/v2/logging", { log_format: "default" }, "not-permitted"],
    ["/v2/logging", { log_info: "yes" }, "invalid-input"],
    ["/v2/logging", { log_verbose_level: -1 }, "invalid-input"],
    ["/v2/logging", { unknown: true }, "invalid-input"],
    ["/v2/logging", [], "invalid-input"],
    ["/v2/trace/setting", { trace_file: "/tmp/x" }, "not-permitted"],
    ["/v2/trace/setting", { trace_mode: "triton" }, "not-permitted"],
    ["/v2/trace/setting", { trace_level: ["TENSORS"] }, "not-permitted"],
    ["/v2/trace/setting", { trace_level: ["LOUD"] }, "invalid-input"],
    ["/v2/trace/setting", { trace_rate: "often" }, "invalid-input"],
    ["/v2/trace/setting", { trace_count: "-2" }, "invalid-input"],
  ];
  it.each(refused)("%s refuses %j", async (path, body, reason) => {
    expect((await server().ask("POST", path, body)).json).toMatchObject({ reason });
  });
});

describe("schedule policy and parameters", () => {
  it("priority and timeout go with the call, what has no meaning here to the steps", async () => {
    const { ask, endpoint } = server({ forwardHeaders: /^x-.*$/ });
    await ask(
      "POST",
      "/v2/models/double/infer",
      {
        inputs: [x],
        parameters: {
          priority: 1,
          timeout: 2500,
          lens: "wide",
          triton_enable_empty_final_response: true,
          sequence_id: 0,
          headers: "no",
          __proto__: null,
        },
      },
      { headers: { "x-team": "blue", authorization: "secret" } },
    );
    expect(endpoint.requests.at(0)!.call).toMatchObject({ priority: 1, queueTimeoutMs: 2.5 });
    expect(endpoint.requests.at(0)!.request.parameters).toEqual({ "x-team": "blue", lens: "wide" });
    await ask("POST", "/v2/models/double/infer", { inputs: [x], parameters: { priority: 0, timeout: "0" } });
    const everything = server({ forwardHeaders: /./ });
    const secrets = {
      authorization: "secret",
      "x-api-key": "secret",
      cookie: "secret",
      "proxy-authorization": "secret",
    };
    await everything.ask("POST", "/v2/models/double/infer", { inputs: [x] }, { headers: secrets });
    expect(JSON.stringify(everything.endpoint.requests.at(0)!.request.parameters ?? {})).not.toContain(
      "secret",
    );
    expect(endpoint.requests.at(1)!.call).not.toHaveProperty("priority");
    expect(endpoint.requests.at(1)!.request).not.toHaveProperty("parameters");
    for (const wrong of [-1, 1.5, "soon", true]) {
      const reply = await ask("POST", "/v2/models/double/infer", {
        inputs: [x],
        parameters: { timeout: wrong },
      });
      expect(reply).toMatchObject({ status: 400, json: { reason: "invalid-input" } });
    }
  });

  it("refuses names that Triton keeps to itself", async () => {
    const { ask, endpoint } = server();
    for (const parameters of [{ triton_x: 1 }, { triton_enable_empty_final_response: "yes" }]) {
      const reply = await ask("POST", "/v2/models/double/infer", { inputs: [x], parameters });
      expect(reply).toMatchObject({ status: 400, json: { reason: "invalid-input" } });
    }
    expect(endpoint.requests).toEqual([]);
  });
});

describe("model configuration", () => {
  it("says what is served, what the operator wrote, and every field that Triton writes", async () => {
    const repository: ServedRepository = {
      index: async () => [],
      load: async () => undefined,
      unload: async () => undefined,
      configuration: async () => ({
        max_batch_size: 99,
        input: [{ name: "x", format: "FORMAT_NCHW" }],
        optimization: { eager_batching: true },
        parameters: { k: { string_value: "v" } },
        instance_group: [{ kind: "KIND_GPU", gpus: [0] }],
      }),
    };
    const { json } = await server({ repository }).ask("GET", "/v2/models/double/config");
    expect(json).toMatchObject({
      name: "double",
      platform: "onnxruntime_onnx",
      max_batch_size: 8,
      input: [{ name: "x", data_type: "TYPE_FP32", dims: [3], optional: false, format: "FORMAT_NCHW" }],
      optimization: { priority: "PRIORITY_DEFAULT", eager_batching: true },
      parameters: { k: { string_value: "v" }, longshore_digest: {} },
      instance_group: [{ kind: "KIND_GPU", gpus: [0], count: 1, passive: false }],
      response_cache: { enable: true },
      version_policy: { latest: { num_versions: 1 } },
      dynamic_batching: {
        preferred_batch_size: [4],
        max_queue_delay_microseconds: 2000,
        priority_levels: 2,
        default_priority_level: 2,
        default_queue_policy: { timeout_action: "REJECT", max_queue_size: 9 },
      },
    });
    expect((await server().ask("GET", "/v2/models/echo/config")).json).toMatchObject({
      model_transaction_policy: { decoupled: true },
    });
  });
});

describe("loading with a configuration and files", () => {
  function open(modelUploads: boolean) {
    const loads: (ModelOverride | undefined)[] = [];
    const unloads: Parameters<ServedRepository["unload"]>[2][] = [];
    const repository: ServedRepository = {
      index: async () => [],
      load: async (_model, _version, _call, override) => void loads.push(override),
      unload: async (_model, _call, dependents) => void unloads.push(dependents),
    };
    return { loads, unloads, ...server({ repository, modelControl: true, modelUploads }) };
  }
  const load = "/v2/repository/models/m/load";

  it("hands the configuration on, and files where the operator takes them", async () => {
    const { ask, loads } = open(true);
    expect((await ask("POST", load)).status).toBe(200);
    expect((await ask("POST", load, { parameters: { config: "{}" } })).status).toBe(200);
    const parameters = { config: "{}", "file:1/model.onnx": btoa("onnx") };
    expect((await ask("POST", load, { parameters })).status).toBe(200);
    expect(loads).toEqual([
      undefined,
      { config: "{}" },
      { config: "{}", files: new Map([["1/model.onnx", new TextEncoder().encode("onnx")]]) },
    ]);
    const closed = open(false);
    expect((await closed.ask("POST", load, { parameters })).json).toMatchObject({ reason: "not-permitted" });
    expect((await closed.ask("POST", load, { parameters: { config: "{}" } })).status).toBe(200);
  });

  it("refuses files that lie outside, are no base64, or come without a configuration, and names it does not know", async () => {
    const { ask, loads } = open(true);
    const wrong: readonly object[] = [
      { "file:1/model.onnx": "AAAA" },
      { config: 7 },
      { config: "{}", "file:../model.onnx": "AAAA" },
      { config: "{}", "file:1/../../model.onnx": "AAAA" },
      { config: "{}", "file:/etc/passwd": "AAAA" },
      { config: "{}", "file:1/.hidden": "AAAA" },
      { config: "{}", "file:": "AAAA" },
      { config: "{}", "file:1/model.onnx": "%" },
      { config: "{}", "file:1/model.onnx": 7 },
      { confg: "{}" },
    ];
    for (const parameters of wrong) {
      expect((await ask("POST", load, { parameters })).json, JSON.stringify(parameters)).toMatchObject({ reason: "invalid-input" }); // prettier-ignore
    }
    expect(loads).toEqual([]);
  });

  it("unloads with or without what the model is made of", async () => {
    const { ask, unloads } = open(false);
    const unload = "/v2/repository/models/m/unload";
    await ask("POST", unload);
    await ask("POST", unload, { parameters: { unload_dependents: true } });
    expect(unloads).toEqual([false, true]);
    expect((await ask("POST", unload, { parameters: { unload_dependents: 1 } })).status).toBe(400);
    expect((await ask("POST", unload, { parameters: null })).status).toBe(400);
  });
});

describe("system shared memory", () => {
  const root = "/v2/systemsharedmemory";
  const register = (name: string, byte_size: number, offset = 0, key = "/ours"): [string, object] => [
    `${root}/region/${name}/register`,
    { key, offset, byte_size },
  ];
  const shared = (region: string, size: number, offset = 0): object => ({
    shared_memory_region: region,
    shared_memory_byte_size: size,
    shared_memory_offset: offset,
  });
  const infer = (input: object, output: object): object => ({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 3], parameters: input }],
    outputs: [{ name: "y", parameters: output }],
  });

  it("takes inputs from regions and puts outputs into them", async () => {
    const memory = arrayMemory();
    new Float32Array(memory.bytes.buffer).set([9, 9, 1, 2, 3]);
    const { ask } = server({ sharedMemory: memory });
    expect((await ask("GET", "/v2")).json["extensions"]).toContain("system_shared_memory");
    expect((await ask("POST", ...register("in", 16, 4))).status).toBe(200);
    expect((await ask("POST", ...register("out", 32, 32))).status).toBe(200);
    expect((await ask("GET", `${root}/region/in/status`)).json).toEqual([{ name: "in", key: "/ours", offset: 4, byte_size: 16 }]); // prettier-ignore
    const reply = await ask(
      "POST",
      "/v2/models/double/infer",
      infer(shared("in", 12, 4), shared("out", 16, 8)),
    );
    // Without parameters, as Triton answers: its C++ clients take them for those of binary data.
    expect(reply.json["outputs"]).toEqual([{ name: "y", datatype: "FP32", shape: [1, 3] }]);
    expect([...new Float32Array(memory.bytes.buffer, 40, 3)]).toEqual([2, 4, 6]);
    expect((await ask("POST", `${root}/region/in/unregister`)).status).toBe(200);
    expect((await ask("GET", `${root}/status`)).json).toMatchObject([{ name: "out" }]);
    await ask("POST", `${root}/unregister`);
    expect(memory.closed).toEqual(["/ours", "/ours"]);
  });

  it("refuses what does not lie inside, foreign keys, and names that are taken", async () => {
    const memory = arrayMemory();
    const { ask, endpoint } = server({ sharedMemory: memory });
    await ask("POST", ...register("in", 16));
    const registrations: readonly [[string, object], string][] = [
      [register("in", 16), "invalid-input"],
      [register("a", 65), "invalid-input"],
      [register("a", 1, 64), "invalid-input"],
      [register("a", 2, Number.MAX_SAFE_INTEGER), "invalid-input"],
      [register("a", Number.MAX_SAFE_INTEGER, 2), "invalid-input"],
      [register("a", 0), "invalid-input"],
      [register("a", -1), "invalid-input"],
      [register("a", 1.5), "invalid-input"],
      [register("a", 1, 0, "/theirs"), "not-permitted"],
    ];
    for (const [[path, body], reason] of registrations) {
      expect((await ask("POST", path, body)).json, JSON.stringify(body)).toMatchObject({ reason });
    }
    const runs: readonly [object, object, string][] = [
      [shared("in", 12, 8), shared("in", 16), "invalid-input"],
      [shared("in", 12, Number.MAX_SAFE_INTEGER), shared("in", 16), "invalid-input"],
      [shared("in", 8), shared("in", 16), "body-mismatch"],
      [shared("none", 12), shared("in", 16), "unknown-region"],
      [shared("in", 12), shared("none", 16), "unknown-region"],
      [shared("in", 12), shared("in", 17), "invalid-input"],
      [shared("in", 12), { ...shared("in", 16), classification: 1 }, "invalid-input"],
    ];
    for (const [input, output, reason] of runs) {
      const reply = await ask("POST", "/v2/models/double/infer", infer(input, output));
      expect(reply.json, JSON.stringify([input, output])).toMatchObject({ reason });
    }
    expect(endpoint.requests).toHaveLength(0);
    const small = await ask("POST", "/v2/models/double/infer", infer(shared("in", 12), shared("in", 8)));
    expect(small.json).toMatchObject({ reason: "invalid-input" });
  });

  it("is for this machine only, each tenant's own, and off unless it is wanted", async () => {
    const tenants = new Map([
      ["a", "tenant-a"],
      ["b", "tenant-b"],
    ]);
    const rights = new Set(["infer", "manage"] as const);
    const { ask } = server({
      sharedMemory: arrayMemory(),
      identify: ({ headers }) => ({ tenant: tenants.get(headers["authorization"] ?? "") ?? "none", rights }),
    });
    const as = (name: string, peer: Peer = here): Partial<WireRequest> => ({
      headers: { authorization: name },
      peer,
    });
    await ask("POST", ...register("in", 16), as("a"));
    expect((await ask("GET", `${root}/status`, undefined, as("b"))).json).toEqual([]);
    const run = infer(shared("in", 12), {});
    expect((await ask("POST", "/v2/models/double/infer", run, as("b"))).json).toMatchObject({
      reason: "unknown-region",
    });
    expect((await ask("POST", "/v2/models/double/infer", run, as("a", elsewhere))).json).toMatchObject({ reason: "not-permitted" }); // prettier-ignore
    expect((await ask("POST", ...register("x", 16), as("a", elsewhere))).json).toMatchObject({
      reason: "not-permitted",
    });
    await ask("POST", `${root}/unregister`, {}, as("b"));
    expect((await ask("POST", "/v2/models/double/infer", run, as("a"))).status).toBe(200);
    const off = server();
    expect((await off.ask("POST", ...register("in", 16))).json).toMatchObject({ reason: "invalid-input" });
    expect((await off.ask("POST", `${root}/unregister`)).status).toBe(200);
    expect((await off.ask("GET", "/v2")).json["extensions"]).not.toContain("system_shared_memory");
  });
});

describe("generate", () => {
  it("makes inputs of fields, parameters of all others, and text of the answer", async () => {
    const { ask, endpoint } = server();
    const body = { id: "7", text_input: "hello", temperature: 0.5, parameters: { top: 3 } };
    const reply = await ask("POST", "/v2/models/echo/generate", body);
    expect(reply.json).toEqual({ id: "7", model_name: "echo", model_version: "1", text_output: "hello" });
    expect(endpoint.requests.at(0)!.request.parameters).toEqual({ temperature: 0.5, top: 3 });
    const several = await ask("POST", "/v2/models/echo/generate", { text_input: ["a", ["b"]] });
    expect(several.json).toMatchObject({ text_output: ["a", "b"] });
    const stream = await ask("POST", "/v2/models/echo/generate_stream", { text_input: "hi" });
    expect(stream.headers["content-type"]).toBe("text/event-stream");
    expect(stream.text).toBe('data: {"model_name":"echo","model_version":"1","text_output":"hi"}\n\n');
    // Longer than what is written at a time, which no character is a multiple of.
    const long = "aä語😀\n".repeat(4500);
    const whole = await ask("POST", "/v2/models/echo/generate", { text_input: [long, "b"] });
    expect(whole.json).toMatchObject({ text_output: [long, "b"] });
    // A mark of the byte order is part of the text that it begins.
    const marked = await ask("POST", "/v2/models/echo/generate", { text_input: "\uFEFFhi" });
    expect(marked.json).toMatchObject({ text_output: "\uFEFFhi" });
    expect((await ask("POST", "/v2/models/echo/generate", { text_input: 7 })).status).toBe(400);
    expect((await ask("POST", "/v2/models/echo/generate", {})).status).toBe(400);
  });
});

it("looks for the model of generate within the deadline of its request", async () => {
  const endpoint = doubleEndpoint([echo], { id: "server" });
  const deadlines: number[] = [];
  let nowMs = 0;
  const { ask } = server({
    clock: { ...manualClock(), nowMs: () => nowMs },
    endpoint: {
      ...endpoint,
      describe(model, version, call) {
        deadlines.push(call.deadlineMs);
        nowMs += 100;
        return endpoint.describe(model, version, call);
      },
    },
  });
  const headers = { "longshore-deadline": "700" };
  await ask("POST", "/v2/models/echo/generate", { text_input: "a" }, { headers });
  expect(new Set(deadlines)).toEqual(new Set([700]));
});

describe("parameters of generate", () => {
  it("may hold inputs, and the last of one name holds, as with Triton", async () => {
    const { ask, endpoint } = server();
    const inside = { parameters: { text_input: "hello", top: 3 } };
    expect((await ask("POST", "/v2/models/echo/generate", inside)).json).toMatchObject({
      text_output: "hello",
    });
    await ask("POST", "/v2/models/echo/generate", { ...inside, top: 4 });
    await ask("POST", "/v2/models/echo/generate", { top: 4, ...inside });
    expect(endpoint.requests.map(({ request }) => request.parameters)).toEqual([
      { top: 3 },
      { top: 4 },
      { top: 3 },
    ]);
    const twice = await ask("POST", "/v2/models/echo/generate", { text_input: "a", ...inside });
    expect(twice).toMatchObject({ status: 400, json: { reason: "invalid-input" } });
    expect(JSON.stringify(twice.json)).toContain("'parameters'");
  });
});

describe("whole numbers of 64 bits in generate", () => {
  it("keep all their digits, in inputs and in parameters", async () => {
    const { ask, endpoint } = server();
    const body = async (text: string): Promise<number> => {
      const parts = [new TextEncoder().encode(text)];
      return (await ask("POST", "/v2/models/counts/generate", undefined, { body: { kind: "parts", parts } }))
        .status;
    };
    expect(await body('{"counts":[9007199254740993,-9223372036854775808],"top":9007199254740993}')).toBe(200);
    const { inputs, parameters } = endpoint.requests.at(0)!.request;
    const { bytes } = inputs.get("counts") as Tensor;
    expect([...new BigInt64Array(bytes.slice().buffer)]).toEqual([2n ** 53n + 1n, -(2n ** 63n)]);
    expect(parameters).toEqual({ top: 2n ** 53n + 1n });
    for (const wrong of ['"top":[9007199254740993]', '"id":9007199254740993', '"top":{"a":9007199254740993}'])
      expect(await body(`{"counts":1,${wrong}}`), wrong).toBe(400);
  });
});

describe("the id of a sequence in generate", () => {
  it("keeps all of its 64 bits, as a number, as text, and inside parameters", async () => {
    const { ask, endpoint } = server();
    const body = async (fields: string): Promise<number> => {
      const parts = [new TextEncoder().encode(`{"text_input":"a",${fields}}`)];
      const request = { body: { kind: "parts", parts } } as const;
      return (await ask("POST", "/v2/models/echo/generate", undefined, request)).status;
    };
    const start = '"sequence_start":true';
    expect(await body(`"sequence_id":18446744073709551615,${start}`)).toBe(200);
    expect(await body(`"sequence_id":"9007199254740993",${start}`)).toBe(200);
    expect(await body(`"parameters":{"sequence_id":9007199254740993,${start}}`)).toBe(200);
    expect(endpoint.requests.map(({ request }) => request.sequence?.id)).toEqual([
      "18446744073709551615",
      "9007199254740993",
      "9007199254740993",
    ]);
    expect(await body(`"sequence_id":18446744073709551616,${start}`)).toBe(400);
    expect(await body(`"sequence_id":1,"sequence_id":2,${start}`)).toBe(400);
  });
});

describe("outputs without JSON form", () => {
  it("are refused before the run where the request wants JSON, and given as binary data", async () => {
    const outputs = [{ name: "y", datatype: "FP16" as const, shape: [-1, 2] }];
    const half: DoubleModel = {
      description: doubleDescription({ name: "half", outputs }),
      run: () =>
        tensorsOf({ spec: { name: "y", datatype: "FP16", shape: [1, 2] }, bytes: new Uint8Array(4) }),
    };
    const endpoint = doubleEndpoint([half], { id: "server" });
    const { ask } = server({ endpoint });
    const inputs = [{ name: "x", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] }];
    const infer = (more: object) => ask("POST", "/v2/models/half/infer", { inputs, ...more });
    const y = (parameters: object) => ({ outputs: [{ name: "y", parameters }] });
    for (const json of [
      {},
      y({}),
      { ...y({ binary_data: false }), parameters: { binary_data_output: true } },
    ]) {
      expect(await infer(json)).toMatchObject({ status: 400, json: { reason: "invalid-input" } });
    }
    expect(endpoint.requests).toHaveLength(0);
    expect((await infer(y({ binary_data: true }))).status).toBe(200);
    expect((await infer({ parameters: { binary_data_output: true } })).status).toBe(200);
  });
});

describe("inputs of a batch", () => {
  it("have as many rows, each", async () => {
    const ports = ["x", "other"].map((name) => ({ name, datatype: "FP32" as const, shape: [-1, 2] }));
    const both = (name: string, maxBatchSize: number): DoubleModel => ({
      ...doubling,
      description: doubleDescription({ name, inputs: ports, batching: { maxBatchSize } }),
    });
    const { description } = both("pipeline", 8);
    const pipeline: Body = { kind: "pipeline", steps: [], outputs: {} };
    const variants = description.variants.map((variant) => ({ ...variant, body: pipeline }));
    const endpoint = doubleEndpoint(
      [both("batched", 8), both("whole", 0), { ...doubling, description: { ...description, variants } }],
      { id: "server" },
    );
    const { ask } = server({ endpoint });
    const asked = (model: string, rows: number) =>
      ask("POST", `/v2/models/${model}/infer`, {
        inputs: [
          { ...x, shape: [1, 2], data: [1, 2] },
          { ...x, name: "other", shape: [rows, 2], data: Array.from({ length: 2 * rows }, () => 0) },
        ],
      });
    expect((await asked("batched", 1)).status).toBe(200);
    const refused = await asked("batched", 2);
    expect(refused).toMatchObject({ status: 400, json: { reason: "invalid-input" } });
    expect(refused.text).toContain("x has 1 and other 2");
    expect((await asked("whole", 2)).status).toBe(200);
    // Requests of a pipeline are never joined.
    expect((await asked("pipeline", 2)).status).toBe(200);
  });
});

describe("lists of thousands", () => {
  it("are written in steps, and let others have their turn between", async () => {
    const clock = manualClock();
    const telemetry = createTelemetry({ clock, random: seededRandom(1) });
    const names = Array.from({ length: 1000 }, (_, index) => `m${index}`);
    for (const model of names) {
      telemetry.observer.record({ kind: "inference-began", atMs: 0, callId: model, model, version: "1" });
    }
    const index = names.map((name): ModelListing => ({ name, version: "1", state: "READY", reason: "" }));
    const repository: ServedRepository = {
      index: async () => index,
      load: async () => undefined,
      unload: async () => undefined,
    };
    const described = names.map((name) => ({ ...echo, description: { ...echo.description, name } }));
    const endpoint = doubleEndpoint(described, { id: "server" });
    const { ask } = server({ clock, telemetry, repository, endpoint });
    const stats = (await clock.finish(ask("GET", "/v2/models/stats"))).json["model_stats"] as Record<
      string,
      unknown
    >[];
    expect(stats.map(({ name }) => name)).toEqual(names);
    const [one] = (await ask("GET", "/v2/models/m7/versions/1/stats")).json["model_stats"] as unknown[];
    expect(stats[7]).toEqual(one);
    // A step has 131,072 characters.
    expect(clock.timersSet()).toBeGreaterThanOrEqual(Math.floor(JSON.stringify(stats).length / 135_000));
    expect((await clock.finish(ask("POST", "/v2/repository/index", {}))).json).toEqual(index);
  });
});

describe("statistics of models that give several answers", () => {
  it("tell answers apart by their position, and at which one a request failed", async () => {
    const double = doubleEndpoint([echo], { id: "server" });
    const clock = manualClock();
    let answers = 2;
    const endpoint = {
      ...double,
      capabilities: {
        async *inferStream(request: InferenceRequest, call: Call) {
          for (let answer = 0; answer < answers; answer++) {
            await clock.advance(10);
            yield await double.infer(request, call);
          }
          if (answers < 2) throw new LongshoreError("run-failed", "execute", "no more");
        },
      },
    };
    const { ask } = server({ endpoint, clock });
    const stream = await ask("POST", "/v2/models/echo/generate_stream", { text_input: "hi" });
    expect(stream.text.match(/data: /g)).toHaveLength(2);
    answers = 1;
    const broken = await ask("POST", "/v2/models/echo/generate_stream", { text_input: "hi" });
    expect(broken.text).toContain('"reason":"run-failed"');
    const { json } = await ask("GET", "/v2/models/echo/stats");
    const one = { count: 1, ns: 10e6 };
    const none = { count: 0, ns: 0 };
    expect(json).toMatchObject({
      model_stats: [
        {
          inference_stats: { success: { count: 1 }, fail: { count: 1 } },
          response_stats: {
            "0": {
              success: { count: 2, ns: 20e6 },
              compute_infer: { count: 2, ns: 20e6 },
              compute_output: { count: 2, ns: 0 },
              fail: none,
            },
            "1": {
              success: one,
              compute_infer: { count: 2, ns: 10e6 },
              compute_output: { count: 1, ns: 0 },
              fail: { count: 1 },
              cancel: none,
              empty_response: none,
            },
            // The end of the stream that gave two answers.
            "2": { success: none, compute_infer: { count: 1, ns: 0 }, empty_response: { count: 1, ns: 0 } },
          },
        },
      ],
    });
  });
});

describe("the call of a double", () => {
  it("keeps what the gate settled", async () => {
    const calls: Call[] = [];
    const { ask, endpoint } = server();
    await ask("POST", "/v2/models/double/infer", { inputs: [x] });
    calls.push(...endpoint.requests.map(({ call }) => call));
    expect(calls).toMatchObject([{ tenant: "local", path: ["server"] }]);
  });
});
