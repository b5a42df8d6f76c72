import { describe, expect, it } from "vitest";
import {
  codecSet,
  emptyBody,
  float32Tensor,
  oipEndpoint,
  rawCodec,
  readBody,
  seededRandom,
  tensorsOf,
  type TensorSpec,
  type Transport,
  type WireBody,
  type WireRequest,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { createEngine, inlineLane, pureTransforms, transformSet } from "@longshore/engine";
import {
  doubleInfo,
  manualClock,
  memoryFile,
  memoryRuntime,
  memorySource,
  memoryStore,
  memoryTransport,
  oneStage,
  sha256Of,
} from "@longshore/testkit";
import { createHandler } from "../api/index.ts";
import type { CountAndTime } from "./counters.ts";
import { createLog } from "./log.ts";
import { otlpTraces } from "./otlp-json.ts";
import { otlpExporter, otlpLogExporter, otlpMetricExporter } from "./otlp.ts";
import { counter, gauge, histogram } from "./registry.ts";
import type { Span } from "./spans.ts";
import { createTelemetry } from "./telemetry.ts";
import { createTracing, type TraceSettings } from "./tracing.ts";

const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });
const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;

/** A server over an engine with one batched model, and everything that it tells. */
function world(settings: Partial<TraceSettings> = { level: "TIMESTAMPS", rate: 1 }) {
  const clock = manualClock();
  const random = seededRandom(7);
  const lines: Record<string, unknown>[] = [];
  const spans: Span[] = [];
  const telemetry = createTelemetry({
    clock,
    random,
    log: createLog(clock, (line) => void lines.push(JSON.parse(line) as Record<string, unknown>)),
    tracing: createTracing(random, settings),
    spans: (span) => void spans.push(span),
    machine: () => ({ cpuRatio: 0.5, memoryTotalBytes: 100, memoryUsedBytes: 40, residentBytes: 10 }),
  });
  const models = {
    dense: oneStage([fp32("x", -1, 2)], [fp32("y", -1, 2)], 10, (feeds) =>
      tensorsOf({ ...feeds.get("x")!, spec: fp32("y", feeds.get("x")!.spec.shape[0]!, 2) }),
    ),
  };
  const transforms = transformSet(...pureTransforms());
  const engine = createEngine({
    info: doubleInfo,
    store: memoryStore({
      "dense/1/model.onnx": memoryFile("dense"),
      "dense/model.yaml": "batching: { maxBatchSize: 8 }",
      "dense (copy)/1/model.onnx": memoryFile("dense"),
      ".git/1/model.onnx": memoryFile("dense"),
      "kept/1/model.onnx": memoryFile("dense"),
      "kept/model.yaml": "responseCache: true",
      "tuned/1/model.onnx": memoryFile("dense"),
      "tuned/config.pbtxt":
        'optimization { eager_batching: true } parameters { key: "threads" value { string_value: "4" } }',
      "both/config.pbtxt": `
        platform: "ensemble" metric_tags { key: "team" value: "a" }
        input { name: "x" data_type: TYPE_FP32 dims: [ -1, 2 ] } output { name: "y" data_type: TYPE_FP32 dims: [ -1, 2 ] }
        ensemble_scheduling { step { model_name: "tuned" model_version: -1
          input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } }`,
      "both/1/profile.json": "{}",
      "twice/model.yaml": `
inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps:
    - { id: first, model: dense, inputs: { x: x } }
    - { id: second, model: dense, inputs: { x: first.y } }
  outputs: { y: second.y }
`,
      "frames/model.yaml": `
inputs: [{ name: x, datatype: FP32, shape: [-1, 2] }]
pipeline:
  steps: [{ id: each, transform: repeat, inputs: { values: x } }]
  outputs: { y: each.value }
`,
    }),
    source: memorySource(models),
    runtimes: [memoryRuntime({ models, clock })],
    transforms,
    lane: inlineLane(transforms, clock),
    clock,
    random,
    observer: telemetry.observer,
    sha256: sha256Of,
  });
  const handler = createHandler({
    endpoint: engine,
    codecs: codecSet(rawCodec),
    clock,
    observer: telemetry.observer,
    telemetry,
    load: () => engine.loadReport(),
  });
  let count = 0;
  const send = (
    path: string,
    values: readonly number[] | undefined,
    headers: WireRequest["headers"] = {},
  ) => {
    const json = {
      inputs: [{ name: "x", datatype: "FP32", shape: [(values?.length ?? 0) / 2, 2], data: values }],
    };
    const body: WireBody =
      values === undefined
        ? emptyBody
        : { kind: "parts", parts: [new TextEncoder().encode(JSON.stringify(json))] };
    const method = values === undefined ? "GET" : "POST";
    const peer = { address: "127.0.0.1", loopback: true };
    return handler({ method, path, headers, body, peer }, housekeepingCall(`call-${++count}`));
  };
  const page = async (accept?: string): Promise<string> => {
    const reply = await send("/metrics", undefined, accept === undefined ? {} : { accept });
    return new TextDecoder().decode(await readBody(reply.body, { maxBytes: 1e6 }));
  };
  /** The spans so far. */
  const told = (): readonly Span[] => {
    telemetry.settle();
    return spans;
  };
  return { clock, random, handler, engine, telemetry, told, lines, send, page };
}

