import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, request as ask } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { onnxFile, writeModels } from "@longshore/testkit";
import { writeCertificate } from "../../test/certificates.ts";
import { command } from "../../test/command.ts";
import { gateway } from "../compose/forwarding.ts";
import { keyStore } from "../compose/key-store.ts";
import { openModel } from "../engine/open-model.ts";
import { serve, type ServeOptions } from "../compose/serve.ts";

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];

/** `simple` in two versions: the second adds where the first takes away. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-rollout-"));
  const all = await mkdtemp(join(tmpdir(), "longshore-models-"));
  await writeModels(all);
  await cp(join(all, "simple"), join(folder, "simple"), { recursive: true });
  await rm(all, { recursive: true, force: true });
  const value = (name: string) => ({ name, datatype: "INT32" as const, shape: ["batch", 16] });
  await mkdir(join(folder, "simple", "2"));
  await writeFile(
    join(folder, "simple", "2", "model.onnx"),
    onnxFile({
      inputs: [value("INPUT0"), value("INPUT1")],
      outputs: [value("OUTPUT0"), value("OUTPUT1")],
      nodes: [
        { op: "Add", inputs: ["INPUT0", "INPUT1"], outputs: ["OUTPUT0"] },
        { op: "Add", inputs: ["INPUT0", "INPUT1"], outputs: ["OUTPUT1"] },
      ],
    }),
  );
  const file = join(folder, "simple", "config.pbtxt");
  await writeFile(file, `${await readFile(file, "utf8")}\nversion_policy { all { } }\n`);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
  await rm(folder, { recursive: true, force: true });
});

async function server(options: Partial<ServeOptions> = {}): Promise<string> {
  const running = await serve({
    store: (await openModel(folder)).store,
    port: 0,
    allowManagement: true,
    aliases: join(folder, "aliases.json"),
    ...options,
  });
  open.push(running);
  return running.address;
}

const rollout = (...args: readonly string[]) => command("rollout", ...args);

const rows = Array.from({ length: 16 }, (_, index) => index);
const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: rows }));

async function infer(
  address: string,
  parameters: object = {},
  path = "reader",
): Promise<{ status: number; name: string; version: string; last: number }> {
  const body = JSON.stringify({ inputs, parameters });
  const reply = await fetch(`${address}/v2/models/${path}/infer`, { method: "POST", body });
  const answer = (await reply.json()) as {
    model_name: string;
    model_version: string;
    outputs?: { data: number[] }[];
  };
  return {
    status: reply.status,
    name: answer.model_name,
    version: answer.model_version,
    last: answer.outputs?.[1]?.data.at(-1) ?? NaN,
  };
}

it("leads requests by an alias, moves when its revision is known, and names the version that answered", async () => {
  const address = await server();
  const at = ["--at", address];
  expect((await rollout("set", "reader", "--model", "simple", "--to", "1", ...at)).said).toContain(
    "reader (revision 1) leads to simple 1",
  );
  expect(await infer(address)).toEqual({ status: 200, name: "reader", version: "1", last: 0 });
  expect((await rollout("start", "reader", "--to", "2", "--weight", "1", "--mode", "ab", ...at)).code).toBe(
    0,
  );
  expect(await infer(address)).toEqual({ status: 200, name: "reader", version: "2", last: 30 });
  // A request that names a version gets that one.
  expect(await infer(address, {}, "reader/versions/1")).toMatchObject({ version: "1", last: 0 });
  const stale = await rollout("promote", "reader", "--revision", "1", ...at);
  expect(stale).toMatchObject({ code: 1, said: expect.stringContaining("revision 2") as string });
  expect((await rollout("promote", "reader", "--revision", "2", ...at)).code).toBe(0);
  expect(await infer(address)).toMatchObject({ version: "2", last: 30 });
  expect((await rollout("status", ...at)).said).toMatch(/reader +3 +simple 2/);
  const listed = await fetch(`${address}/v2/repository/index`, { method: "POST", body: "{}" });
  expect(await listed.text()).toContain("simple");
  // Kept for the next start.
  const again = await server({ id: "again" });
  expect(await infer(again)).toMatchObject({ version: "2", last: 30 });
  expect((await rollout("remove", "reader", ...at)).said).toContain("is no alias any more");
  expect((await infer(address)).status).toBe(404);
});

/** A gateway over one server, whose models it rolls out. */
async function gatewayBefore(address: string): ReturnType<typeof gateway> {
  const servers = [{ address }];
  const made = await gateway({
    port: 0,
    id: "gateway",
    dataClass: "internal",
    allowManagement: true,
    servers,
  });
  open.push(made);
  return made;
}

it("keeps users to one side, through a gateway, too", async () => {
  const gate = await gatewayBefore(await server());
  const at = ["--at", gate.address];
  await rollout("set", "reader", "--model", "simple", "--to", "1", ...at);
  await rollout("start", "reader", "--to", "2", "--weight", "0.4", "--mode", "ab", "--by", "user", ...at);
  const versions = new Map<string, string>();
  for (let round = 0; round < 2; round++) {
    for (let user = 0; user < 24; user++) {
      const { version, last } = await infer(gate.address, { longshore_user: `u${user}` });
      expect(last).toBe(version === "2" ? 30 : 0);
      expect(versions.get(`u${user}`) ?? version).toBe(version);
      versions.set(`u${user}`, version);
    }
  }
  expect(new Set(versions.values()).size).toBe(2);
});

