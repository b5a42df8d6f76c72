import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import {
  float32Tensor,
  float32View,
  type LongshoreEvent,
  silentObserver,
  type Tensor,
} from "@longshore/core";
import { entryJson, sign } from "@longshore/core/internal";
import { newOperatorKey, operatorSigner, replaceFile, systemClock, systemRandom } from "@longshore/nodejs";
import { testEntry } from "@longshore/testkit";
import { untilKnown } from "@longshore/testkit/until-known";
import { command } from "../../test/command.ts";
import { writeDouble } from "../../test/models.ts";
import { joinServeOptions } from "../options/join-options.ts";
import { faultyRelay } from "../../test/faulty-relay.ts";
import { openDirectory, openRegistry } from "./directory.ts";
import { gateway } from "../compose/forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { type RunningServer, serve, type ServeOptions } from "../compose/serve.ts";

let folder: string;
const key = newOperatorKey();
const operator = operatorSigner(key.privatePem);
const file = (name: string): string => join(folder, name);
const empty = { list: async () => [], read: async () => undefined };
const x: Tensor = float32Tensor("x", [1, 4], Float32Array.of(1, -2, 3, 4));
const limits = { dataClass: "public" };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-endpoints-"));
  await writeDouble(file("models"));
  await writeFile(file("operator.pub"), `# who runs the store\n${key.publicLine}\n`);
  await writeFile(file("operator.pem"), key.privatePem);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function served(change: Partial<ServeOptions> = {}): Promise<RunningServer> {
  const { store } = await openModel(file("models"));
  return serve({ store, port: 0, zone: "eu/de", ...change });
}

it("servers join a directory server over HTTP; an app that knows only the directory server uses them while they come and go", async () => {
  const events: LongshoreEvent[] = [];
  const parts = {
    clock: systemClock(),
    random: systemRandom(),
    observer: { record: (event: LongshoreEvent) => void events.push(event) },
  };
  const registry = openRegistry({ admits: { zone: "eu", trust: "operated" } }, parts);
  const directoryServer = await serve({
    store: empty,
    port: 0,
    joins: registry.joins,
    directory: registry.directory,
  });
  const join = { address: directoryServer.address };
  const first = await served({ id: "first", join });
  const ids = (): readonly string[] => registry.directory.snapshot().entries.map(({ id }) => id);
  await vi.waitFor(() => expect(ids()).toEqual(["first"]), 60_000);
  expect(registry.directory.snapshot().entries[0]).toMatchObject({
    zone: "eu/de",
    trust: "operated",
    address: first.address,
    serves: [{ segment: { model: "double" } }],
  });

  const app = await openOffloader({ directory: { from: directoryServer.address } });
  const answered = await app.infer("double", { x }, limits);
  expect([answered.where, ...float32View(answered.outputs.get("y") as Tensor)]).toEqual([
    "first",
    2,
    -4,
    6,
    8,
  ]);
  const second = await served({ id: "second", join });
  await vi.waitFor(() => expect(ids()).toEqual(["first", "second"]), 60_000);
  // The app has read of it, too, and has sent it a request.
  await untilKnown(app, "double", { x }, ["second"], limits);

  // The first drains and goes while requests come: none is lost.
  const load = { stop: false };
  const where = new Set<string>();
  const loaded = (async () => {
    while (!load.stop || !where.has("second")) where.add((await app.infer("double", { x }, limits)).where);
  })();
  await vi.waitFor(() => expect(where.size).toBeGreaterThan(0), 60_000);
  await first.close(5000, 3000);
  expect(ids()).toEqual(["second"]);
  load.stop = true;
  await loaded;
  expect(where).toContain("second");

  const page = await (await fetch(`${directoryServer.address}/metrics`)).text();
  expect(page).toMatch(/longshore_directory_entries 1\b/);
  const { code, out } = await command("directory", "list", directoryServer.address);
  expect([code, out.includes("second"), out.includes("first")]).toEqual([0, true, false]);
  await app.close();
  await second.close(0);
  await directoryServer.close(0);
  await registry.close();
});

