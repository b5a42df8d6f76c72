import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { type ClientHttp2Session, connect } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { writeModels } from "@longshore/testkit";
import { fakeApiServer, kubeconfigOf, testPaths, testPod, testPool } from "@longshore/testkit/kubernetes-api";
import { runCommand } from "../command/run-command.ts";
import { openModel } from "../engine/open-model.ts";
import { type RunningServer, serve } from "../compose/serve.ts";

let folder: string;
const open: { close(graceMs?: number): unknown }[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-pick-"));
  await writeModels(folder);
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function server(): Promise<RunningServer> {
  const running = await serve({ store: (await openModel(folder)).store, port: 0 });
  open.push(running);
  return running;
}

/** Runs the command until it ends, or until it has printed a line. */
async function command(...args: readonly string[]) {
  const stop = new AbortController();
  const lines: string[] = [];
  const notes: string[] = [];
  let first = (): void => undefined;
  const printed = new Promise<void>((resolve) => (first = resolve));
  const done = runCommand(["pick", ...args], {
    out: (text) => {
      lines.push(text);
      first();
    },
    note: (text) => void notes.push(text),
    progress: () => undefined,
    environment: {},
    stop: stop.signal,
  });
  await Promise.race([printed, done]);
  const end = async (): Promise<number> => {
    stop.abort();
    return done;
  };
  open.push({ close: end });
  return { lines, notes, done, end };
}

const text = (value: string): Buffer => Buffer.from(value);

/** A field of bytes in Protocol Buffers, by hand: nothing of the code under test writes it. */
function field(number: number, bytes: Buffer): Buffer {
  const { length } = bytes;
  const size = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...size]), bytes]);
}

function requestHeaders(headers: Readonly<Record<string, string>>): Buffer {
  const map = Object.entries(headers).map(([key, value]) =>
    field(1, Buffer.concat([field(1, text(key)), field(3, text(value))])),
  );
  return field(2, field(1, Buffer.concat(map)));
}

/** One message to a method, and the first that comes back. */
async function ask(session: ClientHttp2Session, path: string, message: Buffer): Promise<Buffer> {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.byteLength, 1);
  stream.write(Buffer.concat([prefix, message]));
  const [chunk] = (await once(stream, "data")) as [Buffer];
  stream.end();
  stream.resume();
  await once(stream, "close");
  return chunk.subarray(5);
}

const process = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const health = "/grpc.health.v1.Health/Check";

