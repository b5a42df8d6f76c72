import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type ClientHttp2Session, connect as dialHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { readBody } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { httpTransport, systemClock } from "@longshore/nodejs";
import { grpcStream, writeModels } from "@longshore/testkit";
import { testAuthority } from "@longshore/testkit/certificates";
import { writeCertificate } from "../../test/certificates.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "../compose/serve.ts";
import { relay } from "./relay.ts";
import { runCommand } from "../command/run-command.ts";

let folder: string;
const open: { close(graceMs?: number): unknown }[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-observe-"));
  await writeModels(folder);
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  // Reading by iteration would close the other half, too.
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "end");
  return Buffer.concat(chunks);
}

interface Observing {
  readonly lines: Record<string, unknown>[];
  readonly address: string;
  readonly notes: string[];
  end(): Promise<number>;
}

/** Starts the command, with its JSON lines. */
async function observing(...args: readonly string[]): Promise<Observing> {
  const stop = new AbortController();
  const lines: Record<string, unknown>[] = [];
  const notes: string[] = [];
  let listens = (): void => undefined;
  const listening = new Promise<void>((resolve) => {
    listens = resolve;
  });
  const done = runCommand(["observe", "--port", "0", "--json", ...args], {
    out: (text) => {
      lines.push(JSON.parse(text) as Record<string, unknown>);
      listens();
    },
    note: (text) => void notes.push(text),
    progress: () => undefined,
    environment: {},
    stop: stop.signal,
  });
  await Promise.race([listening, done]);
  const end = async (): Promise<number> => {
    stop.abort();
    return done;
  };
  open.push({ close: end });
  return { lines, notes, address: String(lines[0]?.["listening"]), end };
}

/** Asks a server for gRPC; its answer in hexadecimal digits. */
async function asksWhetherLive(session: ClientHttp2Session): Promise<string> {
  // The observer ends with connections that are just closing.
  session.on("error", () => undefined);
  const stream = grpcStream(session, "ServerLive");
  stream.end(Buffer.alloc(5));
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  session.close();
  return Buffer.concat(chunks).toString("hex");
}

it("passes every byte on as it came, both ways", async () => {
  const asked = Buffer.concat([
    Buffer.from(
      "POST /v2/models/m/infer HTTP/1.1\r\nhOST:  weird \r\nX-Twice: 1\r\nX-Twice: 2\r\nContent-Length: 70000\r\n\r\n",
    ),
    Buffer.alloc(70_000, 0xfe),
    Buffer.from([0, 1, 2, 255, 13, 10, 13, 10]),
  ]);
  const answer = Buffer.concat([
    Buffer.from("HTTP/1.1 200 fine\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"),
    Buffer.alloc(300_000, 7),
  ]);
  let came: Buffer | undefined;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    void read(socket).then((all) => {
      came = all;
      socket.end(answer);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => server.close() });
  const { address, end } = await observing(
    "--in-front-of",
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  );
  const client = connect({ host: "127.0.0.1", port: Number(new URL(address).port), allowHalfOpen: true });
  client.end(asked);
  expect((await read(client)).equals(answer)).toBe(true);
  expect(came?.equals(asked)).toBe(true);
  await end();
});

