import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { listedDirectory, writeModels } from "@longshore/testkit";
import { serverInfo } from "../connect/dial.ts";
import { gateway, type GatewayOptions } from "./forwarding.ts";
import { keyStore } from "./key-store.ts";
import { openModel } from "../engine/open-model.ts";
import { type RunningServer, serve } from "./serve.ts";

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-gateway-"));
  await writeModels(folder);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function server(id?: string): Promise<RunningServer> {
  const named = id === undefined ? {} : { id };
  const running = await serve({ store: (await openModel(folder)).store, port: 0, ...named });
  open.push(running);
  return running;
}

async function before(
  servers: readonly Pick<RunningServer, "address">[],
  options: Partial<GatewayOptions> = {},
  kind: "longshore" | "oip" = "longshore",
) {
  const running = await gateway({
    port: 0,
    id: "gateway",
    dataClass: "internal",
    servers: servers.map(({ address }) => ({ address, kind })),
    ...options,
  });
  open.push(running);
  return running;
}

it.each([
  ["listed servers alone", true, 404, "unknown-model"],
  ["servers that join alone", false, 503, "no-endpoint"],
])(
  "a gateway that was just started answers a model that nothing has by %s",
  async (_, listed, status, reason) => {
    const servers = listed ? [await server("one"), await server("two")] : [];
    const { address } = await before(servers, { joins: { admits: { zone: "local", trust: "listed" } } });
    const reply = await fetch(`${address}/v2/models/nosuch`);
    expect([reply.status, await reply.json()]).toEqual([status, expect.objectContaining({ reason })]);
  },
);

const rows = Array.from({ length: 16 }, (_, index) => index);
const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: rows }));

function infer(address: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  const body = JSON.stringify({ inputs });
  return fetch(`${address}/v2/models/simple/infer`, { method: "POST", headers, body });
}

async function executions({ address }: RunningServer): Promise<number> {
  const reply = await fetch(`${address}/v2/models/simple/stats`);
  const { model_stats: stats } = (await reply.json()) as { model_stats: { execution_count: number }[] };
  return stats[0]?.execution_count ?? 0;
}

it("answers through any of its servers, and names their models", async () => {
  const gate = await before([await server("one"), await server("two")]);
  const reply = await infer(gate.address);
  expect(reply.status).toBe(200);
  expect(await reply.json()).toMatchObject({
    model_name: "simple",
    outputs: [
      { name: "OUTPUT0", data: rows.map((row) => 2 * row) },
      { name: "OUTPUT1", data: rows.map(() => 0) },
    ],
  });
  const index = await fetch(`${gate.address}/v2/repository/index`, { method: "POST" });
  expect(await index.json()).toContainEqual({ name: "simple", version: "1", state: "READY", reason: "" });
  const metadata = await fetch(`${gate.address}/v2/models/simple`);
  expect(await metadata.json()).toMatchObject({ name: "simple", versions: ["1"] });
});

it.each(["longshore", "oip"] as const)(
  "says that a model is not ready once no server of kind %s that has it is there, and that it is when one is back",
  async (kind) => {
    const one = await server("one");
    const gate = await before([one], {}, kind);
    const ready = async (): Promise<unknown> => {
      const reply = await fetch(`${gate.address}/v2/models/simple/ready`);
      return [reply.status, ((await reply.json()) as { ready?: boolean }).ready];
    };
    expect(await ready()).toEqual([200, true]);
    await one.close(0);
    expect((await infer(gate.address)).status).not.toBe(200);
    await expect.poll(ready, { timeout: 60_000 }).toEqual([503, false]);
    const port = Number(new URL(one.address).port);
    open.push(await serve({ store: (await openModel(folder)).store, port, id: "one" }));
    await expect.poll(ready, { timeout: 60_000 }).toEqual([200, true]);
  },
);

it.each(["longshore", "oip"] as const)(
  "reports one model that a server of kind %s has unloaded, too, without other requests for it",
  async (kind) => {
    const { store } = await openModel(folder);
    const one = await serve({ store, port: 0, id: "one", allowManagement: true });
    open.push(one);
    const gate = await before([one], {}, kind);
    const ready = async (model: string): Promise<number> =>
      (await fetch(`${gate.address}/v2/models/${model}/ready`)).status;
    expect([await ready("simple"), await ready("simple_string")]).toEqual([200, 200]);
    const put = (what: string): Promise<Response> =>
      fetch(`${one.address}/v2/repository/models/simple/${what}`, { method: "POST" });
    expect((await put("unload")).status).toBe(200);
    // And is unknown once its server has said what it has.
    await expect.poll(() => ready("simple"), { timeout: 60_000 }).toBeGreaterThanOrEqual(404);
    expect(await ready("simple_string")).toBe(200);
    expect((await put("load")).status).toBe(200);
    await expect.poll(() => ready("simple"), { timeout: 60_000 }).toBe(200);
  },
);

