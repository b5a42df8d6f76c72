import { getEventListeners, once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Agent, get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentObserver } from "@longshore/core";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { manualClock, writeModels } from "@longshore/testkit";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { runCommand } from "../command/run-command.ts";
import { openDirectory } from "../connect/directory.ts";
import { gateway } from "../compose/forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "../compose/serve.ts";
import { demandReader } from "./demand.ts";
import { createNumbers } from "./numbers.ts";
import { createSources } from "./sources.ts";

let folder: string;
const open: { close(graceMs?: number): unknown }[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-scale-"));
  await writeModels(folder);
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs the command until it ends, or until it has printed where it listens. */
async function command(...args: readonly string[]) {
  const stop = new AbortController();
  const lines: string[] = [];
  const notes: string[] = [];
  let first = (): void => undefined;
  const printed = new Promise<void>((resolve) => (first = resolve));
  const done = runCommand(["scale", ...args], {
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
  open.push({
    async close() {
      stop.abort();
      await done;
    },
  });
  return { lines, notes, done, stop: stop.signal };
}

/** A JSON body over TLS with a certificate that signs itself. */
function read(url: string): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    get(url, { agent: new Agent({ rejectUnauthorized: false }) }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Record<string, unknown> }),
      );
    }).on("error", reject);
  });
}