describe("traces", () => {
  it("have a span for the exchange and each stage, under the sender's span", async () => {
    const { clock, send, told } = world();
    const state = "vendor=opaque";
    await clock.finish(send("/v2/models/dense/infer", [1, 2], { traceparent, tracestate: state }));
    const server = told().find(({ kind }) => kind === "server")!;
    expect(server).toMatchObject({
      traceId: "a".repeat(32),
      parentSpanId: "b".repeat(16),
      state,
      name: "infer dense",
      attributes: {
        "longshore.model": "dense",
        "longshore.tenant": "local",
        "http.response.status_code": 200,
      },
    });
    const inside = told().filter((span) => span !== server);
    expect(inside.map(({ name }) => name)).toEqual([
      "identify",
      "wait body",
      "decode inputs",
      "batch dense",
      "queue dense",
      "run dense",
      "encode outputs",
    ]);
    for (const span of inside) {
      expect(span).toMatchObject({ traceId: server.traceId, parentSpanId: server.spanId });
      expect(span.startMs).toBeGreaterThanOrEqual(server.startMs);
      expect(span.endMs).toBeLessThanOrEqual(server.endMs);
    }
    const run = told().find(({ name }) => name === "run dense")!;
    expect(run.endMs - run.startMs).toBe(10);
    expect(new Set(told().map(({ spanId }) => spanId)).size).toBe(told().length);
  });

  it("name requests by the conventions for HTTP, gRPC and generative models, and no query", async () => {
    const { clock, handler, told } = world();
    const asked = (path: string, more: object = {}) =>
      handler(
        {
          method: "POST",
          path,
          headers: { host: "[::1]:8000" },
          body: emptyBody,
          peer: { address: "::1", loopback: true, encrypted: true },
          ...more,
        },
        housekeepingCall(path),
      );
    await clock.finish(asked("/v2/models/dense/versions/1/infer?key=secret"));
    await clock.finish(asked("/v2/models/dense/infer", { rpc: "inference.GRPCInferenceService/ModelInfer" }));
    await clock.finish(asked("/v2/models/nothing/generate"));
    await clock.finish(asked(`/${"x".repeat(1000)}`));
    const [http, rpc, text, nowhere] = told()
      .filter(({ kind }) => kind === "server")
      .map(({ attributes }) => attributes);
    expect(http).toMatchObject({
      "http.request.method": "POST",
      "http.route": "/v2/models/{model}/versions/{version}/infer",
      "url.path": "/v2/models/dense/versions/1/infer",
      "url.scheme": "https",
      "server.address": "::1",
      "server.port": 8000,
      "http.response.status_code": 400,
      "error.type": "invalid-input",
    });
    expect(rpc).toMatchObject({
      "rpc.system.name": "grpc",
      "rpc.method": "inference.GRPCInferenceService/ModelInfer",
      "rpc.response.status_code": "INVALID_ARGUMENT",
      "server.port": 8000,
    });
    expect(Object.keys(rpc!).filter((key) => key.startsWith("http."))).toEqual([]);
    expect(text).toMatchObject({
      "gen_ai.operation.name": "text_completion",
      "gen_ai.provider.name": "longshore",
    });
    expect(Object.keys(http!).filter((key) => key.startsWith("gen_ai."))).toEqual([]);
    expect(nowhere!["http.route"]).toBeUndefined();
    expect(String(nowhere!["url.path"]).length).toBe(256);
  });

  it("link a batch to all requests that shared it", async () => {
    const { clock, send, told } = world();
    await clock.finish(
      Promise.all([1, 2, 3, 4].map((value) => send("/v2/models/dense/infer", [value, value]))),
    );
    const servers = told().filter(({ kind }) => kind === "server");
    const shared = told()
      .filter(({ name }) => name === "batch dense")
      .find(({ links }) => links.length > 1)!;
    expect(shared.attributes["longshore.batch.rows"]).toBe(shared.links.length);
    for (const link of shared.links) {
      expect(servers).toContainEqual(expect.objectContaining({ traceId: link.traceId, spanId: link.spanId }));
    }
  });

  it("follow the sender's decision; without one a share of requests, up to a count", async () => {
    const unsampled = `${traceparent.slice(0, -2)}00`;
    const decided = world();
    await decided.clock.finish(decided.send("/v2/models/dense/infer", [1, 2], { traceparent: unsampled }));
    expect(decided.told()).toEqual([]);
    const off = world({ level: "OFF" });
    await off.clock.finish(off.send("/v2/models/dense/infer", [1, 2], { traceparent }));
    expect(off.told()).toEqual([]);
    const some = world({ level: "TIMESTAMPS", rate: 3, count: 5 });
    for (let index = 0; index < 60; index++) await some.send("/v2/health/live", undefined);
    expect(some.told().filter(({ kind }) => kind === "server")).toHaveLength(5);
    expect(some.telemetry.tracing.settings().count).toBe(0);
  });

  it("are counted down for the model that has a count of its own, else for all", async () => {
    const { clock, send, telemetry } = world({ level: "TIMESTAMPS", count: 5 });
    const { tracing } = telemetry;
    const counts = () => [tracing.settings("dense").count, tracing.settings().count];
    tracing.change("dense", { rate: 1 });
    await clock.finish(send("/v2/models/dense/infer", [1, 2]));
    expect(counts()).toEqual([4, 4]);
    tracing.change("dense", { count: 3 });
    await clock.finish(send("/v2/models/dense/infer", [1, 2]));
    expect(counts()).toEqual([2, 4]);
    tracing.change("dense", { rate: null, count: null });
    expect(tracing.settings("dense")).toEqual(tracing.settings());
  });

  it("of a model follow the model's own settings", async () => {
    const { clock, send, told, telemetry } = world({ level: "OFF" });
    telemetry.tracing.change("dense", { level: "TIMESTAMPS", rate: 1 });
    await clock.finish(send("/v2/models/dense/infer", [1, 2]));
    await send("/v2", undefined);
    expect(
      told()
        .filter(({ kind }) => kind === "server")
        .map(({ name }) => name),
    ).toEqual(["infer dense"]);
  });

  it("mark failures here, not the sender's mistakes", async () => {
    const { clock, send, told, engine } = world();
    await send("/v2/models/nothing/infer", [1, 2]);
    void engine.drain();
    await clock.finish(send("/v2/models/dense/infer", [1, 2]));
    const [wrong, failed] = told().filter(({ kind }) => kind === "server");
    expect(wrong).toMatchObject({ attributes: { "error.type": "unknown-model" } });
    expect(wrong).not.toHaveProperty("failure");
    expect(failed).toMatchObject({ failure: "shutting-down" });
  });
});

