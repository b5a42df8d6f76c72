import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:http2";
import { join } from "node:path";
import { collector } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import { freePort, type RunningPeer, startGateway, startOwn, startServerProcess } from "../servers/index.ts";
import { inFolder, type Open, type Part, type PartContext, reportCheck } from "./part.ts";

const model = "simple";
const data = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data })),
});
const requests = 12;

type Value = string | number | boolean;
type Attributes = Readonly<Record<string, Value>>;

interface AttributeJson {
  readonly key: string;
  readonly value: Readonly<Record<string, string | number | boolean>>;
}

interface SpanJson {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes?: readonly AttributeJson[];
}

interface PointJson {
  readonly attributes?: readonly AttributeJson[];
  readonly asDouble?: number;
  readonly count?: string;
  readonly bucketCounts?: readonly string[];
}

interface MetricJson {
  readonly name: string;
  readonly unit?: string;
  readonly sum?: { readonly dataPoints?: readonly PointJson[]; readonly isMonotonic?: boolean };
  readonly gauge?: { readonly dataPoints?: readonly PointJson[] };
  readonly histogram?: { readonly dataPoints?: readonly PointJson[] };
}

interface RecordJson {
  readonly severityText?: string;
  readonly eventName?: string;
  readonly body?: { readonly stringValue?: string };
  readonly traceId?: string;
  readonly spanId?: string;
  readonly attributes?: readonly AttributeJson[];
}

type OfSource<T> = T & { readonly source: Attributes; readonly own: Attributes };

function attributesOf(all: readonly AttributeJson[] = []): Attributes {
  return Object.fromEntries(
    all.map(({ key, value }) => {
      const [kind, one] = Object.entries(value)[0] ?? ["stringValue", ""];
      return [key, kind === "intValue" ? Number(one) : one];
    }),
  );
}

function expectThat(holds: boolean, told: string): void {
  if (!holds) throw new Error(told);
}