it("reports the traffic of a real server, and the savings of offloading", async () => {
  const server = await serve({ store: (await openModel(folder)).store, port: 0, grpcPort: 0 });
  open.push(server);
  const observer = await observing(
    "--in-front-of",
    server.address,
    "--models",
    folder,
    "--device-speed",
    "0.5",
  );
  const rows = Array.from({ length: 16 }, (_, index) => index);
  const inputs = ["INPUT0", "INPUT1"].map((name) => ({
    name,
    datatype: "INT32",
    shape: [1, 16],
    data: rows,
  }));
  const body = JSON.stringify({ inputs });
  for (let round = 0; round < 8; round++) {
    const reply = await fetch(`${observer.address}/v2/models/simple/infer`, { method: "POST", body });
    expect(reply.status).toBe(200);
    await reply.arrayBuffer();
  }
  expect((await fetch(`${observer.address}/v2/health/ready`)).status).toBe(200);
  expect(await observer.end()).toBe(0);
  const [, seen, whatIf] = observer.lines;
  expect(seen).toMatchObject({
    observed: [{ model: "simple", requests: 8, failed: 0, clients: 1, requestBytes: body.length }],
    others: 1,
    unanswered: 0,
    unreadConnections: 0,
  });
  expect(whatIf).toMatchObject({ model: "simple", replayed: 8, profiled: false });
  const ways = whatIf?.["ways"] as readonly { readonly way: string }[];
  const names = ways.map(({ way }) => way);
  expect(names).toEqual(expect.arrayContaining(["longshore", "device", "edge", "server, as now"]));
});

it("names the models for whose replays there was no time", async () => {
  const server = await serve({ store: (await openModel(folder)).store, port: 0 });
  open.push(server);
  const { address, lines, end } = await observing("--in-front-of", server.address, "--end-seconds", "0");
  const data = Array.from({ length: 16 }, (_, index) => index);
  const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data }));
  for (const model of ["simple", "unknown"]) {
    const body = JSON.stringify({ inputs });
    await (await fetch(`${address}/v2/models/${model}/infer`, { method: "POST", body })).arrayBuffer();
  }
  expect(await end()).toBe(0);
  expect(lines.slice(1)).toMatchObject([
    { observed: [{ model: "simple" }], unanswered: 1 },
    { notReplayed: ["simple"] },
  ]);
});

it("passes gRPC on, counts its bytes, and does not look inside", async () => {
  const server = await serve({ store: (await openModel(folder)).store, port: 0, grpcPort: 0 });
  open.push(server);
  const { lines, end } = await observing(
    "--in-front-of",
    server.address,
    "--grpc-in-front-of",
    `http://${server.grpcAddress}`,
  );
  // One message of two bytes: field 1, true.
  expect(await asksWhetherLive(dialHttp2(`http://127.0.0.1:${String(lines[0]?.["grpc"])}`))).toBe(
    "00000000020801",
  );
  await end();
  expect(Number(lines.at(-1)?.["grpcBytes"])).toBeGreaterThan(50);
});

it("ends TLS on both sides, reads its content, and says why a server is not believed", async () => {
  const { authority, tls, authorityFile } = await writeCertificate(folder);
  const server = await serve({ store: (await openModel(folder)).store, port: 0, grpcPort: 0, tls });
  open.push(server);
  const own = ["--tls-cert", tls.certificate, "--tls-key", tls.key];
  const { address, lines, notes, end } = await observing(
    ...own,
    "--in-front-of",
    server.address,
    "--at-ca",
    authorityFile,
    "--grpc-in-front-of",
    `https://${server.grpcAddress}`,
  );
  expect(address).toMatch(/^https:/);
  const data = Array.from({ length: 16 }, (_, index) => index);
  const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data }));
  const transport = httpTransport({ address, clock: systemClock(), tls: { ca: authority.certificatePem } });
  const body = { kind: "parts", parts: [Buffer.from(JSON.stringify({ inputs }))] } as const;
  const request = { method: "POST", path: "/v2/models/simple/infer", headers: {}, body } as const;
  const reply = await transport.send(request, housekeepingCall("test"));
  expect(reply.status).toBe(200);
  await readBody(reply.body, { maxBytes: 10_000 });
  await transport.close();
  expect(
    await asksWhetherLive(
      dialHttp2(`https://127.0.0.1:${String(lines[0]?.["grpc"])}`, {
        ca: authority.certificatePem,
      }),
    ),
  ).toBe("00000000020801");
  expect(notes).toEqual([]);
  await end();
  expect(lines[1]).toMatchObject({ observed: [{ model: "simple", requests: 1, failed: 0 }] });

  // Nobody that it believes signed the server.
  const doubting = await observing("--in-front-of", server.address);
  await expect(fetch(`${doubting.address}/v2`)).rejects.toThrow();
  await expect(fetch(`${doubting.address}/v2`)).rejects.toThrow();
  await doubting.end();
  expect(doubting.notes).toEqual([expect.stringMatching(/could not be passed on: .*certificate/)]);
  const half = await observing("--in-front-of", server.address, "--tls-cert", tls.certificate);
  expect(half.lines[0]).toMatchObject({ error: { reason: "invalid-input" } });
});