describe("a request that is forwarded", () => {
  it("is one trace: the server's span lies inside that of the request here, which lies inside the exchange", async () => {
    const behind = world();
    const { clock, told, random, telemetry } = behind;
    const endpoint = oipEndpoint({
      info: { ...doubleInfo, id: "cloud" },
      transport: memoryTransport(behind.handler, { clock }),
      codecs: codecSet(rawCodec),
      clock,
      random,
      observer: telemetry.observer,
    });
    const front = createHandler({
      endpoint: {
        ...endpoint,
        info: { ...doubleInfo, id: "gateway" },
        describe: endpoint.describe.bind(endpoint),
        offers: endpoint.offers.bind(endpoint),
        infer: endpoint.infer.bind(endpoint),
        close: endpoint.close.bind(endpoint),
      },
      codecs: codecSet(rawCodec),
      clock,
      observer: telemetry.observer,
      telemetry,
    });
    const json = { inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], data: [1, 2] }] };
    const body: WireBody = { kind: "parts", parts: [new TextEncoder().encode(JSON.stringify(json))] };
    const reply = await clock.finish(
      front(
        {
          method: "POST",
          path: "/v2/models/dense/infer",
          headers: { traceparent },
          body,
          peer: { address: "127.0.0.1", loopback: true },
        },
        housekeepingCall("front"),
      ),
    );
    expect(reply.status).toBe(200);
    const client = told().find(({ kind }) => kind === "client")!;
    const servers = told().filter(({ kind, name }) => kind === "server" && name === "infer dense");
    const [inner, outer] = servers;
    expect(new Set([client, inner!, outer!].map(({ traceId }) => traceId))).toEqual(
      new Set(["a".repeat(32)]),
    );
    expect([outer!.parentSpanId, client.parentSpanId, inner!.parentSpanId]).toEqual([
      "b".repeat(16),
      outer!.spanId,
      client.spanId,
    ]);
  });
});

interface Told {
  readonly inference_stats: Readonly<Record<string, CountAndTime>>;
  readonly batch_stats: readonly unknown[];
}