it("a server sends its directory server an entry that is signed again into its file, and no bad one", async () => {
  const entryOf = async (serial: number, zone: string, id = "till"): Promise<string> => {
    const { address: _its, ...body } = testEntry({ id, serial, zone });
    const entries = [await sign("directory entry", entryJson(body), operator)];
    return JSON.stringify({ schemaVersion: 1, entries });
  };
  await writeFile(file("till.json"), await entryOf(1, "eu"));
  const gate = await gateway({ port: 0, dataClass: "public", joins: { operatorKeys: key.publicLine } });
  const reports: string[] = [];
  const options = { host: "127.0.0.1", join: gate.address, entry: file("till.json") };
  const till = await served(await joinServeOptions(options, (text) => reports.push(text)));
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  const directory = await openDirectory(gate.address, parts);
  const serials = (): unknown => directory.wordOn("till")?.body.serial;
  await vi.waitFor(() => expect(serials()).toBe(1), 60_000);
  for (const [bad, why] of [
    ["{", /is not good; the entry before holds on/],
    [await entryOf(5, "eu", "other"), /is of other now; that of till holds on/],
  ] as const) {
    await replaceFile(file("till.json"), bad);
    await vi.waitFor(() => expect(reports.at(-1)).toMatch(why), 60_000);
  }
  await replaceFile(file("till.json"), await entryOf(2, "eu/de"));
  await vi.waitFor(() => expect(serials()).toBe(2), 60_000);
  expect(reports.at(-1)).toBe("entry: the file changed and was read again (serial 2)");
  await directory[Symbol.asyncDispose]();
  await Promise.all([till.close(0), gate.close(0)]);
});

it("a joined server that is stopped is not ready at once, and refuses new work while others learn of it", async () => {
  const directoryServer = await gateway({
    port: 0,
    dataClass: "public",
    joins: { admits: { zone: "eu", trust: "operated" } },
  });
  const member = await served({ join: { address: directoryServer.address } });
  await vi.waitFor(
    async () => expect((await fetch(`${directoryServer.address}/v2/models/double`)).status).toBe(200),
    60_000,
  );
  const closing = member.close(60_000);
  const ask = (path: string, method = "GET") => fetch(`${member.address}/v2/${path}`, { method });
  const [ready, work] = await Promise.all([ask("health/ready"), ask("models/double/infer", "POST")]);
  expect([ready.status, work.status, work.headers.get("retry-after")]).toEqual([503, 503, "1"]);
  await closing;
  await directoryServer.close(0);
});

it("a server without a model that it was started for joins once it is ready", async () => {
  const parts = { clock: systemClock(), random: systemRandom(), observer: { record: () => undefined } };
  const registry = openRegistry({ admits: { zone: "eu", trust: "operated" } }, parts);
  const directoryServer = await serve({
    store: empty,
    port: 0,
    joins: registry.joins,
    directory: registry.directory,
  });
  const ids = (): readonly string[] => registry.directory.snapshot().entries.map(({ id }) => id);
  const join = { address: directoryServer.address };
  const wanted = { loadModels: ["nobody"], exitOnError: false, allowManagement: true };
  const late = await served({ id: "late", join, ...wanted });
  const prompt = await served({ id: "prompt", join });
  await vi.waitFor(() => expect(ids()).toContain("prompt"), 60_000);
  expect(ids()).toEqual(["prompt"]);
  await fetch(`${late.address}/v2/repository/models/nobody/unload`, { method: "POST", body: "{}" });
  await vi.waitFor(() => expect(ids()).toEqual(["prompt", "late"]), 60_000);
  await Promise.all([late.close(0), prompt.close(0)]);
  expect(ids()).toEqual([]);
  await directoryServer.close(0);
});

it("a gateway that knows no server answers as soon as one joins it, and says so when it is gone", async () => {
  const gate = await gateway({
    port: 0,
    id: "gate",
    dataClass: "public",
    joins: { admits: { zone: "eu", trust: "operated" } },
  });
  const body = JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }],
  });
  const infer = () => fetch(`${gate.address}/v2/models/double/infer`, { method: "POST", body });
  // Time cures that no server has joined yet.
  const early = await infer();
  expect([early.status, early.headers.get("retry-after")]).toEqual([503, "1"]);
  const member = await served({ id: "member", join: { address: gate.address } });
  await vi.waitFor(async () => expect((await infer()).status).toBe(200), 60_000);
  await member.close(0);
  expect([404, 502, 503]).toContain((await infer()).status);
  await gate.close(0);
});

