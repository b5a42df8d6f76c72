import { once } from "node:events";
import { createServer as createHttpsServer } from "node:https";
import {
  type AddressInfo,
  connect,
  createServer,
  type LookupFunction,
  type Server,
  type Socket,
} from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { Clock, WireRequest } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { manualClock } from "@longshore/testkit";
import { testAuthority } from "@longshore/testkit/certificates";
import { systemClock } from "../device/index.ts";
import { ConnectionPool } from "./connection-pool.ts";
import { giveUp } from "./give-up.ts";
import { httpTransport } from "./http-transport.ts";

const bodyBytes = 16_000_000;
const post: WireRequest = {
  method: "POST",
  path: "/v2",
  headers: {},
  body: { kind: "parts", parts: [new Uint8Array(bodyBytes)] },
};

const servers: Server[] = [];
const sockets: Socket[] = [];
const pools: ConnectionPool[] = [];

afterEach(() => {
  for (const pool of pools.splice(0)) pool.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

async function portOf(server: Server): Promise<number> {
  servers.push(server);
  server.on("connection", (socket: Socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** How many bytes come out of a connection whose reader, a slow link, took some, held, and reads on once the request was given up. */
async function readAfterGivingUp(): Promise<number> {
  const abort = new AbortController();
  let read = 0;
  let gone: Promise<void> | undefined;
  let heldAt: (socket: Socket) => void;
  const held = new Promise<Socket>((resolve) => (heldAt = resolve));
  const server = createServer((socket) => {
    gone = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.once("data", () => {
      socket.pause();
      heldAt(socket);
    });
    socket.on("data", (chunk) => (read += chunk.byteLength));
  });
  const transport = httpTransport({
    address: `http://127.0.0.1:${await portOf(server)}`,
    clock: systemClock(),
  });
  const sent = transport.send(post, { ...housekeepingCall("test"), abort: abort.signal });
  const outcome = expect(sent).rejects.toMatchObject({ reason: "cancelled" });
  const socket = await held;
  // The system is given the body bit by bit.
  for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve));
  abort.abort();
  await outcome;
  socket.resume();
  await gone;
  await transport.close();
  return read;
}

describe("a request that is given up while its body is on its way", () => {
  // The bytes in the reader's own buffers have been sent; the megabytes on this side have not.
  const most = 1_500_000;

  it("is not sent on", async () => {
    expect(await readAfterGivingUp()).toBeLessThan(most);
  });
});

describe("a connection that is given up while it ends", () => {
  it("is closed, and says so", async () => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    const socket = connect({ host: "127.0.0.1", port: await portOf(server), allowHalfOpen: true });
    await once(socket, "connect");
    socket.end();
    giveUp(socket);
    await once(socket, "close");
  });
});

describe("a connection under TLS", () => {
  async function asked(
    lookup: LookupFunction,
    change: { readonly maxConnections?: number; readonly clock?: Clock } = {},
  ) {
    const authority = await testAuthority();
    const { certificatePem, keyPem } = await authority.issue({ name: "endpoint", addresses: ["127.0.0.1"] });
    const held: (() => void)[] = [];
    const secure = createHttpsServer({ cert: certificatePem, key: keyPem }, (_request, response) => {
      held.push(() => response.end("well"));
    });
    const port = await portOf(secure);
    const { maxConnections = 256, clock = systemClock() } = change;
    const pool = new ConnectionPool({
      clock,
      address: `https://endpoint:${port}`,
      connectTimeoutMs: 5000,
      idleTimeoutMs: 60_000,
      keepAliveMs: 4000,
      maxConnections,
      connector: { ca: authority.certificatePem, lookup },
    });
    pools.push(pool);
    const send = (abort = new AbortController().signal) =>
      pool.send({
        method: "GET",
        path: "/",
        headers: {},
        body: { kind: "parts", parts: [] },
        bodyBytes: 0,
        call: { ...housekeepingCall("test"), abort },
        maxBytes: 100,
        acknowledged: undefined,
        repeatable: true,
      });
    return { send, held };
  }
  const both: LookupFunction = (_name, _options, found) =>
    found(null, [
      { address: "127.0.0.2", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ]);

  it("is made to the second address of a name where the first refuses", async () => {
    const { send, held } = await asked(both);
    const sent = send();
    await expect.poll(() => held.length).toBe(1);
    held[0]!();
    expect((await sent).status).toBe(200);
  });

  it("that others use holds up no call that is given up", async () => {
    const { send, held } = await asked(both, { maxConnections: 1 });
    const first = send();
    await expect.poll(() => held.length).toBe(1);
    const abort = new AbortController();
    const waiting = send(abort.signal);
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ reason: "cancelled" });
    held[0]!();
    expect((await first).status).toBe(200);
  });

  it("is there for a request that waited for it, however long the answer takes", async () => {
    const clock = manualClock();
    const { send, held } = await asked(both, { maxConnections: 1, clock });
    const first = send().then(
      async ({ body }) => body.kind === "stream" && (await body.each?.(() => undefined)),
    );
    const second = send();
    await expect.poll(() => held.length).toBe(1);
    held[0]!();
    await first;
    await expect.poll(() => held.length).toBe(2);
    await clock.advance(6000);
    held[1]!();
    expect((await second).status).toBe(200);
  });
});
