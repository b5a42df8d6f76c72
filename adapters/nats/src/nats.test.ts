import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import {
  createDirectory,
  type DirectoryEntry,
  type DirectoryRecord,
  type LongshoreEvent,
  type KeptDirectory,
  readBody,
  seededRandom,
  type Signed,
} from "@longshore/core";
import {
  type AliasEntry,
  housekeepingCall,
  joinDirectory,
  type JoinReply,
  manifestDigest,
  manifestJson,
  type PackageManifest,
  sign,
} from "@longshore/core/internal";
import {
  fetchPackage,
  newOperatorKey,
  operatorRing,
  operatorSigner,
  packageCache,
  sha256,
  systemClock,
} from "@longshore/nodejs";
import { directoryContract, testEntry, type TestOperators } from "@longshore/testkit";
import {
  bucketKey,
  makeEndpoints,
  endpointsBucket,
  publishAlias,
  publishEndpoint,
  type RecordAccess,
  withdrawAlias,
  withdrawEndpoint,
} from "./bucket.ts";
import { natsJoin } from "./nats-join.ts";
import { makePackages, natsPackages, publishPackage } from "./nats-packages.ts";
import { natsSource } from "./nats-source.ts";

/** A real nats-server; `npm run conformance -- nats` installs one and says where. */
const program = process.env["LONGSHORE_NATS_SERVER"] ?? "";
const there = existsSync(program);

const key = newOperatorKey();
const operators: TestOperators = {
  operator: operatorSigner(key.privatePem),
  stranger: operatorSigner(newOperatorKey().privatePem),
  ring: operatorRing(key.publicLine),
};
const clock = systemClock();

interface Server {
  readonly port: string;
  readonly leafPort: string;
  /** Kills it; its stored data stays. */
  kill(): Promise<void>;
}

const running = new Set<ChildProcess>();
const folders: string[] = [];
afterEach(() => {
  for (const one of running) one.kill("SIGKILL");
  running.clear();
  for (const one of folders.splice(0)) rmSync(one, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "longshore-nats-"));
  folders.push(folder);
  return folder;
}