it("a server whose renewals are lost stays while it answers, and goes when it does not", async () => {
  const leaseMs = 1500;
  const gate = await gateway({
    port: 0,
    id: "gate",
    dataClass: "public",
    joins: { admits: { zone: "eu", trust: "operated" }, leaseMs },
  });
  const relay = await faultyRelay(Number(new URL(gate.address).port));
  const ids = async (): Promise<readonly string[]> => {
    const reply = await fetch(`${gate.address}/v2/directory`);
    const { records } = (await reply.json()) as { records: { signed: { body: { id: string } } }[] };
    return records.map(({ signed }) => signed.body.id).sort();
  };
  const asked: string[] = [];
  let cutOffAt = "";
  const front = createServer((request, response) => {
    asked.push(request.url ?? "");
    const { method, headers } = request;
    const passedOn = httpRequest(`${cutOffAt}${request.url}`, { method, headers }, (reply) => {
      response.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.pipe(response);
    });
    passedOn.on("error", () => response.destroy());
    request.pipe(passedOn);
  }).listen(0, "127.0.0.1");
  await once(front, "listening");
  const advertise = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
  const cutOff = await served({ id: "cut-off", join: { address: relay.address, advertise } });
  cutOffAt = cutOff.address;
  const heard = await served({ id: "heard", join: { address: gate.address } });
  await vi.waitFor(async () => expect(await ids()).toEqual(["cut-off", "heard"]), 60_000);
  await relay.become("refuses");
  // One is heard, so it is not the directory server that no member reaches. At the end of each lease the other is asked.
  const checks = (): number => asked.filter((path) => path === "/v2/health/ready").length;
  const before = checks();
  await vi.waitFor(() => expect(checks() - before).toBeGreaterThan(2), 60_000);
  expect(await ids()).toEqual(["cut-off", "heard"]);
  await cutOff.close(0);
  await vi.waitFor(async () => expect(await ids()).toEqual(["heard"]), 60_000);
  await heard.close(0);
  await relay.close();
  await gate.close(0);
  front.close();
});

it("an app with a signed file uses the endpoints in it, picks up changes, and outlives the file", async () => {
  const [a, b] = await Promise.all([served({ id: "a" }), served({ id: "b" })]);
  const path = file("endpoints.json");
  const write = async (...entries: readonly Parameters<typeof testEntry>[0][]): Promise<void> => {
    const signed = await Promise.all(
      entries.map(async (change) => sign("directory entry", entryJson(testEntry(change)), operator)),
    );
    await replaceFile(path, JSON.stringify({ schemaVersion: 1, entries: signed }));
  };
  await write({ id: "a", address: a.address });
  const events: LongshoreEvent[] = [];
  const options = { from: path, operatorKeys: key.publicLine, keptIn: file("kept.json") };
  const observer = { record: (event: LongshoreEvent) => void events.push(event) };
  const app = await openOffloader({ directory: options, observer });
  const where = async (): Promise<string> => (await app.infer("double", { x }, limits)).where;
  expect(await where()).toBe("a");
  await write({ id: "b", address: b.address, serial: 2 });
  await vi.waitFor(async () => expect(await where()).toBe("b"), 60_000);
  writeFileSync(path, "{ broken");
  await vi.waitFor(() => expect(events.some((event) => event.kind === "directory-state")).toBe(true), 60_000);
  expect(await where()).toBe("b");
  const plan = await app.explain("double", { x }, limits);
  expect(plan.directory?.problem).toBe("file endpoints.json is not valid JSON");
  await app.close();
  expect(JSON.parse(await readFile(file("kept.json"), "utf8"))).toMatchObject({ serials: { a: 1, b: 2 } });

  // A restart while the file is broken begins with what was kept.
  const again = await openOffloader({ directory: options });
  expect((await again.infer("double", { x }, limits)).where).toBe("b");
  await again.close();
  await Promise.all([a.close(0), b.close(0)]);
});