describe("metrics", () => {
  it("have Triton's names, labels and units, and our own in seconds and bytes", async () => {
    const { clock, send, page } = world();
    await clock.finish(Promise.all([1, 2].map((value) => send("/v2/models/dense/infer", [value, 1, 1, 1]))));
    await send("/v2/models/dense/infer", [1]);
    const text = await page();
    const one = 'model="dense",version="1"';
    for (const line of [
      `nv_inference_request_success{${one}} 2`,
      `nv_inference_request_failure{${one},reason="OTHER"} 1`,
      `nv_inference_request_failure{${one},reason="REJECTED"} 0`,
      `nv_inference_count{${one}} 4`,
      `nv_inference_exec_count{${one}} 2`,
      `nv_inference_compute_infer_duration_us{${one}} 20000`,
      `nv_inference_pending_request_count{${one}} 0`,
      "nv_cpu_utilization 0.5",
      "nv_cpu_memory_total_bytes 100",
      "nv_cpu_memory_used_bytes 40",
      "longshore_resident_memory_bytes 10",
      `longshore_request_duration_seconds_count{${one},outcome="answered"} 2`,
      `longshore_request_duration_seconds_count{${one},outcome="caller-error"} 1`,
      `longshore_request_duration_seconds_count{${one},outcome="failed"} 0`,
      `longshore_stage_duration_seconds_sum{${one},stage="run"} 0.02`,
      'longshore_failures_total{reason="invalid-input",stage="decode"} 1',
      'longshore_tenant_requests_total{tenant="local",outcome="answered"} 2',
      'longshore_replies_total{status="200"} 2',
    ]) {
      expect(text.split("\n")).toContain(line);
    }
    expect(text).not.toContain("# EOF");
    expect(text).not.toMatch(/^nv_cache_/m);
  });

  it("report the response cache for models whose answers are kept, from when they are loaded", async () => {
    const { clock, engine, telemetry, page } = world();
    for (const model of ["dense", "kept"])
      await clock.finish(engine.load(model, undefined, housekeepingCall("load")));
    const lines = async (): Promise<readonly string[]> =>
      (await page()).split("\n").filter((line) => line.startsWith("nv_cache_"));
    const of = (name: string, value: number): string =>
      `nv_cache_${name}_per_model{model="kept",version="1"} ${value}`;
    const zeros = ["num_hits", "num_misses", "hit_duration", "miss_duration"].map((name) => of(name, 0));
    const none = ["num_hits", "num_misses", "num_lookups"].map((name) => `nv_cache_${name} 0`);
    expect(await lines()).toEqual([...zeros, ...none]);
    const asked = { kind: "cache-asked", atMs: 0, callId: "c", model: "kept", version: "1" } as const;
    for (const outcome of ["miss", "hit", "joined"] as const)
      telemetry.observer.record({ ...asked, outcome, tookMs: 2 });
    const changed = { kind: "cache-changed", atMs: 0, evicted: 0 } as const;
    telemetry.observer.record({ ...changed, entries: 1, bytes: 250, maxBytes: 1000 });
    expect(await lines()).toEqual([
      of("num_hits", 2),
      of("num_misses", 1),
      of("hit_duration", 4000),
      of("miss_duration", 2000),
      "nv_cache_num_hits 2",
      "nv_cache_num_misses 1",
      "nv_cache_num_lookups 3",
      "nv_cache_num_entries 1",
      "nv_cache_util 0.25",
    ]);
    // A model that is loaded again without it has none.
    telemetry.observer.record({ kind: "model-state", atMs: 0, model: "kept", version: "1", state: "ready" });
    expect((await lines()).some((line) => line.includes("kept"))).toBe(false);
  });

  it("report zeros of a model from when it is loaded, and of no other", async () => {
    const { clock, engine, page } = world();
    await clock.finish(engine.load("dense", undefined, housekeepingCall("load")));
    const text = await page();
    for (const name of ["request_success", "count", "exec_count", "pending_request_count"]) {
      expect(text.split("\n")).toContain(`nv_inference_${name}{model="dense",version="1"} 0`);
    }
    expect(text).not.toContain('model="tuned"');
    // Alerts are about increases, and a series that begins at 1 has none.
    expect(text).toContain('longshore_model_states_total{model="dense",state="unavailable"} 0');
    for (const outcome of ["answered", "failed"]) {
      const labels = `{model="dense",version="1",outcome="${outcome}"}`;
      expect(text).toContain(`longshore_request_duration_seconds_count${labels} 0`);
    }
  });

  it("count a model's runs inside a pipeline as its own requests, as Triton does", async () => {
    const { clock, send, page } = world();
    await clock.finish(send("/v2/models/twice/infer", [1, 2, 3, 4]));
    const text = await page();
    for (const line of [
      'nv_inference_count{model="twice",version="1"} 1',
      'nv_inference_exec_count{model="twice",version="1"} 1',
      'nv_inference_request_success{model="dense",version="1"} 2',
      'nv_inference_count{model="dense",version="1"} 4',
      'nv_inference_exec_count{model="dense",version="1"} 2',
      'nv_inference_compute_infer_duration_us{model="dense",version="1"} 20000',
    ]) {
      expect(text.split("\n")).toContain(line);
    }
  });

  it("have a pipeline's requests as batches of their own, and its steps' queues at their models", async () => {
    const { clock, send } = world();
    const ask = (): Promise<unknown> => Promise.resolve(send("/v2/models/twice/infer", [1, 2, 3, 4]));
    await clock.finish(Promise.all([ask(), ask()]));
    const of = async (model: string): Promise<Told> => {
      const reply = await send(`/v2/models/${model}/stats`, undefined);
      const read = new TextDecoder().decode(await readBody(reply.body, { maxBytes: 1e6 }));
      return (JSON.parse(read) as { readonly model_stats: readonly [Told] }).model_stats[0];
    };
    const { inference_stats: stats, batch_stats: batches, ...twice } = await of("twice");
    const { inference_stats: inner } = await of("dense");
    expect(inner["queue"]!.ns).toBeGreaterThan(0);
    expect(stats["queue"]).toEqual({ count: 2, ns: 0 });
    const { compute_input, compute_infer, compute_output } = stats;
    expect(compute_infer).toEqual({ count: 2, ns: 40e6 });
    expect(batches).toEqual([{ batch_size: 1, compute_input, compute_infer, compute_output }]);
    expect(twice).toMatchObject({ inference_count: 2, execution_count: 2 });
  });

  it("count the queue of a part of a graph at its model", () => {
    const { telemetry } = world();
    const { record } = telemetry.observer;
    const asked = { atMs: 0, callId: "c", model: "dense", version: "1" } as const;
    record({ kind: "inference-began", ...asked });
    record({ kind: "batch-started", atMs: 0, model: "dense:c1..end", size: 1, callIds: ["c"] });
    record({
      kind: "inference-ended",
      ...asked,
      tenant: "local",
      tookMs: 5,
      outcome: "answered",
      answers: 1,
      rows: 1,
      stages: [{ stage: "queue", name: "dense", tookMs: 3 }],
      receivedBytes: 0,
      sentBytes: 0,
      millijoules: 0,
      energyLabel: "estimated",
    });
    const { times, executions } = telemetry.counters.version("dense", "1");
    expect([times.queue, executions]).toEqual([{ count: 1, ns: 3e6 }, 1]);
    expect(telemetry.counters.batches("dense", "1")).toEqual([]);
  });

  it("count waiting requests while they wait", async () => {
    const { clock, send, page } = world();
    await clock.finish(send("/v2/models/dense/infer", [1, 2]));
    const both = Promise.all([
      send("/v2/models/dense/infer", [1, 2]),
      send("/v2/models/dense/infer", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]),
    ]);
    await clock.advance(1);
    expect(await page()).toContain('nv_inference_pending_request_count{model="dense",version="1"} 1');
    await clock.finish(both);
    expect(await page()).toContain('nv_inference_pending_request_count{model="dense",version="1"} 0');
  });

  it("come as OpenMetrics with the traces of values for clients that accept that, and keep their names", async () => {
    const { clock, send, page } = world();
    await clock.finish(send("/v2/models/dense/infer", [1, 2], { traceparent }));
    const text = await page("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    expect(text.endsWith("# EOF\n")).toBe(true);
    expect(text).toContain("# TYPE nv_inference_request_success unknown");
    expect(text).toContain('nv_inference_request_success{model="dense",version="1"} 1');
    expect(text).toContain("# TYPE longshore_replies counter");
    expect(text).toMatch(
      /longshore_request_duration_seconds_bucket\{model="dense",version="1",outcome="answered",le="[\d.]+"\} 1 # \{trace_id="a{32}"\} 0\.01 \d+\.\d{3}/,
    );
    const kinds = text.split("\n").filter((line) => line.startsWith("# TYPE"));
    expect(new Set(kinds).size).toBe(kinds.length);
  });

  it("do not grow without end when labels do", async () => {
    const { clock, telemetry, page } = world();
    for (let index = 0; index < 5000; index++) {
      telemetry.metrics.tenantRequests.add([`tenant-${index}`, "answered"]);
    }
    const lines = (await clock.finish(page()))
      .split("\n")
      .filter((line) => line.startsWith("longshore_tenant_requests"));
    expect(lines.length).toBeLessThan(2100);
    expect(lines).toContain('longshore_tenant_requests_total{tenant="_other",outcome="_other"} 2952');
  });
});