/** Throws for the first attribute that is another. */
function expectAttributes(what: string, found: Attributes, wanted: Attributes): void {
  for (const [key, value] of Object.entries(wanted)) {
    expectThat(found[key] === value, `${what}: ${key} is ${String(found[key])}, not ${String(value)}`);
  }
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  let last: unknown;
  for (let round = 0; round < 480; round++) {
    const found = await look().catch((thrown: unknown) => void (last = thrown));
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error(`${what}: not within two minutes${last instanceof Error ? `: ${last.message}` : ""}`);
}

/** The Collector, and what it has written so far. */
class RunningCollector {
  readonly #folder: string;
  readonly #ownMetrics: string;
  readonly #process: { close(): Promise<void>; output(): string };
  readonly address: string;

  private constructor(
    folder: string,
    process: { close(): Promise<void>; output(): string },
    address: string,
    ownMetrics: string,
  ) {
    this.#folder = folder;
    this.#process = process;
    this.address = address;
    this.#ownMetrics = ownMetrics;
  }

  static async start(program: string, folder: string): Promise<RunningCollector> {
    const [port, own] = [await freePort(), await freePort()];
    const file = join(folder, "collector.yaml");
    const signals = ["traces", "metrics", "logs"];
    const lines = [
      "receivers: { otlp: { protocols: { http: { endpoint: '127.0.0.1:" + port + "' } } } }",
      "exporters:",
      ...signals.map(
        (one) => `  file/${one}: { path: '${join(folder, `${one}.jsonl`)}', flush_interval: 200ms }`,
      ),
      "service:",
      `  telemetry: { metrics: { readers: [{ pull: { exporter: { prometheus: { host: 127.0.0.1, port: ${own} } } } }] } }`,
      "  pipelines:",
      ...signals.map((one) => `    ${one}: { receivers: [otlp], exporters: [file/${one}] }`),
    ];
    await writeFile(file, `${lines.join("\n")}\n`);
    const metrics = `http://127.0.0.1:${own}/metrics`;
    const process = await startServerProcess({
      command: program,
      args: ["--config", file],
      readyUrl: metrics,
    });
    return new RunningCollector(folder, process, `http://127.0.0.1:${port}`, metrics);
  }

  async #written<T>(signal: string): Promise<readonly T[]> {
    const text = await readFile(join(this.#folder, `${signal}.jsonl`), "utf8");
    // Its last line may still be on its way.
    return text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as T);
  }

  async spans(): Promise<readonly OfSource<SpanJson>[]> {
    const all = await this.#written<{
      readonly resourceSpans: readonly {
        readonly resource: { readonly attributes: readonly AttributeJson[] };
        readonly scopeSpans: readonly { readonly spans: readonly SpanJson[] }[];
      }[];
    }>("traces");
    return all.flatMap(({ resourceSpans }) =>
      resourceSpans.flatMap(({ resource, scopeSpans }) =>
        scopeSpans.flatMap(({ spans }) =>
          spans.map((one) => ({
            ...one,
            source: attributesOf(resource.attributes),
            own: attributesOf(one.attributes),
          })),
        ),
      ),
    );
  }

  async records(): Promise<readonly OfSource<RecordJson>[]> {
    const all = await this.#written<{
      readonly resourceLogs: readonly {
        readonly resource: { readonly attributes: readonly AttributeJson[] };
        readonly scopeLogs: readonly { readonly logRecords: readonly RecordJson[] }[];
      }[];
    }>("logs");
    return all.flatMap(({ resourceLogs }) =>
      resourceLogs.flatMap(({ resource, scopeLogs }) =>
        scopeLogs.flatMap(({ logRecords }) =>
          logRecords.map((one) => ({
            ...one,
            source: attributesOf(resource.attributes),
            own: attributesOf(one.attributes),
          })),
        ),
      ),
    );
  }

  /** The last value of a metric of one source, with these labels: a sum's or a gauge's value, or the count of a histogram. */
  async value(source: string, name: string, labels: Attributes): Promise<number | undefined> {
    const all = await this.#written<{
      readonly resourceMetrics: readonly {
        readonly resource: { readonly attributes: readonly AttributeJson[] };
        readonly scopeMetrics: readonly { readonly metrics: readonly MetricJson[] }[];
      }[];
    }>("metrics");
    let last: number | undefined;
    for (const { resource, scopeMetrics } of all.flatMap(({ resourceMetrics }) => resourceMetrics)) {
      if (attributesOf(resource.attributes)["service.instance.id"] !== source) continue;
      for (const one of scopeMetrics.flatMap(({ metrics }) => metrics)) {
        if (one.name !== name) continue;
        const points = (one.sum ?? one.gauge ?? one.histogram)?.dataPoints ?? [];
        for (const { attributes, asDouble, count, bucketCounts } of points) {
          const found = attributesOf(attributes);
          if (!Object.entries(labels).every(([key, value]) => found[key] === value)) continue;
          const inBuckets = bucketCounts?.reduce((sum, bucket) => sum + Number(bucket), 0);
          expectThat(
            inBuckets === undefined || inBuckets === Number(count),
            `${name}: buckets disagree with count`,
          );
          last = asDouble ?? Number(count);
        }
      }
    }
    return last;
  }

  /** Sums of the Collector's own counters whose names begin so. */
  async counted(prefix: string): Promise<number> {
    const page = await (await fetch(this.#ownMetrics)).text();
    const lines = page.split("\n").filter((line) => line.startsWith(prefix));
    return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }

  close(): Promise<void> {
    return this.#process.close();
  }
}

/** Sends an inference, or what is not one, inside a trace. */
async function ask(http: string, path: string, text: string, traceparent?: string): Promise<number> {
  const headers = traceparent === undefined ? {} : { traceparent };
  const reply = await fetch(`http://${http}${path}`, { method: "POST", headers, body: text });
  await reply.arrayBuffer();
  return reply.status;
}

/** `ServerLive` of the Open Inference Protocol over gRPC: an empty message. */
async function askRpc(grpc: string, traceparent: string): Promise<void> {
  const session = connect(`http://${grpc}`);
  const stream = session.request({
    ":method": "POST",
    ":path": "/inference.GRPCInferenceService/ServerLive",
    "content-type": "application/grpc",
    te: "trailers",
    traceparent,
  });
  stream.end(Buffer.alloc(5));
  stream.resume();
  const [trailers] = (await once(stream, "trailers")) as [Readonly<Record<string, string>>];
  session.close();
  expectThat(Number(trailers["grpc-status"]) === 0, `gRPC status ${trailers["grpc-status"]}`);
}

/** A server and a gateway that tell the Collector everything. */
interface Fleet {
  readonly collector: RunningCollector;
  readonly server: RunningPeer;
  readonly gateway: RunningPeer;
}

const trace = (): { readonly id: string; readonly parent: string; readonly header: string } => {
  const [id, parent] = [randomBytes(16).toString("hex"), randomBytes(8).toString("hex")];
  return { id, parent, header: `00-${id}-${parent}-01` };
};

const checks: Readonly<Record<string, (fleet: Fleet) => Promise<string>>> = {
  "a trace goes from the sender through gateway and server": async ({ collector, gateway, server }) => {
    const { id, parent, header } = trace();
    expectThat(
      (await ask(gateway.http, `/v2/models/${model}/infer`, body, header)) === 200,
      "the gateway answers",
    );
    const spans = await until("the spans of both", async () => {
      const found = (await collector.spans()).filter(({ traceId }) => traceId === id);
      const roots = found.filter(({ kind }) => kind === 2);
      return roots.length === 2 && found.some(({ kind }) => kind === 3) ? found : undefined;
    });
    const at = (kind: number, source: string): OfSource<SpanJson> => {
      const one = spans.find(
        (span) =>
          span.kind === kind &&
          span.source["service.instance.id"] === source &&
          span.name === `infer ${model}`,
      );
      if (one === undefined) throw new Error(`no span of kind ${kind} of ${source}`);
      return one;
    };
    const outer = at(2, "gate");
    const sent = at(3, "gate");
    const inner = at(2, "edge");
    expectThat(outer.parentSpanId === parent, "the gateway's span lies in the sender's");
    expectThat(sent.parentSpanId === outer.spanId, "the gateway's request lies in its own span");
    expectThat(inner.parentSpanId === sent.spanId, "the server's span lies in the gateway's request");
    const run = spans.find(({ name }) => name === `run ${model}`);
    expectThat(run?.parentSpanId === inner.spanId, "the run lies in the server's span");
    for (const { source } of spans) {
      const id = source["service.instance.id"];
      expectAttributes("resource", source, {
        "service.name": id === "gate" ? "gateway" : "server",
        "deployment.environment.name": "conformance",
        "longshore.tier": id === "gate" ? "edge" : "cloud",
      });
    }
    for (const [span, { http }] of [
      [outer, gateway],
      [inner, server],
    ] as const) {
      const [address = "", port = ""] = http.split(":");
      expectAttributes(span.name, span.own, {
        "http.request.method": "POST",
        "url.scheme": "http",
        "server.address": address,
        "server.port": Number(port),
        "http.response.status_code": 200,
        "longshore.model": model,
        "longshore.route": "infer",
      });
      // A gateway asks for the version that it has chosen.
      expectThat(
        /^\/v2\/models\/\{model\}.*\/infer$/.test(String(span.own["http.route"])),
        "the route has no names",
      );
    }
    expectAttributes("the gateway's request", sent.own, { "longshore.model": model });
    return `${spans.length} spans, the sender's parent kept`;
  },
  "requests over gRPC and for text have their own conventions": async ({ collector, server }) => {
    const [rpc, text] = [trace(), trace()];
    await askRpc(server.grpc ?? "", rpc.header);
    const status = await ask(server.http, `/v2/models/${model}/generate`, "{}", text.header);
    expectThat(status === 400, `a model without text output: ${status}`);
    const spanOf = (id: string): Promise<OfSource<SpanJson>> =>
      until("the span", async () =>
        (await collector.spans()).find(({ traceId, kind }) => traceId === id && kind === 2),
      );
    expectAttributes("ServerLive", (await spanOf(rpc.id)).own, {
      "rpc.system.name": "grpc",
      "rpc.method": "inference.GRPCInferenceService/ServerLive",
      "rpc.response.status_code": "OK",
    });
    expectAttributes("generate", (await spanOf(text.id)).own, {
      "gen_ai.operation.name": "text_completion",
      "gen_ai.provider.name": "longshore",
      "http.response.status_code": 400,
      "error.type": "invalid-input",
    });
    return "rpc.* and gen_ai.*";
  },
  "a failure is a log record in the trace of its request": async ({ collector, server }) => {
    const { id, header } = trace();
    expectThat(
      (await ask(server.http, `/v2/models/${model}/infer`, "{", header)) === 400,
      "no JSON is refused",
    );
    const record = await until("the record", async () =>
      (await collector.records()).find(({ traceId }) => traceId === id),
    );
    expectThat(record.eventName === "longshore.failure", `its event is ${record.eventName}`);
    expectThat(record.severityText === "INFO", `its severity is ${record.severityText}`);
    expectThat((record.body?.stringValue ?? "") !== "", "it has a message");
    expectAttributes("record", record.own, { "error.type": "invalid-input", "longshore.stage": "decode" });
    expectAttributes("its resource", record.source, { "service.name": "server" });
    const span = await until("its span", async () =>
      (await collector.spans()).find(({ spanId }) => spanId === record.spanId),
    );
    expectThat(span.traceId === id && span.kind === 2, "its span is the server's");
    return record.body?.stringValue ?? "";
  },
  "metrics have the values of the server's own page": async ({ collector, server }) => {
    for (let at = 0; at < requests; at++) {
      expectThat((await ask(server.http, `/v2/models/${model}/infer`, body)) === 200, "the server answers");
    }
    const page = await (await fetch(`http://${server.http}/metrics`)).text();
    const onPage = (name: string, labels: string): number => {
      const line = page.split("\n").find((one) => one.startsWith(`${name}{${labels}} `));
      return Number(line?.split(" ").at(-1));
    };
    const answered = { model, version: "1", outcome: "answered" };
    const ofModel = { model, version: "1" };
    const labels = `model="${model}",version="1"`;
    const wanted: readonly (readonly [string, Attributes, number])[] = [
      [
        "longshore_request_duration_seconds",
        answered,
        onPage("longshore_request_duration_seconds_count", `${labels},outcome="answered"`),
      ],
      ["nv_inference_request_success", ofModel, onPage("nv_inference_request_success", labels)],
      ["longshore_replies_total", { status: "400" }, onPage("longshore_replies_total", 'status="400"')],
    ];
    for (const [name, its, value] of wanted) {
      expectThat(value > 0, `${name} stands on the page`);
      await until(`${name} of ${value}`, async () => {
        const found = await collector.value("edge", name, its);
        if (found !== value) throw new Error(`it is ${found}`);
        return true;
      });
    }
    expectThat((wanted[0]?.[2] ?? 0) >= requests, "all requests are counted");
    return wanted.map(([name, , value]) => `${name} ${value}`).join(", ");
  },
  "the Collector refused nothing": async ({ collector }) => {
    const accepted = await collector.counted("otelcol_receiver_accepted_");
    expectThat(accepted > 0, "it counts what it accepted");
    for (const prefix of ["otelcol_receiver_refused_", "otelcol_receiver_failed_"]) {
      const count = await collector.counted(prefix);
      expectThat(count === 0, `${prefix}*: ${count}`);
    }
    return `${accepted} spans, points and records accepted`;
  },
  "requests are answered while the Collector is gone": async ({ collector, server }) => {
    await collector.close();
    for (let at = 0; at < requests; at++) {
      expectThat((await ask(server.http, `/v2/models/${model}/infer`, body)) === 200, "the server answers");
    }
    return until("lost spans in the server's metrics", async () => {
      const page = await (await fetch(`http://${server.http}/metrics`)).text();
      return /^longshore_trace_spans_total\{outcome="failed"\} [1-9]\d*$/m.exec(page)?.[0];
    });
  },
};

async function start(program: string, folder: string, open: Open[]): Promise<Fleet> {
  const running = await RunningCollector.start(program, folder);
  open.push(running);
  const repository = join(folder, "models");
  await writeRepository(repository);
  const args = (id: string, tier: string): readonly string[] => [
    "--id",
    id,
    "--tier",
    tier,
    "--otlp",
    running.address,
    "--otlp-signals",
    "traces,metrics,logs",
    "--otlp-interval",
    "1",
    "--log-level",
    "info",
  ];
  const env = (name: string): Readonly<Record<string, string>> => ({
    OTEL_SERVICE_NAME: name,
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=conformance",
  });
  const server = await startOwn({ repository, args: args("edge", "cloud"), env: env("server") });
  open.push(server);
  const servers = [server.http];
  const gateway = await startGateway({ servers, args: args("gate", "edge"), env: env("gateway") });
  open.push(gateway);
  return { collector: running, server, gateway };
}

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const fleet = await start(await collector(), folder, open);
  for (const [name, work] of Object.entries(checks)) {
    await reportCheck(context, name, () => work(fleet));
  }
}

/** Traces, metrics and logs of a server and a gateway, as the OpenTelemetry Collector writes them to files. */
export const otelPart: Part = {
  name: "otel",
  dear: true,
  run: (context) => inFolder("otel", (folder, open) => check(context, folder, open)),
};