const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({
    name,
    datatype: "INT32",
    shape: [1, 16],
    data: Array.from({ length: 16 }, (_none, at) => at),
  })),
});
const infer = (address: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${address}/v2/models/simple/infer`, { method: "POST", body, headers });

it("counts a request that waits for its first server, which is answered when the server has joined", async () => {
  const gate = await gateway({ servers: [], joins: { admits: { zone: "local", trust: "listed" } }, port: 0, dataClass: "internal", holdMs: 60_000 }); // prettier-ignore
  open.push(gate);
  const args = ["--at", gate.address, "--objective", "p95=2s", "--port", "0", "--metrics-api-port", "0", "--metrics-port", "0", "--every", "0.5", "--json"]; // prettier-ignore
  const { lines } = await command(...args);
  const { metricsApi, metrics } = JSON.parse(lines[0] ?? "") as Record<string, string>;
  const root = `${metricsApi}/apis/external.metrics.k8s.io/v1beta1`;
  const value = async (selector: string): Promise<unknown> => {
    const path = `${root}/namespaces/shop/longshore-needed-endpoints?labelSelector=${encodeURIComponent(selector)}`;
    const { body: found } = await read(path);
    return (found["items"] as { value: string }[] | undefined)?.[0]?.value ?? found["message"];
  };
  expect(await value("")).toBe("not enough requests were seen yet to tell");
  expect(await value("model=simple")).toContain("no request came for model 'simple'");
  // A request without a deadline is told to come again.
  expect((await infer(gate.address)).status).toBe(503);
  const held = infer(gate.address, { "longshore-deadline": "55000" });
  await vi.waitFor(async () => expect(await value("model=simple")).toMatch(/^[1-9]$/), 30_000);
  const server = await serve({
    store: (await openModel(folder)).store,
    port: 0,
    join: { address: gate.address },
  });
  open.push(server);
  const answer = await held;
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({ model_name: "simple" });
  expect((await read(root)).body).toMatchObject({ kind: "APIResourceList" });
  expect((await read(`${root}/namespaces/shop/cpu`)).status).toBe(404);
  const page = await (await fetch(`${metrics}/metrics`)).text();
  expect(page).toMatch(/longshore_needed_endpoints\{model="simple",objective="p95=2s"\} [1-9]/);
  expect(page).toContain('longshore_scale_sources{state="answering"} 1');
}, 90_000);

it.each(["later", "in its place"])(
  "holds a request with a deadline whose last server leaves the directory, while another comes %s",
  async (next) => {
    const { store } = await openModel(folder);
    const file = join(folder, "endpoints.json");
    const list = (...addresses: readonly string[]): Promise<void> => {
      const entries = addresses.map((address) => ({
        id: new URL(address).port,
        address,
        tier: "edge",
        zone: "eu",
        trust: "listed",
      }));
      return writeFile(file, JSON.stringify({ schemaVersion: 1, entries }));
    };
    const first = await serve({ store, port: 0 });
    open.push(first);
    await list(first.address);
    const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
    const directory = await openDirectory({ from: file }, parts);
    open.push({ close: () => directory[Symbol.asyncDispose]() });
    const gate = await gateway({ directory, dialling: () => ({}), port: 0, dataClass: "internal", holdMs: 60_000 }); // prettier-ignore
    open.push(gate);
    await vi.waitFor(async () => expect((await infer(gate.address)).status).toBe(200), 30_000);
    // As when a fleet has just been scaled to zero: the server is gone, and a moment later its entry.
    await first.close(0);
    const held = infer(gate.address, { "longshore-deadline": "55000" });
    const reason = async (): Promise<unknown> =>
      ((await (await infer(gate.address)).json()) as { readonly reason?: string }).reason;
    await vi.waitFor(async () => expect(await reason()).toBe("unreachable"), 30_000);
    if (next === "later") {
      await list();
      await vi.waitFor(async () => expect(await reason()).toBe("no-endpoint"), 30_000);
      for (let at = 0; at < 50; at++) expect(await reason()).toBe("no-endpoint");
    }
    const second = await serve({ store, port: 0 });
    open.push(second);
    await list(second.address);
    expect((await held).status).toBe(200);
  },
  90_000,
);

it("keeps the number while no gateway answers", async () => {
  const { lines, notes } = await command("--at", "http://127.0.0.1:9", "--objective", "p95=1s", "--port", "0", "--model", "ocr", "--json", "--every", "0.5"); // prettier-ignore
  await vi.waitFor(() => expect(notes.join("\n")).toContain("127.0.0.1"), 30_000);
  expect(lines.length).toBeGreaterThan(0);
});

it.each([
  [["--objective", "p95=1s"], "give the metrics of a gateway"],
  [["--at", "http://a", "--objective", "p95=2s,misses=1%,deadline=1s"], "contradict each other"],
  [
    ["--at", "http://a", "--objective", "p95=1s", "--tls-cert", "a.pem"],
    "--tls-cert and --tls-key go together",
  ],
  [["--at", "http://a", "--objective", "p95=1s", "--client-ca", "a.pem"], "--client-ca needs"],
  [["--at", "http://a", "--objective", "p95=1s", "--start-seconds", "0"], "--start-seconds wants"],
])("refuses %j", async (args, why) => {
  const { done, notes } = await command(...args);
  expect(await done).toBe(2);
  expect(notes.join("\n")).toContain(why);
});

const page = (requests: number, runs: readonly number[], occupied: number): string =>
  [
    `longshore_demand_requests_total{model="m"} ${requests}`,
    ...["0.1", "0.2", "+Inf"].map(
      (le, at) => `longshore_demand_run_seconds_bucket{model="m",le="${le}"} ${runs[at] ?? 0}`,
    ),
    `longshore_demand_run_seconds_sum{model="m"} ${0.15 * (runs[2] ?? 0)}`,
    `longshore_demand_occupied_seconds_total{model="m"} ${occupied}`,
    `longshore_directory_entries 3`,
  ].join("\n");

it("adds up the counters of several gateways, and takes those of one that started again from zero", () => {
  const reader = demandReader();
  const looked = reader.read(new Map([["a", page(1000, [0, 100, 100], 7.5)]]), 0);
  // Its arrivals are long past; its times are of use.
  expect(looked.samples.get("m")).toMatchObject({ arrivals: 0 });
  expect(looked.ready).toBe(3);
  const { runMs, occupiedMs } = looked.samples.get("m")!;
  expect(runMs[0]).toBeGreaterThan(99);
  expect(runMs.at(-1)).toBeLessThan(201);
  // Half of the run time: two requests run at a time.
  expect(occupiedMs).toBeCloseTo(75, 0);
  const next = new Map([
    ["a", page(1010, [0, 100, 100], 7.5)],
    ["b", page(500, [0, 10, 10], 1)],
  ]);
  expect(reader.read(next, 2000).samples.get("m")?.arrivals).toBe(10);
  const again = new Map([
    ["a", page(4, [0, 0, 0], 0)],
    ["b", page(503, [0, 10, 10], 1)],
  ]);
  expect(reader.read(again, 4000).samples.get("m")?.arrivals).toBe(7);
});

it("answers triggers by their metadata, and refuses what it does not know", () => {
  const numbers = createNumbers(manualClock(), {
    objective: "p95=1s",
    models: ["ocr"],
    startMs: 60_000,
    idleMs: 300_000,
    most: 10,
  });
  const of = (metadata: Record<string, string>) => numbers.of({ name: "o", namespace: "n", metadata });
  const unknown = { needed: undefined, active: undefined };
  expect(of({ model: "ocr", scalerAddress: "scale:6000" })).toMatchObject(unknown);
  expect(of({ objective: "p99=2s" })).toMatchObject(unknown);
  expect(() => of({ model: "no" })).toThrow("known: ocr");
  expect(() => of({ objective: "p95=never" })).toThrow("is no time");
  expect(() => of({ modell: "ocr" })).toThrow("has 'modell'");
  for (let at = 1; at < 16; at++) of({ objective: `p95=${at}ms` });
  expect(() => of({ objective: "p95=17ms" })).toThrow("one too many");
});

it("reads every address of a name", async () => {
  const gate = await gateway({ servers: [], port: 0, joins: { admits: { zone: "local", trust: "listed" } } });
  open.push(gate);
  const { port } = new URL(gate.address);
  const { systemClock } = await import("@longshore/nodejs");
  const server = { id: "g", address: `http://gateways.test:${port}` };
  const sources = createSources([server], systemClock(), async () => ["127.0.0.1", "127.0.0.2"]);
  open.push(sources);
  const { pages, problems } = await sources.read();
  expect([...pages.keys()]).toEqual([`http://127.0.0.1:${port}`]);
  expect(problems).toHaveLength(1);
});

it("says what a refused look lacks, once, and leaves no listener behind for each look", async () => {
  let looks = 0;
  const refusing = createServer((_request, response) => {
    looks++;
    response.writeHead(401).end();
  }).listen(0, "127.0.0.1");
  await once(refusing, "listening");
  open.push({ close: () => refusing.close().closeAllConnections() });
  const { port } = refusing.address() as { port: number };
  const at = `http://127.0.0.1:${port}`;
  const { notes, stop } = await command("--at", at, "--objective", "p95=2s", "--port", "0", "--every", "0.5");
  await vi.waitFor(() => expect(looks).toBeGreaterThan(3), 60_000);
  expect(notes.filter((line) => line.includes("right 'observe' (--at-key)")).length).toBe(1);
  expect(getEventListeners(stop, "abort").length).toBeLessThan(3);
}, 90_000);
