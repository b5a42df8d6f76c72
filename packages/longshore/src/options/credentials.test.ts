import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { entryJson, sign } from "@longshore/core/internal";
import { newOperatorKey, operatorSigner } from "@longshore/nodejs";
import { testEntry } from "@longshore/testkit";
import { command } from "../../test/command.ts";
import { writeDouble } from "../../test/models.ts";
import { killAll, listening } from "../../test/processes.ts";
import { serversOf } from "./at-options.ts";

let folder: string;
const key = newOperatorKey();
const operator = operatorSigner(key.privatePem);
const file = (name: string): string => join(folder, name);
const open = new Set<Server>();
/** The text of each connection's key. */
const keyOf = (name: string): string => `lsk_for_${name}`;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-shown-"));
  await writeDouble(file("models"));
  await writeFile(file("operator.pub"), `${key.publicLine}\n`);
  for (const name of ["at", "directory", "servers", "join", "packages"]) {
    await writeFile(file(`${name}.key`), `${keyOf(name)}\n`);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  killAll();
  for (const server of open) server.close().closeAllConnections();
  open.clear();
});

/** A server that records the headers of each request, and passes requests on, or answers that it is not ready. */
interface Listener {
  readonly address: string;
  readonly heard: IncomingHttpHeaders[];
  /** The credentials that it was shown; undefined for requests that showed none. */
  readonly shown: () => readonly (string | undefined)[];
}

async function listener(upstream?: string): Promise<Listener> {
  const heard: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    heard.push(request.headers);
    const body: Buffer[] = [];
    request.on("data", (chunk: Buffer) => body.push(chunk));
    request.on("end", () => {
      const { method = "GET", url = "/", headers } = request;
      if (upstream === undefined) {
        response.writeHead(503, { "content-type": "application/json" });
        response.end('{"error":"this one only listens"}');
        return;
      }
      const type = headers["content-type"] ?? "application/json";
      fetch(`${upstream}${url}`, {
        method,
        headers: { "content-type": type },
        ...(method === "POST" ? { body: Buffer.concat(body) } : {}),
      })
        .then(async (reply) => {
          response.writeHead(reply.status, { "content-type": "application/json" });
          response.end(await reply.text());
        })
        .catch(() => response.destroy());
    });
  });
  open.add(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const shown = (): readonly (string | undefined)[] => [
    ...new Set(heard.map((headers) => headers.authorization)),
  ];
  return { address: `http://127.0.0.1:${port}`, heard, shown };
}

/** Signs these endpoints into a directory file. */
async function signedFile(
  name: string,
  ...entries: readonly Parameters<typeof testEntry>[0][]
): Promise<string> {
  const signed = entries.map(async (entry) => sign("directory entry", entryJson(testEntry(entry)), operator));
  await writeFile(file(name), JSON.stringify({ schemaVersion: 1, entries: await Promise.all(signed) }));
  return file(name);
}

const bearer = (name: string): string => `Bearer ${keyOf(name)}`;
const within = { timeout: 60_000, interval: 50 };
const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }] });

it("the key for the servers of --at is shown to no server of a signed directory", async () => {
  const [named, listed] = [await listener(), await listener()];
  const endpoints = await signedFile("endpoints.json", { id: "listed", address: listed.address });
  const { out } = await command(
    "doctor",
    "--at",
    named.address,
    "--at-key",
    file("at.key"),
    "--directory",
    endpoints,
    "--operator-keys",
    file("operator.pub"),
  );
  expect(out).toContain("listed");
  expect([named.shown(), listed.shown()]).toEqual([[bearer("at")], [undefined]]);
});

it("each connection of a server shows its own credential, and no other", async () => {
  const [named, listed, joined, packages] = [
    await listener(),
    await listener(),
    await listener(),
    await listener(),
  ];
  const keys = ["--operator-keys", file("operator.pub")];
  const directoryServer = await listening("gateway", "--port", "0", "--data-class", "public", ...keys);
  const directory = await listener(directoryServer.address);
  const entry = await signedFile("entry.json", { id: "listed", address: listed.address, zone: "local" });
  await listening(
    "serve",
    file("models"),
    "--port",
    "0",
    "--join",
    directoryServer.address,
    "--entry",
    entry,
  );
  const server = await listening(
    "serve",
    file("models"),
    "--port",
    "0",
    "--data-class",
    "public",
    "--at",
    named.address,
    "--at-key",
    file("at.key"),
    ...keys,
    "--directory",
    directory.address,
    "--directory-key",
    file("directory.key"),
    "--directory-servers-key",
    file("servers.key"),
    "--join",
    joined.address,
    "--join-key",
    file("join.key"),
    "--packages-from",
    packages.address,
    "--packages-key",
    file("packages.key"),
    "--packages-into",
    file("packages"),
    "--package",
    "ocr",
  );
  const ask = async (): Promise<number> => {
    await fetch(`${server.address}/v2/models/double/infer`, { method: "POST", body });
    return listed.heard.length;
  };
  await expect.poll(ask, within).toBeGreaterThan(0);
  for (const one of [named, directory, joined, packages]) {
    await expect.poll(() => one.heard.length, within).toBeGreaterThan(0);
  }
  expect([named, listed, directory, joined, packages].map((one) => one.shown())).toEqual([
    [bearer("at")],
    [bearer("servers")],
    [bearer("directory")],
    [bearer("join")],
    [bearer("packages")],
  ]);
});