it("picks over TLS with a self-signed certificate, and is known to health checks by their names", async () => {
  const { address } = await server();
  const picking = await command("--at", address, "--port", "0", "--tls", "self-signed", "--json", "--data-class", "internal"); // prettier-ignore
  const { listening, tls, models } = JSON.parse(picking.lines[0] ?? "") as Record<string, unknown>;
  expect(tls).toBe(true);
  expect(models).toBeGreaterThan(0);
  const session = connect(`https://${String(listening)}`, { rejectUnauthorized: false });
  open.push({ close: () => session.destroy() });
  // On a busy machine the server's description may come after the first questions.
  const answers = (path: string, message: Buffer, ...words: readonly string[]): Promise<void> =>
    vi.waitFor(async () => {
      const answer = (await ask(session, path, message)).toString();
      for (const word of words) expect(answer).toContain(word);
    }, 60_000);
  // The status SERVING.
  const serving = Buffer.from([8, 1]);
  for (const name of ["", "liveness", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor"]) {
    const question = field(1, text(name));
    await vi.waitFor(async () => expect(await ask(session, health, question)).toEqual(serving), 60_000);
  }
  const headers = { ":method": "POST", ":path": "/v2/models/simple/infer", "content-length": "100" };
  const routed = [`x-gateway-destination-endpoint\u001a`, address.replace("http://", "")];
  await answers(process, requestHeaders(headers), ...routed);
  const unknown = requestHeaders({ ...headers, ":path": "/v2/models/no/infer" });
  await answers(process, unknown, '"reason":"unknown-model"');
  const restricted = requestHeaders({ ...headers, "longshore-rules": "class=restricted;trust=none" });
  await answers(process, restricted, "policy-denied");
  session.close();
  expect(await picking.end()).toBe(0);
});

it("counts decisions by reason and endpoint on its metrics port", async () => {
  const { address } = await server();
  const picking = await command("--at", address, "--port", "0", "--metrics-port", "0", "--json", "--data-class", "internal"); // prettier-ignore
  const { listening, metrics } = JSON.parse(picking.lines[0] ?? "") as Record<string, string>;
  const session = connect(`http://${listening}`);
  open.push({ close: () => session.destroy() });
  const headers = { ":method": "POST", ":path": "/v2/models/simple/infer" };
  await ask(session, process, requestHeaders(headers));
  await ask(session, process, requestHeaders({ ...headers, ":path": "/v2/models/no/infer" }));
  const page = async (path: string) => fetch(`${metrics}${path}`);
  const text = await (await page("/metrics")).text();
  const { host } = new URL(address);
  for (const line of [
    'longshore_pick_decisions_total{decision="routed",reason=""} 1',
    'longshore_pick_decisions_total{decision="refused",reason="unknown-model"} 1',
    `longshore_pick_requests_total{endpoint="${host}",outcome="dropped"} 1`,
    'longshore_pick_endpoints{state="available"} 1',
    "longshore_pick_in_flight 0",
    "longshore_pick_decision_seconds_count 2",
    'longshore_demand_requests_total{model="simple"} 1',
  ])
    expect(text).toContain(line);
  expect((await page("/v2/health/ready")).status).toBe(200);
  expect((await page("/v2/models/simple")).status).toBe(404);
  session.close();
  expect(await picking.end()).toBe(0);
});

it("is not ready before the models of each server are known", async () => {
  const { address } = await server();
  const held: ServerResponse[] = [];
  const slow = createServer((_request, response) => void held.push(response)).listen(0, "127.0.0.1");
  await once(slow, "listening");
  const release = (): void => slow.closeAllConnections();
  open.push({
    close: () => {
      release();
      slow.close();
    },
  });
  const { port } = slow.address() as AddressInfo;
  const at = ["--at", address, "--at", `http://127.0.0.1:${port}`];
  const picking = await command(...at, "--port", "0", "--metrics-port", "0", "--json");
  const { metrics } = JSON.parse(picking.lines[0] ?? "") as Record<string, string>;
  const ready = () => fetch(`${metrics}/v2/health/ready`);
  const early = await ready();
  expect([early.status, await early.text()]).toEqual([503, expect.stringContaining("not known yet")]);
  expect(held.length).toBeGreaterThan(0);
  await vi.waitFor(async () => {
    release();
    expect((await ready()).status).toBe(200);
  }, 60_000);
  expect(await picking.end()).toBe(0);
});

it("prints a configuration of Envoy with the servers of --at and of a directory", async () => {
  const directory = join(folder, "endpoints.json");
  const entry = { id: "c", address: "http://10.0.0.3:8000", tier: "edge", zone: "eu", trust: "listed" };
  await writeFile(directory, JSON.stringify({ schemaVersion: 1, entries: [entry] }));
  const printing = ["--at", "http://10.0.0.2:80", "--directory", directory, "--print-envoy"];
  const printed = await command(...printing, "--host", "10.0.0.9", "--fail-open", "--envoy-port", "8080");
  expect(await printed.done).toBe(0);
  const [yaml = ""] = printed.lines;
  for (const part of ["10.0.0.2", "10.0.0.3", "10.0.0.9", "port_value: 8080", "failure_mode_allow: true"])
    expect(yaml).toContain(part);
  // Reachable from outside, so encrypted.
  expect(yaml).toContain("UpstreamTlsContext");
  const spilling = await command(
    ...printing,
    "--spill",
    "https://cloud.example:9000,zone=us",
    "--at-grpc",
    ":81",
  );
  for (const part of [
    "priority: 1",
    "cloud.example",
    "auto_host_sni: true",
    "endpoints-grpc",
    "port_value: 81",
  ])
    expect(spilling.lines[0]).toContain(part);
  const followed = await command(...printing, "--spill", `directory:${directory}`);
  expect(followed.lines[0]).toContain("eds_cluster_config");
  const two = await command(...printing, "--picker", "10.0.0.4:9002", "--picker", "[::1]:9003");
  expect(two.lines[0]).toContain('address: "::1"');
  // Each picker reads its own log of replies, where no name may stand for several.
  for (const log of ["picker-1", "picker-2"]) expect(two.lines[0]).toContain(`cluster_name: "${log}"`);
  const byName = await command(...printing, "--picker", "pickers.example:9002");
  expect(yaml).toContain("http_grpc");
  expect(byName.lines[0]).not.toContain("http_grpc");
  // A limit counts requests exactly.
  expect((await command(...printing, "--most-in-flight", "4")).lines[0]).not.toContain("http_grpc");
  expect(two.lines[0]).not.toContain("failure_mode_allow");
});

it("refuses nonsensical options, with the problem", async () => {
  const at = ["--at", "http://10.0.0.2:80"];
  for (const [args, why] of [
    [[], "a picker needs servers to choose from"],
    [[...at, "--tls-cert", "a.pem"], "--tls-cert and --tls-key go together"],
    [[...at, "--tls", "none", "--tls-cert", "a.pem", "--tls-key", "b.pem"], "exclude each other"],
    [[...at, "--print-envoy", "--picker", "somewhere"], "--picker wants host:port"],
    [[...at, "--at-grpc", "8001"], "--at-grpc wants a port"],
    [[...at, "--spill", "cloud"], "--spill wants an address"],
    [[...at, "--spill", "http://10.0.0.9,colour=red"], "'colour=red' is not known here"],
    [[...at, "--spill", "http://10.0.0.9,zone=a,zone=b"], "--spill states zone twice"],
    [[...at, "--spill", "http://10.0.0.9,trust=attested"], "trust is listed, operated, vouched"],
    [[...at, "--spill", "http://10.0.0.9,per-second=much"], "per-second is 'much'"],
    [[...at, "--spill", "http://10.0.0.9,key=/no/key"], "the key of --spill"],
    [[...at, "--spill", "pool:shop/ocr,per-second=much"], "per-second is 'much'"],
    [[...at, "--spill", "directory:a.yaml,per-second=1"], "it takes nothing else"],
    [[...at, "--spill", "directory:a.yaml,zone=a"], "it takes nothing else"],
    [[...at, "--spill", "http://10.0.0.2:80"], "--spill and --at both name 10.0.0.2:80"],
    [[...at, "--most-in-flight", "0"], "--most-in-flight wants"],
    [[...at, "--tls-cert", "/no/a.pem", "--tls-key", "/no/b.pem"], "the certificate"],
  ] as const) {
    const { done, notes } = await command(...args);
    expect(await done).toBe(2);
    expect(notes.join("\n")).toContain(why);
  }
});

it("picks among the pods of an InferencePool as they come and go, and says why there is none", async () => {
  const running = await server();
  const api = await fakeApiServer();
  open.push(api);
  const kubeconfig = join(folder, "kubeconfig");
  await writeFile(kubeconfig, kubeconfigOf(api.url));
  vi.stubEnv("KUBECONFIG", kubeconfig);
  const port = Number(new URL(running.address).port);
  api.put(testPaths.pools, testPool("ocr", { app: "ocr" }, [port]));
  const args = ["--pool", "shop/ocr", "--port", "0", "--json", "--data-class", "internal"];
  const picking = await command(...args, "--at-zone", "eu");
  const { listening, models } = JSON.parse(picking.lines[0] ?? "") as Record<string, unknown>;
  expect(models).toBe(0);
  expect(picking.notes.join()).toContain("selects no pod: none has the labels app=ocr");
  const session = connect(`http://${String(listening)}`);
  open.push({ close: () => session.destroy() });
  const pickBy = async (by: typeof session, headers: Readonly<Record<string, string>>) =>
    (
      await ask(
        by,
        process,
        requestHeaders({ ":method": "POST", ":path": "/v2/models/simple/infer", ...headers }),
      )
    ).toString();
  const pick = (zone: string) =>
    pickBy(session, { "longshore-rules": `class=internal;trust=none;zones=${zone}` });
  expect(await pick("eu")).toContain('"reason":"no-endpoint"');
  api.put(testPaths.pods, testPod("a", "127.0.0.1"));
  const destination = "x-gateway-destination-endpoint\u001a";
  await vi.waitFor(async () => expect(await pick("eu")).toContain(destination), 60_000);
  // The pod's zone is that which contains all of them.
  expect(await pick("us")).toContain("policy-denied");
  // A pod without a price is within no limit on cost.
  expect(await pickBy(session, { "longshore-max-cost": "1000000" })).toContain("its price is not known");
  const priced = await command(...args, "--at-price", "per-request=5");
  const { listening: other } = JSON.parse(priced.lines[0] ?? "") as Record<string, unknown>;
  const pricedSession = connect(`http://${String(other)}`);
  open.push({ close: () => pricedSession.destroy() });
  expect(await pickBy(pricedSession, { "longshore-max-cost": "10" })).toContain(destination);
  expect(await pickBy(pricedSession, { "longshore-max-cost": "4" })).toContain(
    "it could cost more than 4 micros",
  );
  pricedSession.close();
  expect(await priced.end()).toBe(0);
  api.put(testPaths.pods, testPod("a", "127.0.0.1", { ready: false }));
  await vi.waitFor(async () => expect(await pick("eu")).not.toContain(destination), 60_000);
  await vi.waitFor(() => expect(picking.notes.join()).toContain("none of the 1 pods"), 60_000);
  session.close();
  expect(await picking.end()).toBe(0);
  const { done, notes } = await command("--pool", "shop");
  expect(await done).toBe(2);
  expect(notes.join()).toContain("--pool wants NAMESPACE/NAME");
  vi.unstubAllEnvs();
});