it("shows the configuration of a model as its server does, without the file's private fields", async () => {
  const own = await mkdtemp(join(tmpdir(), "longshore-gateway-config-"));
  try {
    await writeModels(own);
    const written = `platform: "onnxruntime_onnx" max_batch_size: 8
      input { name: "INPUT0" data_type: TYPE_INT32 dims: 16 }
      input { name: "INPUT1" data_type: TYPE_INT32 dims: [1, 4, 4] format: FORMAT_NCHW reshape { shape: 16 } }
      output { name: "OUTPUT0" data_type: TYPE_INT32 dims: 16 label_filename: "labels.txt" }
      output { name: "OUTPUT1" data_type: TYPE_INT32 dims: 16 }`;
    await writeFile(join(own, "simple", "config.pbtxt"), written);
    await writeFile(join(own, "simple", "labels.txt"), rows.map((row) => `label ${row}`).join("\n"));
    const behind = await serve({ store: (await openModel(own)).store, port: 0 });
    open.push(behind);
    const configOf = async (address: string): Promise<unknown> =>
      (await fetch(`${address}/v2/models/simple/config`)).json();
    const direct = await configOf(behind.address);
    expect(direct).toMatchObject({
      input: [{}, { format: "FORMAT_NCHW", reshape: { shape: [16] } }],
      output: [{ label_filename: "labels.txt" }, {}],
    });
    const gate = await before([behind]);
    expect(await configOf(gate.address)).toEqual(direct);
    expect(await configOf((await before([gate])).address)).toEqual(direct);
  } finally {
    await rm(own, { recursive: true, force: true });
  }
});

it("differs from its servers in name when none of them was given one", async () => {
  const servers = [{ address: (await server()).address }, { address: (await server()).address }];
  const gate = await gateway({ port: 0, dataClass: "internal", servers });
  open.push(gate);
  expect((await infer(gate.address)).status).toBe(200);
});

it("lists its servers' models in time, if one is silent and if two gateways know each other", async () => {
  let asked = 0;
  const silent = createServer(({ url }) => void (asked += Number(url === "/v2/repository/index")));
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  open.push({ close: async () => silent.close().closeAllConnections() });
  const { port } = silent.address() as AddressInfo;
  const directory = listedDirectory([]);
  const first = await before([], { id: "first", directory });
  const { address } = await server("one");
  const second = await before([], {
    id: "second",
    servers: [address, first.address, `http://127.0.0.1:${port}`],
  });
  directory.list(serverInfo({ id: "second", address: second.address }));
  const abort = AbortSignal.timeout(60_000);
  const index = await fetch(`${first.address}/v2/repository/index`, { method: "POST", signal: abort });
  expect(await index.json()).toContainEqual({ name: "simple", version: "1", state: "READY", reason: "" });
  expect(asked).toBe(1);
});

it("takes servers of the plain protocol for copies of one model", async () => {
  const servers = [await server("one"), await server("two")];
  const gate = await before(servers, {}, "oip");
  for (let round = 0; round < 12; round++) {
    const replies = await Promise.all(Array.from({ length: 4 }, () => infer(gate.address)));
    for (const reply of replies) expect(reply.status).toBe(200);
  }
  for (const one of servers) expect(await executions(one)).toBeGreaterThan(0);
});

it("answers every request although a server goes away while they are under way", async () => {
  const [first, second] = [await server("one"), await server("two")];
  const gate = await before([first, second]);
  expect((await infer(gate.address)).status).toBe(200);
  const replies: string[] = [];
  const client = async (): Promise<void> => {
    for (let count = 0; count < 40; count++) {
      const reply = await infer(gate.address);
      const text = await reply.text();
      replies.push(reply.status === 200 ? "answered" : `${reply.status} ${text}`);
    }
  };
  const clients = [client(), client(), client(), client()];
  await vi.waitFor(() => expect(replies.length).toBeGreaterThanOrEqual(40), 60_000);
  await first.close(0);
  await Promise.all(clients);
  expect(replies).toHaveLength(160);
  expect(replies.filter((reply) => reply !== "answered")).toEqual([]);
});

it("refuses requests without a data class, unless the operator stated one", async () => {
  const one = await server("one");
  const strict = await before([one], { dataClass: "unknown" });
  const refused = await infer(strict.address);
  expect(refused.status).toBe(403);
  // The sender and the operator of a gateway have no model.yaml at hand.
  expect(await refused.json()).toMatchObject({
    reason: "policy-denied",
    error: expect.stringMatching(
      /longshore-rules: class=CLASS, or start the server with --data-class/,
    ) as string,
  });
  expect((await infer(strict.address, { "longshore-rules": "class=public" })).status).toBe(200);
});

it("says so when no server answers", async () => {
  const gone = await server("gone");
  const gate = await before([gone]);
  await gone.close(0);
  const reply = await infer(gate.address);
  expect(reply.status).toBe(502);
  expect(await reply.json()).toMatchObject({ reason: "unreachable" });
});

it("keeps idempotency keys of its tenants apart at a server that does not get their names", async () => {
  const identity = join(folder, "identity.yaml");
  await writeFile(identity, "keys: { file: keys.json }\n");
  const store = keyStore(join(folder, "keys.json"), () => Date.now());
  const keys: string[] = [];
  for (const tenant of ["acme", "beta"]) keys.push((await store.add({ tenant, rights: ["infer"] })).text);
  const gate = await before([await server("one")], { identity });
  for (const size of [4, 100_000]) {
    for (const [index, key] of keys.entries()) {
      const values = new Float32Array(size).fill(index);
      const parameters = { binary_data_size: values.byteLength };
      const input = { name: "INPUT0", datatype: "FP32", shape: [1, size], parameters };
      const json = JSON.stringify({ inputs: [input], parameters: { binary_data_output: true } });
      const headers = {
        authorization: `Bearer ${key}`,
        "idempotency-key": `order ${size}`,
        "inference-header-content-length": String(json.length),
      };
      const body = new Blob([json, values]);
      const path = "/v2/models/identity_fp32/infer";
      const reply = await fetch(`${gate.address}${path}`, { method: "POST", headers, body });
      const bytes = Buffer.from(await reply.arrayBuffer());
      expect(reply.status).toBe(200);
      expect(bytes.readFloatLE(bytes.byteLength - 4)).toBe(index);
    }
  }
});