it("a server that says itself where it is, under an entry without an address, is shown no credential", async () => {
  const keys = ["--operator-keys", file("operator.pub"), "--directory-servers-key", file("servers.key")];
  const gate = await listening("gateway", "--port", "0", "--data-class", "public", ...keys);
  const stated = await listener();
  const { address: _none, ...rest } = testEntry({ id: "stated", zone: "local" });
  const signed = await sign("directory entry", entryJson(rest), operator);
  await writeFile(file("stated.json"), JSON.stringify({ schemaVersion: 1, entries: [signed] }));
  const joining = ["--join", gate.address, "--entry", file("stated.json"), "--advertise", stated.address];
  await listening("serve", file("models"), "--port", "0", ...joining);
  const ask = async (): Promise<number> => {
    await fetch(`${gate.address}/v2/models/double/infer`, { method: "POST", body });
    return stated.heard.length;
  };
  await expect.poll(ask, within).toBeGreaterThan(0);
  expect(stated.shown()).toEqual([undefined]);
});

it("packages from the server of --join, since none other is named, are requested with its credential", async () => {
  const joined = await listener();
  await listening(
    "serve",
    file("models"),
    "--port",
    "0",
    "--join",
    joined.address,
    "--join-key",
    file("join.key"),
    "--packages-into",
    file("more"),
    "--package",
    "ocr",
    "--operator-keys",
    file("operator.pub"),
  );
  await expect.poll(() => joined.heard.length, within).toBeGreaterThan(1);
  expect(joined.shown()).toEqual([bearer("join")]);
});

it("a credential for a connection that there is not is refused, with the options that are meant", async () => {
  const models = file("models");
  const endpoints = await signedFile("unused.json");
  for (const [args, words] of [
    [["doctor", "--at-key", file("at.key")], "--at-key is for the servers of --at, and none is given"],
    [["gateway", "--at-ca", "ca.pem", "--directory", endpoints], "as --directory-key"],
    [["serve", models, "--directory-key", "k"], "--directory-key goes with --directory"],
    [["gateway", "--directory-servers-ca", "k"], "--directory-servers-ca needs --operator-keys"],
    [["serve", models, "--directory-servers-key", "k"], "--directory-servers-key goes with --directory"],
    [["gateway", "--directory", endpoints, "--directory-servers-key", "k"], "needs --operator-keys"],
    [["gateway", "--directory", endpoints, "--directory-ca", "k"], "at http, https or nats"],
    [["serve", models, "--join-cert", "k"], "--join-cert go with --join"],
    [["serve", models, "--packages-key", "k"], "--packages-key needs --packages-into"],
    [["infer", join(models, "double"), "--packages-ca", "k"], "--packages-ca needs --packages-into"],
    [
      ["directory", "list", "http://127.0.0.1:1", "--directory-cert", "k"],
      "--directory-cert-key go together",
    ],
    [["directory", "list", "http://127.0.0.1:1", "--directory-key", "none"], "--directory-key 'none'"],
    [
      ["package", "fetch", "m", "--from", "http://h", "--into", "p", "--packages-key", "none"],
      "'none': ENOENT",
    ],
  ] as const) {
    const { code, notes } = await command(...args);
    expect([code, notes.includes(words) ? words : notes]).toEqual([2, words]);
  }
});

it("sends the key of --at without TLS only where --at-over-plain-http says so", async () => {
  const at = { at: ["http://192.0.2.7:8000"], atKey: file("at.key") };
  expect(await serversOf(at)).toEqual([{ address: at.at[0], credentials: { bearer: keyOf("at") } }]);
  expect(await serversOf({ ...at, atOverPlainHttp: true })).toEqual([
    { address: at.at[0], credentials: { bearer: keyOf("at"), overPlainHttp: true } },
  ]);
});
