import { cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { writeModels } from "@longshore/testkit";
import { gateway } from "./forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { type RunningServer, serve } from "./serve.ts";

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-reload-"));
  await writeModels(folder);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function server(id: string, repository: string): Promise<RunningServer> {
  const { store } = await openModel(repository);
  const running = await serve({
    store,
    port: 0,
    id,
    allowManagement: true,
  });
  open.push(running);
  return running;
}

async function gatewayOver(servers: readonly RunningServer[]): Promise<string> {
  const gate = await gateway({
    port: 0,
    id: "gateway",
    dataClass: "internal",
    servers: servers.map(({ address }) => address),
  });
  open.push(gate);
  return gate.address;
}

const rows = Array.from({ length: 16 }, (_, index) => index);
const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: rows }));

it("loses no request without a version while one of two servers reloads, with any versions after it", async () => {
  const own = await mkdtemp(join(tmpdir(), "longshore-reload-own-"));
  open.push({ close: () => rm(own, { recursive: true, force: true }) });
  await cp(folder, own, { recursive: true });
  const servers = [await server("one", own), await server("two", folder)] as const;
  const asked = await gatewayOver(servers);
  const ask = async (): Promise<string> => {
    const body = JSON.stringify({ inputs });
    const reply = await fetch(`${asked}/v2/models/simple/infer`, { method: "POST", body });
    const text = await reply.text();
    return reply.status === 200 ? "200" : `${reply.status} ${text}`;
  };
  const told: string[] = [];
  const clientsStop = new AbortController();
  const clients = Array.from({ length: 3 }, async () => {
    while (!clientsStop.signal.aborted) told.push(await ask());
  });
  const control = async (what: "load" | "unload"): Promise<void> => {
    const url = `${servers[0].address}/v2/repository/models/simple/${what}`;
    expect((await fetch(url, { method: "POST" })).status).toBe(200);
  };
  const further = async (count: number): Promise<void> => {
    const until = told.length + count;
    await expect.poll(() => told.length, { timeout: 60_000, interval: 5 }).toBeGreaterThan(until);
  };
  await further(20);
  for (let version = 1; version < 3; version++) {
    await rename(join(own, "simple", `${version}`), join(own, "simple", `${version + 1}`));
    await control("load");
    await further(20);
    await control("unload");
    await further(20);
  }
  clientsStop.abort();
  await Promise.all(clients);
  const counts = new Map<string, number>();
  for (const one of told) counts.set(one, (counts.get(one) ?? 0) + 1);
  expect(Object.fromEntries(counts)).toEqual({ 200: told.length });
});