describe("logs", () => {
  it("say of each failure once which request, whose and of which model, why and where, and nothing of inputs", async () => {
    const { clock, send, lines, engine } = world();
    await clock.finish(send("/v2/models/dense/infer", [31_337, 2]));
    void engine.drain();
    await clock.finish(send("/v2/models/dense/infer", [31_337, 2], { traceparent }));
    expect(lines.filter(({ event }) => event === "failure")).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        level: "warning",
        event: "failure",
        request: "call-2",
        tenant: "local",
        model: "dense",
        reason: "shutting-down",
        stage: "admission",
        message: expect.stringContaining("shutting down"),
        traceId: "a".repeat(32),
        spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
      },
    ]);
    expect(JSON.stringify(lines)).not.toContain("31337");
  });

  it("name the settings of a model without effect, once it is served", async () => {
    const { clock, send, lines, engine } = world();
    await clock.finish(send("/v2/models/dense/infer", [1, 2]));
    await clock.finish(send("/v2/models/tuned/infer", [1, 2]));
    await clock.finish(send("/v2/models/tuned/infer", [1, 2]));
    await clock.finish(engine.load("both", undefined, housekeepingCall("test")));
    const line = { time: expect.any(String), level: "warning", event: "configuration", version: "1" };
    expect(lines.filter(({ event }) => event === "configuration")).toEqual([
      { ...line, model: "tuned", withoutEffect: "optimization, parameters threads" },
      {
        ...line,
        model: "both",
        withoutEffect: "metric_tags, tuned: optimization, tuned: parameters threads",
      },
    ]);
  });

  it("name a folder that cannot be a model, once", async () => {
    const { lines, engine } = world();
    for (let times = 0; times < 2; times++) await engine.index();
    expect(lines).toEqual([
      {
        time: expect.any(String) as string,
        level: "warning",
        event: "repository",
        folder: "dense (copy)",
        ignored: expect.stringContaining('"dense (copy)" is not a model name') as string,
      },
    ]);
  });

  it("are as detailed as configured, while the server runs", async () => {
    const { clock, send, lines, telemetry } = world();
    telemetry.log.change({ verboseLevel: 1 });
    await clock.finish(send("/v2/models/dense/infer", [1, 2]));
    expect(lines).toContainEqual(
      expect.objectContaining({
        level: "verbose",
        event: "inference",
        tenant: "local",
        model: "dense",
        rows: 1,
      }),
    );
    lines.length = 0;
    const leg = { callId: "1", leg: "remote", endpoint: "edge" };
    telemetry.observer.record({ kind: "leg-started", atMs: 0, ...leg, trigger: "begin", expectedMs: 9 });
    telemetry.observer.record({
      kind: "leg-late",
      atMs: 50,
      ...leg,
      tookMs: 50,
      because: "silent",
      begun: true,
    });
    telemetry.observer.record({ kind: "leg-ended", atMs: 60, ...leg, tookMs: 60, outcome: "lost" });
    const line = {
      time: expect.any(String),
      level: "verbose",
      request: "1",
      leg: "remote",
      endpoint: "edge",
    };
    expect(lines).toEqual([
      { ...line, event: "leg", trigger: "begin", expectedMs: 9 },
      { ...line, event: "leg late", tookMs: 50, because: "silent", begun: true },
      { ...line, event: "leg ended", tookMs: 60, outcome: "lost" },
    ]);
    telemetry.log.change({ error: false, warning: false, info: false, verboseLevel: 0 });
    lines.length = 0;
    await send("/v2/models/nothing/infer", [1, 2]);
    expect(lines).toEqual([]);
  });
});

