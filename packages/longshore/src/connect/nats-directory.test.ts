import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type DirectoryRecord, memorySource, silentObserver } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { testEntry } from "@longshore/testkit";
import { openDirectory } from "./directory.ts";
import {
  natsDirectory,
  natsDirectoryServer,
  type NatsPackage,
  optionalNatsPackages,
} from "./nats-directory.ts";

const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };

const none = (): never => {
  throw new Error("nobody asked for this");
};
const absent: NatsPackage = {
  natsSource: none,
  natsJoin: none,
  natsPackages: none,
  natsDirectoryWriter: none,
  natsPackageWriter: none,
};

it("servers join, and get packages, by the same addresses as apps find endpoints by, and nothing is connected before", async () => {
  const asked: unknown[] = [];
  const source = {
    name: "packages",
    manifest: () => Promise.resolve(new Uint8Array([1])),
    file: () => Promise.reject(new Error("there is none")),
    close: () => Promise.resolve(void asked.push("closed")),
  };
  const transport = { progress: "none" as const, send: none, close: () => Promise.resolve() };
  const found: NatsPackage = {
    ...absent,
    natsJoin: (options) => (asked.push(options), transport),
    natsPackages: (options) => (asked.push(options), source),
  };
  const find = () => Promise.resolve(found);
  const ring = { keys: [], verify: () => Promise.resolve(false) };
  const shown = { credentials: { bearer: "t" }, ring };
  expect(await natsDirectoryServer("nats:a.example/endpoints", shown, find)).toBe(transport);
  const packages = optionalNatsPackages("nats:a.example:4223", {}, find);
  await packages.close();
  expect(asked).toEqual([{ connection: { servers: ["a.example"], token: "t" }, bucket: "endpoints", ring }]);
  expect(await packages.manifest({ model: "ocr" }, housekeepingCall("test"))).toEqual(new Uint8Array([1]));
  await packages.close();
  expect(asked.slice(1)).toEqual([{ connection: { servers: ["a.example:4223"] } }, "closed"]);
  expect(() => optionalNatsPackages("nats:user:secret@host", {})).toThrow("without user and password");
});

describe("a directory in NATS", () => {
  it("is read by its package, with the servers, the bucket, and their credentials", async () => {
    const record: DirectoryRecord = { signed: { body: testEntry({ id: "edge-1" }) } };
    const asked: unknown[] = [];
    const found: Partial<NatsPackage> = {
      natsSource(options) {
        asked.push({ ...options.connection, bucket: options.bucket });
        return memorySource("nats", record);
      },
    };
    const find = () => Promise.resolve({ ...absent, ...found });
    await natsDirectory("nats:a.example,[::1]:4223/endpoints", { credentials: { bearer: "t" } }, parts, find);
    const tls = { authorities: "CA", serverName: "inner.example" };
    const source = await natsDirectory("nats://nats.example:4222", { tls }, parts, find);
    expect(asked).toEqual([
      { servers: ["a.example", "[::1]:4223"], token: "t", bucket: "endpoints" },
      { servers: ["nats.example:4222"], tls: { ca: "CA", servername: "inner.example" }, bucket: undefined },
    ]);
    expect(source.name).toBe("nats");
  });

  it.each(["nats:", "nats:user:secret@host", "nats:host/a/b", "nats:host:port"])(
    "refuses %s",
    async (from) => {
      const opened = openDirectory(from, parts);
      await expect(opened).rejects.toMatchObject({ reason: "invalid-configuration" });
      await expect(opened).rejects.not.toThrow(/secret/);
    },
  );

  it("says which package is missing", async () => {
    const missing = () =>
      Promise.reject(Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" }));
    await expect(natsDirectory("nats:host", {}, parts, missing)).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("npm install @longshore/nats") as string,
    });
    const code = "ERR_MODULE_NOT_FOUND";
    const lacking = () =>
      Promise.reject(
        Object.assign(new Error("Cannot find package '@nats-io/kv' imported from /x/y.js"), { code }),
      );
    await expect(natsDirectory("nats:host", {}, parts, lacking)).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("is here but lacks @nats-io/kv") as string,
    });
    const broken = () => Promise.reject(new Error("it is broken"));
    await expect(natsDirectory("nats:host", {}, parts, broken)).rejects.toThrow("it is broken");
  });
});

/** A real nats-server; `npm run conformance -- nats` installs one and says where. */
const program = process.env["LONGSHORE_NATS_SERVER"] ?? "";
const running = new Set<ChildProcess>();
const folders: string[] = [];
afterEach(() => {
  for (const one of running) one.kill("SIGKILL");
  running.clear();
  for (const one of folders.splice(0)) rmSync(one, { recursive: true, force: true });
});

describe.skipIf(!existsSync(program))("a directory in a real nats-server", () => {
  it("gives its endpoints to every reader that names it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "longshore-nats-"));
    folders.push(folder);
    const child = spawn(program, ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", folder]);
    running.add(child);
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    await vi.waitFor(() => expect(said).toContain("Server is ready"), 60_000);
    const port = /client connections on 127.0.0.1:(\d+)/.exec(said)?.[1] ?? "";
    const nats = (await import(["@longshore", "nats"].join("/"))) as {
      makeEndpoints(connection: unknown, options: object): Promise<unknown>;
      publishEndpoint(endpoints: unknown, record: DirectoryRecord): Promise<void>;
    };
    const transport = (await import(["@nats-io", "transport-node"].join("/"))) as {
      connect(options: object): Promise<{ close(): Promise<void> }>;
    };
    const connection = await transport.connect({ servers: `127.0.0.1:${port}` });
    const endpoints = await nats.makeEndpoints(connection, { bucket: "store" });
    await nats.publishEndpoint(endpoints, { signed: { body: testEntry({ id: "edge-1" }) } });
    await using directory = await openDirectory(`nats:127.0.0.1:${port}/store`, parts);
    await directory.ready;
    expect(directory.snapshot().entries.map(({ id }) => id)).toEqual(["edge-1"]);
    await connection.close();
  });
});