async function start(folder: string, name: string, more = "", port = "-1"): Promise<Server> {
  const file = join(folder, "nats.conf");
  const lines = [
    `server_name: ${name}`,
    `listen: "127.0.0.1:${port}"`,
    `jetstream { store_dir: "${folder}", domain: ${name} }`,
    more,
  ];
  writeFileSync(file, lines.join("\n"));
  const child = spawn(program, ["-c", file]);
  running.add(child);
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("Server is ready")) resolve();
    });
    child.once("exit", () => reject(new Error(`nats-server ended: ${said}`)));
  });
  const portOf = (kind: string): string =>
    new RegExp(`${kind} connections on 127.0.0.1:(\\d+)`).exec(said)?.[1] ?? "";
  return {
    port: portOf("client"),
    leafPort: portOf("leafnode"),
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

const servers = (port: string): { readonly servers: string } => ({ servers: `127.0.0.1:${port}` });

/** An endpoint as the operator publishes it. */
async function recordOf(id: string, serial = 1): Promise<DirectoryRecord> {
  const body = testEntry({ id, serial });
  const signed = await sign("directory entry", JSON.parse(JSON.stringify(body)), operators.operator);
  return { signed: { ...signed, body } };
}

function directoryAt(port: string, change: object = {}, more: object = {}): KeptDirectory {
  const source = natsSource({
    connection: servers(port),
    clock,
    random: seededRandom(1),
    everyMs: 50,
    mirrorSilentMs: 3000,
    ...more,
  });
  return createDirectory({
    source,
    clock,
    observer: { record: () => undefined },
    codecs: ["raw"],
    ring: operators.ring,
    ...change,
  });
}

const idsOf = (one?: KeptDirectory) => one?.snapshot().entries.map(({ id }) => id);

it("a server that is not there is said to be so, and tried again until the directory is closed", async () => {
  const directory = directoryAt("1");
  await directory.ready;
  expect(directory.snapshot().problem).toContain(endpointsBucket);
  await directory[Symbol.asyncDispose]();
});

describe.runIf(there)("with a real nats-server", () => {
  directoryContract("NATS JetStream KV", operators, async (rules) => {
    const folder = newFolder();
    let server = await start(folder, "hub");
    const { port } = server;
    let connection: NatsConnection = await connect(servers(port));
    let endpoints = await makeEndpoints(connection);
    if (rules.away) await server.kill();
    return {
      directory: directoryAt(port, rules),
      put: (record) => publishEndpoint(endpoints, record),
      drop: (id) => withdrawEndpoint(endpoints, id),
      fail: () => server.kill(),
      async mend() {
        server = await start(folder, "hub", "", port);
        connection = await connect(servers(port));
        endpoints = await makeEndpoints(connection);
      },
      close: async () => {
        await connection.close().catch(() => undefined);
        await server.kill();
      },
    };
  });

  it("a bucket that was lost and made again removes no endpoint before the present ones can all be in it again", async () => {
    const first = await start(newFolder(), "hub");
    const before = await connect(servers(first.port));
    await publishEndpoint(await makeEndpoints(before), await recordOf("one"));
    const [patient, hasty] = [{}, { settleMs: 500 }].map((settle) => directoryAt(first.port, {}, settle));
    for (const one of [patient, hasty]) await vi.waitFor(() => expect(idsOf(one)).toEqual(["one"]), 60_000);
    await before.close();
    await first.kill();
    const second = await start(newFolder(), "hub", "", first.port);
    const connection = await connect(servers(second.port));
    await publishEndpoint(await makeEndpoints(connection), await recordOf("two"));
    await vi.waitFor(() => expect(idsOf(patient)?.sort()).toEqual(["one", "two"]), 60_000);
    await vi.waitFor(() => expect(idsOf(hasty)).toEqual(["two"]), 60_000);
    for (const one of [patient, hasty]) await one?.[Symbol.asyncDispose]();
    await connection.close();
  });

  it("a bucket that was deleted and made again under a connection that stays is read again", async () => {
    const server = await start(newFolder(), "hub");
    const connection = await connect(servers(server.port));
    let endpoints = await makeEndpoints(connection);
    for (const id of ["one", "two"]) await publishEndpoint(endpoints, await recordOf(id));
    const directory = directoryAt(server.port, {}, { settleMs: 0 });
    await vi.waitFor(() => expect(idsOf(directory)?.sort()).toEqual(["one", "two"]), 60_000);
    await jetstreamManager(connection).then(({ streams }) => streams.delete(`KV_${endpointsBucket}`));
    endpoints = await makeEndpoints(connection);
    await publishEndpoint(endpoints, await recordOf("three"));
    await vi.waitFor(() => expect(idsOf(directory)).toEqual(["three"]), 20_000);
    await publishEndpoint(endpoints, await recordOf("four"));
    await vi.waitFor(() => expect(idsOf(directory)?.sort()).toEqual(["four", "three"]), 20_000);
    await directory[Symbol.asyncDispose]();
    await connection.close();
  });

  it("an entry that is older than the one in the bucket is not published over it, also while its server renews it", async () => {
    const server = await start(newFolder(), "hub");
    const connection = await connect(servers(server.port));
    const endpoints = await makeEndpoints(connection);
    const key = bucketKey("till");
    await publishEndpoint(endpoints, await recordOf("till", 2));
    await expect(publishEndpoint(endpoints, await recordOf("till", 1))).rejects.toMatchObject({
      reason: "conflict",
      message: "till is at serial 2 in the bucket, later than 1: sign it again from there",
    });
    expect((await endpoints.get(key))?.json()).toMatchObject({ signed: { body: { serial: 2 } } });
    await publishEndpoint(endpoints, await recordOf("till", 2));
    await withdrawEndpoint(endpoints, "till");
    await publishEndpoint(endpoints, await recordOf("till", 1));
    // Between the look and the writing its server renews what it said.
    let renewals = 0;
    const renewed: RecordAccess = {
      async get(name) {
        const there = await endpoints.get(name);
        if (renewals++ < 2) await endpoints.put(name, there!.value);
        return there;
      },
      put: (...given) => endpoints.put(...given),
    };
    await publishEndpoint(renewed, await recordOf("till", 3));
    expect((await endpoints.get(key))?.json()).toMatchObject({ signed: { body: { serial: 3 } } });
    // The fields of its server stay until it has left.
    const stated = { statement: { address: "http://10.0.0.9:8000" }, leaseMs: 60_000 };
    await endpoints.put(key, JSON.stringify({ ...(await recordOf("till", 3)), ...stated }));
    expect(await publishEndpoint(endpoints, await recordOf("till", 4))).toBe("published");
    expect((await endpoints.get(key))?.json()).toMatchObject({ signed: { body: { serial: 4 } }, ...stated });
    expect(await publishEndpoint(endpoints, await recordOf("till", 4))).toBe("unchanged");
    await endpoints.put(key, JSON.stringify({ ...(await recordOf("till", 4)), ...stated, left: true }));
    await publishEndpoint(endpoints, await recordOf("till", 5));
    expect((await endpoints.get(key))?.json()).not.toHaveProperty("statement");
    await connection.close();
  });

  it("aliases that the operator signed lie among the endpoints, and come and go", async () => {
    const server = await start(newFolder(), "hub");
    const connection = await connect(servers(server.port));
    const endpoints = await makeEndpoints(connection);
    const directory = directoryAt(server.port);
    const digest = `sha256:${"0".repeat(64)}`;
    const signed = async (revision: number, version = String(revision)): Promise<Signed<AliasEntry>> => {
      const stable = { version, digest };
      const alias = { schemaVersion: 1, name: "reader", revision, model: "ocr", stable, because: "signed" };
      const body = { schemaVersion: 1 as const, notBeforeMs: 0, notAfterMs: 253_402_300_799_999, alias };
      return { ...(await sign("alias entry", body, operators.operator)), body };
    };
    await publishAlias(endpoints, await signed(1));
    await vi.waitFor(() => expect(directory.aliases()).toMatchObject([{ revision: 1 }]), 60_000);
    await publishAlias(endpoints, await signed(2));
    await vi.waitFor(() => expect(directory.aliases()).toMatchObject([{ revision: 2 }]), 60_000);
    // A writer with an older file: new readers would believe it.
    await expect(publishAlias(endpoints, await signed(1))).rejects.toMatchObject({ reason: "conflict" });
    await publishAlias(endpoints, await signed(2));
    // Two files were signed from the same revision.
    await expect(publishAlias(endpoints, await signed(2, "9"))).rejects.toMatchObject({ reason: "conflict" });
    const slow: RecordAccess = {
      async get(name) {
        const found = await endpoints.get(name);
        await publishAlias(endpoints, await signed(4));
        return found;
      },
      put: (...given) => endpoints.put(...given),
    };
    await expect(publishAlias(slow, await signed(3))).rejects.toMatchObject({ reason: "conflict" });
    const late = directoryAt(server.port);
    await vi.waitFor(() => expect(late.aliases()).toMatchObject([{ revision: 4 }]), 60_000);
    await late[Symbol.asyncDispose]();
    await withdrawAlias(endpoints, "reader");
    await vi.waitFor(() => expect(directory.aliases()).toEqual([]), 60_000);
    await directory[Symbol.asyncDispose]();
    await connection.close();
    await server.kill();
  });

  it("a server joins without a directory server, under the operator's word that lies there, stays by renewing, and is gone when it falls silent", async () => {
    const server = await start(newFolder(), "hub");
    const connection = await connect(servers(server.port));
    const endpoints = await makeEndpoints(connection);
    const directory = directoryAt(server.port);
    const addresses = (): readonly (string | undefined)[] =>
      directory.snapshot().entries.map(({ address }) => address);
    const soon = { timeout: 60_000, interval: 20 };
    const transport = natsJoin({ connection: servers(server.port), leaseMs: 1500 });
    const answers: JoinReply[] = [];
    const events: string[] = [];
    const parts = {
      transport,
      clock,
      random: seededRandom(1),
      observer: {
        record: (event: LongshoreEvent) =>
          void (event.kind === "directory-state" && events.push(event.because)),
      },
      name: "nats",
      id: "till",
      request: () => Promise.resolve({ statement: { address: "http://10.0.0.9:8000", zone: "eu/de" } }),
      answered: (reply: JoinReply) => void answers.push(reply),
    };
    // Nobody has said anything of it yet.
    const joined = joinDirectory(parts);
    await vi.waitFor(() => expect(events).toEqual([expect.stringContaining("brings no entry")]), soon);
    const word = async (serial: number): Promise<void> => {
      const { address: _its, ...body } = testEntry({
        id: "till",
        serial,
        packages: [`sha256:${`${serial}`.repeat(64)}`],
      });
      const signed = {
        ...(await sign("directory entry", JSON.parse(JSON.stringify(body)), operators.operator)),
        body,
      };
      await publishEndpoint(endpoints, { signed });
    };
    await word(1);
    await vi.waitFor(() => expect(addresses()).toEqual(["http://10.0.0.9:8000"]), soon);
    // A later word of the operator's reaches it while it runs.
    await word(2);
    await vi.waitFor(() => expect(answers.at(-1)?.packages).toEqual([`sha256:${"2".repeat(64)}`]), soon);
    await vi.waitFor(() => expect(addresses()).toEqual(["http://10.0.0.9:8000"]), soon);
    await joined[Symbol.asyncDispose]();
    await vi.waitFor(() => expect(addresses()).toEqual([]), soon);
    // One that says nothing more after its first word.
    const { address: _its, ...body } = testEntry({ id: "kiosk" });
    const signed = {
      ...(await sign("directory entry", JSON.parse(JSON.stringify(body)), operators.operator)),
      body,
    };
    const statement = { address: "http://10.0.0.8:8000" };
    await endpoints.put(bucketKey("kiosk"), JSON.stringify({ signed, statement, leaseMs: 1000 }));
    await vi.waitFor(() => expect(addresses()).toEqual(["http://10.0.0.8:8000"]), soon);
    await vi.waitFor(() => expect(addresses()).toEqual([]), soon);
    await transport.close();
    await directory[Symbol.asyncDispose]();
    await connection.close();
  });

  it("removes no endpoint that renewed while its reader stood still for longer than a lease", async () => {
    const server = await start(newFolder(), "hub");
    const connection = await connect(servers(server.port));
    const endpoints = await makeEndpoints(connection);
    const lying = { ...(await recordOf("till")), leaseMs: 2000 };
    await endpoints.put(bucketKey("till"), JSON.stringify(lying));
    const gone: string[] = [];
    const observer = {
      record: (event: LongshoreEvent) =>
        void (event.kind === "directory-changed" && event.change === "removed" && gone.push(event.endpoint)),
    };
    const soon = { timeout: 60_000, interval: 20 };
    const renew = `
      import { connect } from "@nats-io/transport-node";
      import { Kvm } from "@nats-io/kv";
      const endpoints = await new Kvm(await connect(${JSON.stringify(servers(server.port))})).open("${endpointsBucket}");
      for (;;) {
        await endpoints.put("${bucketKey("till")}", ${JSON.stringify(JSON.stringify(lying))});
        console.log("renewed");
        await new Promise((resolve) => setTimeout(resolve, 100));
      }`;
    const renewing = spawn(process.execPath, ["--input-type=module", "-e", renew], {
      cwd: import.meta.dirname,
      stdio: ["ignore", "pipe", "inherit"],
    });
    running.add(renewing);
    await new Promise((resolve) => renewing.stdout.once("data", resolve));
    // Starting that process may take longer than a lease.
    const directory = directoryAt(server.port, { observer });
    await vi.waitFor(() => expect(idsOf(directory)).toEqual(["till"]), soon);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
    await vi.waitFor(() => expect(directory.snapshot().ageMs).toBeLessThan(500), soon);
    expect([gone, idsOf(directory)]).toEqual([[], ["till"]]);
    renewing.kill("SIGKILL");
    await vi.waitFor(() => expect(gone).toEqual(["till"]), soon);
    await directory[Symbol.asyncDispose]();
    await connection.close();
  });

  it("an endpoint whose record was cleaned out of the bucket goes when its lease ends", async () => {
    const server = await start(newFolder(), "hub");
    const connection = await connect(servers(server.port));
    const endpoints = await makeEndpoints(connection);
    const lying = { ...(await recordOf("till")), leaseMs: 500 };
    await endpoints.put(bucketKey("till"), JSON.stringify(lying));
    const directory = directoryAt(server.port);
    await vi.waitFor(() => expect(idsOf(directory)).toEqual(["till"]), 60_000);
    await jetstreamManager(connection).then(({ streams }) => streams.purge(`KV_${endpointsBucket}`));
    await vi.waitFor(() => expect(idsOf(directory)).toEqual([]), 10_000);
    await directory[Symbol.asyncDispose]();
    await connection.close();
  });

  it("a server that knows the operator's keys joins under the operator's entry alone", async () => {
    const server = await start(newFolder(), "hub");
    const connection = await connect(servers(server.port));
    const endpoints = await makeEndpoints(connection);
    const entryOf = async (serial: number, signer = operators.operator) => {
      const packages = [`sha256:${`${serial}`.repeat(64)}`];
      const { address: _its, ...body } = testEntry({ id: "till", serial, packages });
      return { ...(await sign("directory entry", JSON.parse(JSON.stringify(body)), signer)), body };
    };
    const transport = natsJoin({ connection: servers(server.port), ring: operators.ring });
    const join = async (more: { readonly signed?: Signed<DirectoryEntry> } = {}): Promise<unknown> => {
      const request = {
        schemaVersion: 1,
        id: "till",
        statement: { address: "http://10.0.0.9:8000" },
        ...more,
      };
      const body = { kind: "parts", parts: [new TextEncoder().encode(JSON.stringify(request))] } as const;
      const asked = { method: "POST", path: "/v2/directory/join", headers: {}, body } as const;
      const reply = await transport.send(asked, housekeepingCall("test"));
      return JSON.parse(new TextDecoder().decode(await readBody(reply.body, { maxBytes: 1e6 })));
    };
    await publishEndpoint(endpoints, { signed: await entryOf(8, operators.stranger) });
    await expect(join()).rejects.toThrow("which is not one of the operator's");
    const [first, later] = [await entryOf(1), await entryOf(2)];
    expect(await join({ signed: first })).toMatchObject({ packages: first.body.packages });
    expect((await endpoints.get(bucketKey("till")))?.json()).toMatchObject({
      signed: { body: { serial: 1 } },
    });
    await publishEndpoint(endpoints, { signed: later });
    expect(await join({ signed: first })).toMatchObject({ packages: later.body.packages });
    await transport.close();
    await connection.close();
  });

  it("packages go into the object store and come out checked, also from the middle", async () => {
    const server = await start(newFolder(), "hub");
    const connection = await connect(servers(server.port));
    const packages = await makePackages(connection);
    const content = Uint8Array.from({ length: 400_000 }, (_, index) => (index * 7) & 255);
    const manifest: PackageManifest = {
      schemaVersion: 1,
      model: "vad",
      files: [{ path: "1/model.onnx", bytes: content.byteLength, digest: await sha256(content) }],
    };
    const signed = await sign("package manifest", manifestJson(manifest), operators.operator);
    const digest = await manifestDigest(manifest, sha256);
    const bytes = new TextEncoder().encode(JSON.stringify(signed));
    await publishPackage(packages, digest, bytes, async () => content);
    await using source = Object.assign(natsPackages({ connection: servers(server.port) }), {
      [Symbol.asyncDispose]: () => source.close(),
    });
    const call = housekeepingCall("test");
    const cache = packageCache(newFolder(), { clock });
    const [file] = manifest.files;
    const broken = async () => ({
      fromByte: 0,
      async *read() {
        yield content.subarray(0, 150_000);
      },
    });
    await expect(cache.fill(file!, broken, call)).rejects.toMatchObject({ reason: "no-answer" });
    const parts = { source, cache, clock, random: seededRandom(1), ring: operators.ring };
    for (const wanted of [{ model: "vad" }, { digest }]) {
      expect((await fetchPackage(parts, wanted, call)).digest).toBe(digest);
    }
    expect(await cache.read(file!.digest)).toEqual(content);
    await expect(fetchPackage(parts, { model: "ocr" }, call)).rejects.toMatchObject({
      reason: "unknown-model",
    });
    await packages.putBlob(
      { name: `file/${file!.digest}` },
      content.map((byte) => byte ^ 1),
    );
    const other = { ...parts, cache: packageCache(newFolder(), { clock }) };
    await expect(fetchPackage(other, { digest }, call)).rejects.toMatchObject({ reason: "bad-reply" });
    // A deleted entry is written again.
    await packages.delete(`file/${file!.digest}`);
    await expect(fetchPackage(other, { digest }, call)).rejects.toMatchObject({ reason: "unknown-model" });
    await publishPackage(packages, digest, bytes, async () => content);
    expect((await fetchPackage(other, { digest }, call)).digest).toBe(digest);
    await connection.close();
  });

  it("an edge site with a leaf node reads its own copy, goes on when the uplink is cut, and catches up when it is back", async () => {
    const folder = newFolder();
    const hub = await start(folder, "hub", 'leafnodes { listen: "127.0.0.1:-1" }');
    const remote = `leafnodes { remotes: [{ url: "nats-leaf://127.0.0.1:${hub.leafPort}" }] }`;
    const edge = await start(newFolder(), "edge", remote);
    const connection = await connect(servers(hub.port));
    const endpoints = await makeEndpoints(connection);
    await publishEndpoint(endpoints, await recordOf("cloud"));
    const local = await connect(servers(edge.port));
    await vi.waitFor(() => makeEndpoints(local, { mirror: { domain: "hub" } }), {
      timeout: 60_000,
      interval: 50,
    });
    const directory = directoryAt(edge.port);
    const soon = { timeout: 60_000, interval: 20 };
    await vi.waitFor(() => expect(idsOf(directory)?.sort()).toEqual(["cloud"]), soon);
    await publishEndpoint(endpoints, await recordOf("till"));
    await vi.waitFor(() => expect(idsOf(directory)?.sort()).toEqual(["cloud", "till"]), soon);
    // An app at the edge may also read the hub itself, through the leaf node.
    const through = await new Kvm(jetstream(local, { domain: "hub" })).open(endpointsBucket);
    expect((await through.status()).values).toBe(2);
    await connection.close();
    await hub.kill();
    await vi.waitFor(() => expect(directory.snapshot().problem).toContain("uplink"), soon);
    expect(idsOf(directory)?.sort()).toEqual(["cloud", "till"]);
    // A restart of the app meanwhile finds the copy.
    const restarted = directoryAt(edge.port);
    await vi.waitFor(() => expect(restarted.snapshot().entries).toHaveLength(2), soon);
    await restarted[Symbol.asyncDispose]();
    // Changes at the hub before its leaves have found it again reach them later.
    const again = await start(folder, "hub", `leafnodes { listen: "127.0.0.1:${hub.leafPort}" }`, hub.port);
    const back = await connect(servers(again.port));
    const same = await makeEndpoints(back);
    await withdrawEndpoint(same, "till");
    await publishEndpoint(same, await recordOf("kiosk"));
    await vi.waitFor(() => expect(idsOf(directory)?.sort()).toEqual(["cloud", "kiosk"]), soon);
    await vi.waitFor(() => expect(directory.snapshot().problem).toBeUndefined(), soon);
    await back.close();
    await directory[Symbol.asyncDispose]();
    await local.close();
  });
});