describe("the events of every request", () => {
  const ended = { kind: "exchange-ended", atMs: 0, callId: "1", status: 200, tookMs: 1 } as const;

  it("are processed at the loop's next turn, or at a read of the counts", async () => {
    const clock = manualClock();
    const telemetry = createTelemetry({ clock, random: seededRandom(1) });
    const { replies } = telemetry.counters;
    telemetry.observer.record(ended);
    expect(replies.get(200)).toBeUndefined();
    expect(telemetry.counters.replies.get(200)).toBe(1);
    telemetry.observer.record(ended);
    await clock.advance(0);
    expect(replies.get(200)).toBe(2);
    expect(clock.armed()).toBe(0);
  });

  it("are dropped if neither spans nor log lines are made of them", () => {
    const clock = manualClock();
    const stage = { kind: "stage-ended", atMs: 0, callId: "1", stage: "run", name: "a", tookMs: 1 } as const;
    const plain = createTelemetry({ clock, random: seededRandom(1) });
    plain.observer.record(stage);
    plain.observer.record({ kind: "bytes-acknowledged", atMs: 0, callId: "1", endpoint: "a", bytes: 1 });
    expect(clock.armed()).toBe(0);
    createTelemetry({ clock, random: seededRandom(1), spans: () => undefined }).observer.record(stage);
    expect(clock.armed()).toBe(1);
    const lines: string[] = [];
    const log = createLog(clock, (line) => void lines.push(line), "verbose");
    createTelemetry({ clock, random: seededRandom(1), log }).observer.record(stage);
    expect(lines).toHaveLength(1);
  });

  it("lend their trace to log lines, even if no exporter takes the spans", () => {
    const clock = manualClock();
    const lines: unknown[] = [];
    const log = createLog(clock, (line) => void lines.push(JSON.parse(line)), "info");
    const { observer } = createTelemetry({ clock, random: seededRandom(1), log });
    const failure = { reason: "internal", stage: "execute", message: "broke" } as const;
    const trace = { traceId: "a".repeat(32), spanId: "b".repeat(16), sampled: true };
    const began = { kind: "exchange-began", atMs: 0, route: "infer", tenant: "local" } as const;
    observer.record({ ...began, callId: "1" });
    observer.record({ kind: "failure", atMs: 0, callId: "1", ...failure });
    observer.record({ ...began, callId: "2", trace });
    observer.record({ kind: "failure", atMs: 0, callId: "2", ...failure });
    expect(lines).toEqual([
      expect.not.objectContaining({ traceId: expect.anything() }),
      expect.objectContaining({ request: "2", traceId: trace.traceId, spanId: trace.spanId }),
    ]);
  });

  it("are processed before an operator's read", () => {
    const clock = manualClock();
    const lines: string[] = [];
    const log = createLog(clock, (line) => void lines.push(line), "info");
    const telemetry = createTelemetry({ clock, random: seededRandom(1), log });
    const { replies } = telemetry.counters;
    telemetry.observer.record(ended);
    const failure = { reason: "internal", stage: "execute", message: "broke" } as const;
    telemetry.observer.record({ kind: "failure", atMs: 0, callId: "2", ...failure });
    expect(lines).toHaveLength(1);
    expect(replies.get(200)).toBe(1);
  });
});

describe("answers in a stream", () => {
  it("are one exchange, and one inference with several answers", async () => {
    const { clock, handler, told, page } = world();
    const message = {
      byteLength: 100,
      stream: true,
      read: async () => ({
        id: "7",
        parameters: {},
        binaryOutputs: true,
        inputs: [
          {
            ...float32Tensor("x", [3, 2], new Float32Array(6)).spec,
            parameters: {},
            bytes: new Uint8Array(24),
          },
        ],
      }),
    };
    const reply = await clock.finish(
      handler(
        {
          method: "POST",
          path: "/v2/models/frames/infer",
          headers: {},
          body: emptyBody,
          message,
          peer: { address: "127.0.0.1", loopback: true },
        },
        housekeepingCall("stream"),
      ),
    );
    expect(told().filter(({ kind }) => kind === "server")).toEqual([]);
    const ids: unknown[] = [];
    for await (const { id, outputs } of reply.messages!) ids.push([id, outputs[0]!.shape]);
    expect(ids).toEqual([
      ["7", [1, 2]],
      ["7", [1, 2]],
      ["7", [1, 2]],
    ]);
    expect(told().filter(({ kind }) => kind === "server")).toMatchObject([{ name: "infer frames" }]);
    expect(await page()).toContain('nv_inference_request_success{model="frames",version="1"} 1');
  });
});

describe("a reader that leaves", () => {
  it("of a streamed reply before its end ends the exchange and the inference nevertheless", async () => {
    const { clock, handler, engine, told, page } = world();
    const abort = new AbortController();
    const message = {
      byteLength: 100,
      stream: true,
      read: async () => ({
        parameters: {},
        binaryOutputs: true,
        inputs: [
          { name: "x", datatype: "FP32" as const, shape: [3, 2], parameters: {}, bytes: new Uint8Array(24) },
        ],
      }),
    };
    await clock.finish(
      handler(
        {
          method: "POST",
          path: "/v2/models/frames/infer",
          headers: {},
          body: emptyBody,
          message,
          peer: { address: "127.0.0.1", loopback: true },
        },
        housekeepingCall("left", abort.signal),
      ),
    );
    expect(told().filter(({ kind }) => kind === "server")).toEqual([]);
    abort.abort();
    await clock.finish(engine.drain());
    expect(told().filter(({ kind }) => kind === "server")).toMatchObject([{ name: "infer frames" }]);
    expect(await page()).toContain(
      'nv_inference_request_failure{model="frames",version="1",reason="CANCELED"} 1',
    );
  });
});

