import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeDouble } from "../../test/models.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "./serve.ts";

interface Sent {
  readonly name: string;
  readonly traceId: string;
  readonly parentSpanId?: string;
}

let folder: string;
let collector: Server;
let address: string;
const spans: Sent[] = [];
const seen: Record<string, string | string[] | undefined>[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-telemetry-"));
  await writeDouble(folder);
  await writeFile(join(folder, "double", "model.yaml"), "responseCache: true\n");
  const port = (kind: string, name: string): string =>
    `${kind} { name: "${name}" data_type: TYPE_FP32 dims: [ 1, 4 ] }`;
  const step = (from: string, to: string): string =>
    `step { model_name: "double" model_version: -1 input_map { key: "x" value: "${from}" } output_map { key: "y" value: "${to}" } }`;
  await mkdir(join(folder, "fourfold", "1"), { recursive: true });
  await writeFile(
    join(folder, "fourfold", "config.pbtxt"),
    `platform: "ensemble" ${port("input", "x")} ${port("output", "y")}
     ensemble_scheduling { ${step("x", "middle")} ${step("middle", "y")} }`,
  );
  collector = createServer((request, response) => {
    let text = "";
    request
      .setEncoding("utf8")
      .on("data", (chunk: string) => (text += chunk))
      .on("end", () => {
        const body = JSON.parse(text) as {
          resourceSpans?: { scopeSpans: { spans: Sent[] }[] }[];
        };
        seen.push({ ...request.headers, path: request.url, text });
        spans.push(
          ...(body.resourceSpans ?? []).flatMap((one) => one.scopeSpans.flatMap((scope) => scope.spans)),
        );
        response.end("{}");
      });
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await new Promise((resolve) => collector.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

describe("a server with telemetry", () => {
  it("sends traces to the collector, the last of them when it closes, and keeps answers", async () => {
    const lines: string[] = [];
    const server = await serve({
      store: (await openModel(folder)).store,
      port: 0,
      telemetry: {
        otlp: address,
        otlpHeaders: { "x-key": "secret" },
        writeLog: (line) => lines.push(line),
      },
    });
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const ask = async (data: readonly number[]): Promise<Response> =>
      fetch(`${server.address}/v2/models/double/infer`, {
        method: "POST",
        headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01`, "longshore-account": "1" },
        body: JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data }] }),
      });
    const first = await ask([1, 2, 3, 4]);
    expect(first.headers.get("server-timing")).toMatch(
      /^(load;dur=[\d.]+, )?queue;dur=[\d.]+, run;dur=[\d.]+$/,
    );
    const second = await ask([1, 2, 3, 4]);
    expect(second.headers.get("server-timing")).toMatch(/^cache;dur=[\d.]+$/);
    expect(await second.json()).toMatchObject({ outputs: [{ data: [2, 4, 6, 8] }] });
    const metrics = await (await fetch(`${server.address}/metrics`)).text();
    expect(metrics).toContain('nv_cache_num_hits_per_model{model="double",version="1"} 1');
    expect(metrics).toMatch(/^nv_cpu_memory_total_bytes [1-9]/m);
    expect(metrics).toMatch(/^longshore_resident_memory_bytes [1-9]/m);
    await server.close(1000);
    const own = spans.filter((span) => span.traceId === traceId);
    expect(
      own.filter(({ parentSpanId }) => parentSpanId === "00f067aa0ba902b7").map(({ name }) => name),
    ).toEqual(["infer double", "infer double"]);
    expect(own.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["cache miss", "cache hit", "queue double", "run double", "batch double"]),
    );
    expect(seen[0]).toMatchObject({
      path: "/v1/traces",
      "x-key": "secret",
      "content-type": "application/json",
    });
    expect(lines.map((line) => (JSON.parse(line) as { readonly event: string }).event)).not.toContain(
      "failure",
    );
  });

  it("sends metrics and logs where they are wanted, beside the collector's own path, and no traces", async () => {
    seen.length = 0;
    const server = await serve({
      store: (await openModel(folder)).store,
      port: 0,
      telemetry: { otlp: `${address}/tenant/v1/traces`, otlpSignals: ["metrics", "logs"] },
    });
    const reply = await fetch(`${server.address}/v2/models/double/infer`, { method: "POST", body: "{" });
    expect(reply.status).toBe(400);
    await server.close(1000);
    const paths = new Set(seen.map(({ path }) => path));
    expect(paths).toEqual(new Set(["/tenant/v1/metrics", "/tenant/v1/logs"]));
    const text = (path: string): string =>
      seen.flatMap((one) => (one["path"] === path ? [one["text"]] : [])).join();
    expect(text("/tenant/v1/metrics")).toContain('"longshore_replies_total"');
    expect(text("/tenant/v1/metrics")).toContain('"longshore_failures_total"');
    expect(text("/tenant/v1/logs")).toContain('"eventName":"longshore.failure"');
  });

  it("answers the steps of an ensemble from memory, with the answers of requests to the model itself", async () => {
    const server = await serve({ store: (await openModel(folder)).store, port: 0 });
    const ask = async (model: string, data: readonly number[]) => {
      const reply = await fetch(`${server.address}/v2/models/${model}/infer`, {
        method: "POST",
        headers: { "longshore-account": "timing" },
        body: JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data }] }),
      });
      const { outputs } = (await reply.json()) as { outputs: { data: number[] }[] };
      return { data: outputs[0]?.data, timing: reply.headers.get("server-timing") };
    };
    await ask("double", [1, 2, 3, 4]);
    const first = await ask("fourfold", [1, 2, 3, 4]);
    expect(first.data).toEqual([4, 8, 12, 16]);
    expect(first.timing).toMatch(/cache;dur=[\d.]+, queue;dur=[\d.]+, run;dur=[\d.]+$/);
    const second = await ask("fourfold", [1, 2, 3, 4]);
    expect(second.data).toEqual([4, 8, 12, 16]);
    expect(second.timing).toMatch(/^cache;dur=[\d.]+(, cache;dur=[\d.]+)?$/);
    const metrics = await (await fetch(`${server.address}/metrics`)).text();
    for (const line of [
      'nv_cache_num_hits_per_model{model="double",version="1"} 3',
      'nv_cache_num_misses_per_model{model="double",version="1"} 2',
      'nv_inference_count{model="double",version="1"} 2',
      'nv_inference_request_success{model="double",version="1"} 5',
      'nv_inference_count{model="fourfold",version="1"} 2',
      'nv_inference_exec_count{model="fourfold",version="1"} 2',
    ])
      expect(metrics.split("\n")).toContain(line);
    await server.close(1000);
  });

  it("refuses a collector's address that is none", async () => {
    const { store } = await openModel(folder);
    for (const otlp of ["collector", "ftp://127.0.0.1", "http://me:secret@127.0.0.1"]) {
      await expect(serve({ store, port: 0, telemetry: { otlp } })).rejects.toMatchObject({
        reason: "invalid-configuration",
      });
    }
    const telemetry = { otlp: `${address}/other`, otlpSignals: ["traces", "metrics"] } as const;
    await expect(serve({ store, port: 0, telemetry })).rejects.toThrow(
      "the collector's path /other does not end in /v1/traces",
    );
  });
});