it("the command makes a key, signs, checks and lists, and counts serials up", async () => {
  const entries = `
schemaVersion: 1
entries:
  - id: till-4
    address: http://127.0.0.1:8000
    zone: eu/de/store-7
    trust: operated
    accelerator: { kind: cpu, count: 4 }
    notAfter: 2999-12-31
  - { id: cloud, tier: cloud, zone: us, address: "https://cloud.example" }
`;
  await writeFile(file("list.yaml"), entries);
  const made = await command("directory", "key", file("new.pem"));
  expect([made.code, /^ed25519:[\w-]{43}$/.test(made.out)]).toEqual([0, true]);
  expect((await command("directory", "key", file("new.pem"))).code).toBe(2);
  await writeFile(file("new.pub"), made.out);
  const sign = ["directory", "sign", file("list.yaml"), "--key", file("new.pem"), "--out", file("list.json")];
  expect((await command(...sign)).code).toBe(0);
  const again = await command(...sign, "--json");
  expect(JSON.parse(again.out)).toMatchObject({
    entries: [
      { id: "till-4", serial: 2 },
      { id: "cloud", serial: 2 },
    ],
  });
  // One that was taken out and comes back is believed by readers that saw it before.
  await writeFile(file("list.yaml"), entries.replace(/^.*till-4[^]*2999-12-31\n/m, ""));
  expect((await command(...sign)).code).toBe(0);
  await writeFile(file("list.yaml"), entries);
  expect(JSON.parse((await command(...sign, "--json")).out)).toMatchObject({
    entries: [
      { id: "till-4", serial: 4 },
      { id: "cloud", serial: 4 },
    ],
  });
  // Also where it comes back as it was signed long ago.
  const read = async (): Promise<{ entries: object[] }> =>
    JSON.parse(await readFile(file("list.json"), "utf8")) as { entries: object[] };
  const [old] = (await read()).entries;
  const inPlace = ["directory", "sign", file("list.json"), "--key", file("new.pem"), "--json"];
  await command(...inPlace);
  const { entries: signed, ...rest } = await read();
  await writeFile(file("list.json"), JSON.stringify({ ...rest, entries: signed.slice(1) }));
  await command(...inPlace);
  await writeFile(file("list.json"), JSON.stringify({ ...(await read()), entries: [old, signed[1]] }));
  expect(JSON.parse((await command(...inPlace)).out)).toMatchObject({
    entries: [
      { id: "till-4", serial: 7 },
      { id: "cloud", serial: 7 },
    ],
  });
  const checked = (keys: string) =>
    command("directory", "check", file("list.json"), "--operator-keys", file(keys));
  expect((await checked("new.pub")).code).toBe(0);
  const foreign = await checked("operator.pub");
  expect([foreign.code, foreign.out.includes("not one of the operator's")]).toEqual([1, true]);
  const listed = await command(
    "directory",
    "list",
    file("list.json"),
    "--operator-keys",
    file("new.pub"),
    "--json",
  );
  expect(JSON.parse(listed.out)).toMatchObject({
    entries: [
      { id: "till-4", zone: "eu/de/store-7", trust: "operated", accelerator: { kind: "cpu", count: 4 } },
      { id: "cloud", tier: "cloud", trust: "listed" },
    ],
  });
  const unbelieved = await command(
    "directory",
    "list",
    file("list.json"),
    "--operator-keys",
    file("operator.pub"),
  );
  expect(unbelieved.notes).toContain("not believed: till-4");
  const doubted = await command(
    "doctor",
    "--directory",
    file("list.json"),
    "--operator-keys",
    file("operator.pub"),
  );
  expect([doubted.code, doubted.out]).toEqual([
    1,
    expect.stringMatching(
      /NO +directory +0 endpoints; in touch; 2 entries are not believed, such as \S+: this directory/,
    ),
  ]);
});

it("wrong uses of the options are refused with the remedy", async () => {
  for (const [args, words] of [
    [["infer", file("models/double"), "--operator-keys", "k"], "go with --directory"],
    [["serve", file("models"), "--entry", "e"], "go with --join"],
    [["serve", file("models"), "--host", "0.0.0.0", "--join", "http://h:1"], "--advertise"],
    [
      ["serve", file("models"), "--join", "http://h:1", "--advertise", "10.0.0.7:8000"],
      "not '10.0.0.7:8000'",
    ],
    [["gateway", "--at", "http://h:1", "--at-grpc", ":8001"], "leave out where they speak gRPC"],
    [["gateway", "--at", "http://h:1", "--at-kind", "oip", "--at-grpc", "8001"], "give :8001"],
    [
      ["gateway", "--at", "https://h:1", "--at-kind", "oip", "--at-grpc", "http://h:2"],
      "is not encrypted, but 'https://h:1' is",
    ],
    [["directory", "sign", "endpoints.yaml", "--key", "k", "--days", "1e7"], "from 0.001 to 1000000"],
    [["directory", "list", "ftp://h"], "a directory is"],
    [["directory", "list", ""], "a directory is"],
    [["directory", "list", "dns://localhost:53/store.example"], "give its address"],
    [["directory", "list", "dns://127.0.0.1:1/"], "no name of DNS"],
  ] as const) {
    const { code, notes } = await command(...args);
    expect([code, notes.includes(words) ? words : notes]).toEqual([2, words]);
  }
  expect((await command("directory", "list", "ftp://user:secret@h")).notes).not.toContain("secret");
});