describe("the exporter", () => {
  const span: Span = {
    traceId: "a".repeat(32),
    spanId: "b".repeat(16),
    name: "run",
    kind: "internal",
    startMs: 1_700_000_000_000.25,
    endMs: 1_700_000_000_001,
    attributes: { ratio: 0.5, count: 3, ok: true, word: "x" },
    links: [{ traceId: "c".repeat(32), spanId: "d".repeat(16) }],
    failure: "run-failed",
  };

  function exporter(
    answer: (attempt: number) => number | Promise<number>,
    more: object = {},
    reply?: object,
  ) {
    const clock = manualClock();
    const bodies: { resourceSpans: { scopeSpans: { spans: object[] }[] }[] }[] = [];
    const outcomes: Record<string, number> = {};
    const transport: Transport = {
      progress: "none",
      async send({ body, path, headers }) {
        expect([path, headers["content-type"]]).toEqual(["/v1/traces", "application/json"]);
        bodies.push(JSON.parse(new TextDecoder().decode(await readBody(body, { maxBytes: 1e7 }))));
        const parts = reply ? [new TextEncoder().encode(JSON.stringify(reply))] : [];
        return { status: await answer(bodies.length), headers: {}, body: { kind: "parts", parts } };
      },
      close: async () => undefined,
    };
    const made = otlpExporter({
      transport,
      clock,
      counted: (outcome, spans) => {
        outcomes[outcome] = (outcomes[outcome] ?? 0) + spans;
      },
      ...more,
    });
    const sent = () => bodies.map((one) => one.resourceSpans[0]!.scopeSpans[0]!.spans.length);
    return { clock, made, bodies, sent, outcomes };
  }

  it("writes OTLP in JSON: hexadecimal ids, nanoseconds as text, kinds and states by number", () => {
    const json = JSON.parse(otlpTraces([span], { "service.name": "edge" })) as object;
    expect(json).toEqual({
      resourceSpans: [
        {
          resource: { attributes: [{ key: "service.name", value: { stringValue: "edge" } }] },
          scopeSpans: [
            {
              scope: { name: "longshore" },
              spans: [
                {
                  traceId: "a".repeat(32),
                  spanId: "b".repeat(16),
                  name: "run",
                  kind: 1,
                  startTimeUnixNano: "1700000000000250000",
                  endTimeUnixNano: "1700000000001000000",
                  attributes: [
                    { key: "ratio", value: { doubleValue: 0.5 } },
                    { key: "count", value: { intValue: "3" } },
                    { key: "ok", value: { boolValue: true } },
                    { key: "word", value: { stringValue: "x" } },
                  ],
                  links: [{ traceId: "c".repeat(32), spanId: "d".repeat(16) }],
                  status: { code: 2, message: "run-failed" },
                },
              ],
            },
          ],
        },
      ],
    });
  });

  it("sends in batches, and the waiting spans when it is closed", async () => {
    const { clock, made, sent, outcomes } = exporter(() => 200, { maxBatch: 4 });
    for (let index = 0; index < 6; index++) made.give(span);
    await clock.advance(1);
    expect(sent()).toEqual([4, 2]);
    made.give(span);
    await clock.advance(1999);
    expect(sent()).toEqual([4, 2]);
    await clock.finish(made.close());
    made.give(span);
    expect(sent()).toEqual([4, 2, 1]);
    expect(outcomes).toEqual({ exported: 7, dropped: 1 });
    expect(clock.armed()).toBe(0);
  });

  it("drops spans that find the queue full, and never waits", async () => {
    const { made, outcomes } = exporter(() => new Promise<number>(() => undefined), {
      maxQueued: 3,
      maxBatch: 2,
    });
    for (let index = 0; index < 10; index++) made.give(span);
    expect(outcomes).toEqual({ dropped: 5 });
  });

  it("tries again when the collector is busy, and gives up after three times or at once", async () => {
    const busy = exporter((attempt) => (attempt < 3 ? 503 : 200));
    busy.made.give(span);
    await busy.clock.advance(60_000);
    expect(busy.outcomes).toEqual({ exported: 1 });
    const down = exporter(() => Promise.reject(new Error("refused")));
    down.made.give(span);
    await down.clock.advance(60_000);
    expect([down.outcomes, down.sent()]).toEqual([{ failed: 1 }, [1, 1, 1]]);
    const refused = exporter(() => 400);
    refused.made.give(span);
    await refused.clock.advance(60_000);
    expect([refused.outcomes, refused.sent()]).toEqual([{ failed: 1 }, [1]]);
  });

  it("counts what a collector took and refused in one request", async () => {
    const { clock, made, outcomes } = exporter(() => 200, {}, { partialSuccess: { rejectedSpans: "2" } });
    for (let index = 0; index < 5; index++) made.give(span);
    await clock.advance(2000);
    expect(outcomes).toEqual({ exported: 3, failed: 2 });
  });
});