it("ends a client's connection when the server is away, and refuses targets that it cannot observe", async () => {
  const gone = createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  const { port } = gone.address() as AddressInfo;
  gone.close();
  const { address } = await observing("--in-front-of", `http://127.0.0.1:${port}`);
  await expect(fetch(address)).rejects.toThrow();
  const refused = await observing("--in-front-of", "tcp://127.0.0.1:8443");
  expect(refused.lines[0]).toMatchObject({ error: { reason: "invalid-input" } });
  expect(await refused.end()).toBe(2);
  // Where it is in front of is printed.
  const secret = await observing("--in-front-of", "http://user:secret@127.0.0.1:8000");
  expect(secret.lines[0]).toMatchObject({ error: { reason: "invalid-configuration" } });
  expect(JSON.stringify(secret.lines)).not.toContain("secret");
  const unread = await observing("--in-front-of", "http://user:secret@127.0.0.1:99999");
  expect(unread.lines[0]).toMatchObject({ error: { reason: "invalid-input" } });
  expect(JSON.stringify(unread.lines)).not.toContain("secret");
  const held = createServer().listen(0, "127.0.0.1");
  await once(held, "listening");
  open.push({ close: () => held.close() });
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const freed = (free.address() as AddressInfo).port;
  free.close();
  await once(free, "close");
  // The second port is taken: the first is given back.
  const half = await observing(
    "--port",
    String(freed),
    "--in-front-of",
    "http://127.0.0.1:8000",
    "--grpc-in-front-of",
    "http://127.0.0.1:8001",
    "--grpc-port",
    String((held.address() as AddressInfo).port),
  );
  expect(half.lines[0]).toMatchObject({ error: { reason: "port-taken" } });
  await expect(fetch(`http://127.0.0.1:${freed}`)).rejects.toMatchObject({ cause: { code: "ECONNREFUSED" } });
  const target = { host: "127.0.0.1", port };
  const none = (): never => {
    throw new Error("nobody connects");
  };
  const first = await relay({ host: "127.0.0.1", port: 0, protocol: "h2", target, watch: none });
  open.push({ close: () => first[Symbol.asyncDispose]() });
  const again = relay({ host: "127.0.0.1", port: first.port, protocol: "h2", target, watch: none });
  await expect(again).rejects.toMatchObject({ reason: "port-taken" });
});

it("ends at once, also while a client has begun to connect by TLS and says nothing", async () => {
  const authority = await testAuthority();
  const { certificatePem, keyPem } = await authority.issue({ name: "here", addresses: ["127.0.0.1"] });
  const target = { host: "127.0.0.1", port: 1 };
  const none = (): never => {
    throw new Error("nobody is let through");
  };
  const tls = { certificate: certificatePem, key: keyPem };
  const listening = await relay({ host: "127.0.0.1", port: 0, protocol: "h2", tls, target, watch: none });
  const silent = connect(listening.port, "127.0.0.1");
  open.push({ close: () => silent.destroy() });
  await once(silent, "connect");
  // The relay took this one after the first.
  const dropped = connect(listening.port, "127.0.0.1");
  dropped.end("no TLS");
  await once(dropped.resume(), "close");
  await listening[Symbol.asyncDispose]();
});