/** Passes requests on, and answers as they come, except those that `cut` names: they are run, and their answers are dropped. */
async function cutting(address: string, cut: RegExp): Promise<string> {
  const proxy = createServer((incoming, reply) => {
    const { method, url: path = "", headers } = incoming;
    const onward = ask(new URL(path, address), { method, headers }, (came) => {
      if (cut.test(path)) came.on("end", () => reply.destroy()).resume();
      else came.pipe(reply.writeHead(came.statusCode ?? 0, came.headers));
    });
    onward.on("error", () => reply.destroy());
    incoming.pipe(onward);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  open.push({ close: async () => proxy.close().closeAllConnections() });
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}

it("covers a candidate whose answers are lost on their way, where the same server has the stable version", async () => {
  const gate = await gatewayBefore(await cutting(await server(), /versions\/2\/.*infer/));
  const at = ["--at", gate.address];
  await rollout("set", "reader", "--model", "simple", "--to", "1", ...at);
  await rollout("start", "reader", "--to", "2", "--weight", "1", ...at);
  expect(await infer(gate.address)).toMatchObject({ status: 200, version: "1", last: 0 });
});

it("gives no caller a shadow's answer, and rolls back a shadow that answers otherwise", async () => {
  const address = await server();
  const at = ["--at", address];
  await rollout("set", "reader", "--model", "simple", "--to", "1", ...at);
  await rollout(
    "start",
    "reader",
    "--to",
    "2",
    "--weight",
    "1",
    "--mode",
    "shadow",
    "--latency-factor",
    "1000",
    ...at,
  );
  let status = "";
  for (let count = 0; count < 200 && !status.includes("rolled back"); count++) {
    expect(await infer(address)).toMatchObject({ version: "1", last: 0 });
    if (count % 10 === 9) status = (await rollout("status", "reader", ...at)).said;
  }
  expect(status).toMatch(/rolled back: \d+ of \d+ answers differ from the stable version's/);
  const metrics = await (await fetch(`${address}/metrics`)).text();
  expect(metrics).toContain('longshore_rollout_changes_total{alias="reader",change="rolled back"} 1');
});

it("is managed by senders with the right, if management is on, and takes no model's name", async () => {
  const address = await server({ allowManagement: false });
  const set = ["--model", "simple", "--to", "1", "--at", address];
  expect((await rollout("set", "reader", ...set)).said).toContain("switched off");
  const managed = await server({ id: "managed" });
  const taken = await rollout("set", "simple", "--model", "simple", "--to", "1", "--at", managed);
  expect(taken.said).toContain("is the name of a model here");
  expect((await rollout("set", "reader", "--model", "simple", "--to", "9", "--at", managed)).said).toContain(
    "no version 9",
  );
  expect((await rollout("promote", "reader", "--at", managed)).code).not.toBe(0);
  const share = await rollout("start", "reader", "--to", "2", "--weight", "5", "--at", managed);
  expect(share.said).toContain("--weight wants a number from 0 to 1, not '5'");
});

it("leads no sender to a model that it does not see, and hides it from the sender", async () => {
  await cp(join(folder, "simple"), join(folder, "secret"), { recursive: true });
  const keys = join(folder, "keys.json");
  const { text } = await keyStore(keys, Date.now).add({ tenant: "acme", rights: ["infer", "manage"] });
  const identity = join(folder, "identity.yaml");
  await writeFile(identity, `keys: { file: ${keys} }\ntenants: { acme: { models: ["our-*", simple] } }\n`);
  const address = await server({ identity });
  const set = async (model: string, revision = 0): Promise<readonly unknown[]> => {
    const change = { do: "set", model, version: "1" };
    const reply = await fetch(`${address}/v2/rollouts/our-reader`, {
      method: "POST",
      headers: { authorization: `Bearer ${text}` },
      body: JSON.stringify({ revision, change }),
    });
    return [reply.status, (await reply.text()).replaceAll(model, "MODEL")];
  };
  for (const revision of [0, 3]) expect(await set("secret", revision)).toEqual(await set("absent", revision));
  expect((await set("secret"))[0]).toBe(404);
  expect((await set("simple"))[0]).toBe(200);
});

it("calls servers by their own authorities, and shows no key over a connection that could be overheard", async () => {
  const { tls, authorityFile } = await writeCertificate(folder);
  const key = join(folder, "key");
  await writeFile(key, "secret");
  const address = await server({ tls });
  expect((await rollout("status", "--at", address)).said).toContain("VERIFY");
  const set = ["set", "reader", "--model", "simple", "--to", "1"];
  expect((await rollout(...set, "--at", address, "--at-ca", authorityFile)).said).toContain(
    "reader (revision 1) leads to simple 1",
  );
  const overheard = await rollout("status", "--at", "http://198.51.100.1:8000", "--at-key", key);
  expect(overheard.said).toContain("would be readable on the way");
  expect((await rollout("status", "--at", "nonsense")).said).toContain("'nonsense' is not an address");
});