describe("logs and metrics for a collector", () => {
  /** A collector that takes all, with what it got by path. */
  function collector() {
    const clock = manualClock();
    const got: { readonly path: string; readonly body: Record<string, unknown> }[] = [];
    const outcomes: Record<string, number> = {};
    const transport: Transport = {
      progress: "none",
      async send({ body, path }) {
        const text = new TextDecoder().decode(await readBody(body, { maxBytes: 1e7 }));
        got.push({ path, body: JSON.parse(text) as Record<string, unknown> });
        return { status: 200, headers: {}, body: emptyBody };
      },
      close: async () => undefined,
    };
    const counted = (outcome: string, items: number): void => {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + items;
    };
    return { clock, got, outcomes, parts: { transport, clock, counted } };
  }

  it("sends log records with severity, span and fields, of the levels that are written", async () => {
    const { clock, got, outcomes, parts } = collector();
    const made = otlpLogExporter({ ...parts, resource: { "service.name": "edge" } });
    const log = createLog(
      clock,
      () => undefined,
      "info",
      (record) => made.give(record),
    );
    const trace = { traceId: "a".repeat(32), spanId: "b".repeat(16) };
    log.line("warning", "failure", { request: "r1", reason: "run-failed", message: "it broke", ...trace });
    log.line("verbose", "exchange", { request: "r1" });
    await clock.finish(made.close());
    const at = `${BigInt(clock.wallMs()) * 1_000_000n}`;
    expect(got).toEqual([
      {
        path: "/v1/logs",
        body: {
          resourceLogs: [
            {
              resource: { attributes: [{ key: "service.name", value: { stringValue: "edge" } }] },
              scopeLogs: [
                {
                  scope: { name: "longshore" },
                  logRecords: [
                    {
                      timeUnixNano: at,
                      observedTimeUnixNano: at,
                      severityNumber: 13,
                      severityText: "WARN",
                      eventName: "longshore.failure",
                      body: { stringValue: "it broke" },
                      attributes: [
                        { key: "longshore.request", value: { stringValue: "r1" } },
                        { key: "error.type", value: { stringValue: "run-failed" } },
                      ],
                      ...trace,
                      flags: 1,
                    },
                  ],
                },
              ],
            },
          ],
        },
      },
    ]);
    expect(outcomes).toEqual({ exported: 1 });
  });

  /** The metrics of all requests to a collector, by name. */
  function metricsOf(got: readonly { readonly body: Record<string, unknown> }[]) {
    interface Metric {
      readonly name: string;
      readonly unit: string;
      readonly sum?: { readonly dataPoints: Record<string, unknown>[]; readonly isMonotonic: boolean };
      readonly gauge?: { readonly dataPoints: Record<string, unknown>[] };
      readonly histogram?: { readonly dataPoints: Record<string, unknown>[] };
    }
    return got.map(({ body }) => {
      const metrics = body["resourceMetrics"] as readonly { scopeMetrics: { metrics: Metric[] }[] }[];
      return metrics.flatMap((one) => one.scopeMetrics[0]!.metrics);
    });
  }

  it("sends counters, gauges and histograms as they are, at each interval and at the end", async () => {
    const { clock, got, outcomes, parts } = collector();
    const replies = counter("longshore_replies_total", "Replies", ["status"]);
    const times = histogram("longshore_request_duration_seconds", "Time", ["model"], [0.1, 0.2]);
    const exemplar = { traceId: "c".repeat(32), value: 0.15, atSeconds: 3 };
    replies.add(["200"], 2);
    times.observe(["ocr"], 0.15, exemplar);
    times.observe(["ocr"], 0.5);
    const age = gauge("longshore_load_queue_seconds", "Wait", () => [[[], 1.5]]);
    const none = gauge("longshore_nothing", "No number", () => [[[], Number.NaN]]);
    const startMs = clock.wallMs();
    const made = otlpMetricExporter({ ...parts, read: () => [replies, times, age, none], intervalMs: 1000 });
    await clock.advance(999);
    expect(got).toEqual([]);
    await clock.advance(1);
    const nano = (ms: number): string => `${BigInt(ms) * 1_000_000n}`;
    const since = { startTimeUnixNano: nano(startMs), timeUnixNano: nano(startMs + 1000) };
    const label = (key: string, value: string): object => ({ key, value: { stringValue: value } });
    expect(got.map(({ path }) => path)).toEqual(["/v1/metrics"]);
    expect(metricsOf(got)).toEqual([
      [
        {
          name: "longshore_replies_total",
          description: "Replies",
          unit: "",
          sum: {
            aggregationTemporality: 2,
            isMonotonic: true,
            dataPoints: [{ attributes: [label("status", "200")], ...since, asDouble: 2 }],
          },
        },
        {
          name: "longshore_request_duration_seconds",
          description: "Time",
          unit: "s",
          histogram: {
            aggregationTemporality: 2,
            dataPoints: [
              {
                attributes: [label("model", "ocr")],
                ...since,
                count: "2",
                sum: 0.65,
                bucketCounts: ["0", "1", "1"],
                explicitBounds: [0.1, 0.2],
                exemplars: [{ timeUnixNano: nano(3000), asDouble: 0.15, traceId: "c".repeat(32) }],
              },
            ],
          },
        },
        {
          name: "longshore_load_queue_seconds",
          description: "Wait",
          unit: "s",
          gauge: { dataPoints: [{ attributes: [], timeUnixNano: nano(startMs + 1000), asDouble: 1.5 }] },
        },
      ],
    ]);
    expect(outcomes).toEqual({ exported: 3 });
    replies.add(["200"]);
    await clock.finish(made.close());
    expect(metricsOf(got)[1]![0]!.sum!.dataPoints[0]).toMatchObject({ asDouble: 3 });
    expect(clock.armed()).toBe(0);
    await clock.finish(made.close());
    expect(got.length).toBe(2);
  });

  it("splits thousands of series over several requests", async () => {
    const { clock, got, outcomes, parts } = collector();
    const many = counter("longshore_many_total", "Many", ["at"]);
    for (let at = 0; at < 1300; at++) many.add([String(at)]);
    const made = otlpMetricExporter({ ...parts, read: () => [many] });
    await clock.finish(made.close());
    const sizes = metricsOf(got).map(([one]) => one!.sum!.dataPoints.length);
    expect(sizes).toEqual([512, 512, 276]);
    expect(outcomes).toEqual({ exported: 1300 });
  });
});
