import { once } from "node:events";
import { createServer as createHttpsServer, request } from "node:https";
import {
  type AddressInfo,
  connect,
  createServer,
  type LookupFunction,
  type Server,
  type Socket,
} from "node:net";
import { createServer as createSecureServer } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { type Clock, housekeepingCall, type WireRequest } from "@longshore/core";
import { manualClock } from "@longshore/testkit";
import { testAuthority } from "@longshore/testkit/certificates";
import { systemClock } from "../device/index.ts";
import { SecureAgent } from "./give-up.ts";
import { httpTransport, type HttpTransportOptions } from "./http-transport.ts";
import { nodeExchange } from "./node-exchange.ts";

const bodyBytes = 16_000_000;
const post: WireRequest = {
  method: "POST",
  path: "/v2",
  headers: {},
  body: { kind: "parts", parts: [new Uint8Array(bodyBytes)] },
};

const servers: Server[] = [];
const sockets: Socket[] = [];

afterEach(() => {
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

/**
 * How many bytes come out of a connection whose reader, a slow link, took some, held, and reads on once the request was given
 * up. `target`: where it leads, if anywhere.
 */
async function readAfterGivingUp(
  scheme: "http" | "https",
  options: Partial<HttpTransportOptions>,
  target?: number,
): Promise<number> {
  const abort = new AbortController();
  let read = 0;
  let gone: Promise<void> | undefined;
  let heldAt: (socket: Socket) => void;
  const held = new Promise<Socket>((resolve) => (heldAt = resolve));
  const server = createServer((socket) => {
    const onwards = target === undefined ? undefined : connect(target, "127.0.0.1");
    if (onwards)
      sockets.push(onwards.on("error", () => undefined).on("data", (chunk) => socket.write(chunk)));
    gone = new Promise((resolve) => socket.once("close", () => resolve()));
    let holds = false;
    socket.on("data", (chunk) => {
      read += chunk.byteLength;
      onwards?.write(chunk);
      // More than any greeting: the body has begun.
      if (holds || read < 20_000) return;
      holds = true;
      socket.pause();
      heldAt(socket);
    });
  });
  const address = `${scheme}://127.0.0.1:${await portOf(server)}`;
  const transport = httpTransport({ address, clock: systemClock(), ...options });
  const sent = transport.send(post, { ...housekeepingCall("test"), abort: abort.signal });
  const outcome = expect(sent).rejects.toMatchObject({ reason: "cancelled" });
  const socket = await held;
  // Ciphered, the system is given the body bit by bit.
  for (let turn = 0; turn < 300; turn++) await new Promise((resolve) => setImmediate(resolve));
  abort.abort();
  await outcome;
  socket.resume();
  await gone;
  await transport.close();
  return read;
}

describe("a request that is given up while its body is on its way", () => {
  // What the reader's own side of the connection holds has been sent; the megabytes on this side have not.
  const most = 1_500_000;

  it("is not sent on", async () => {
    expect(await readAfterGivingUp("http", {})).toBeLessThan(most);
  });

  it("is not sent on under TLS", async () => {
    const authority = await testAuthority();
    const { certificatePem, keyPem } = await authority.issue({ name: "place", addresses: ["127.0.0.1"] });
    const secure = createSecureServer({ cert: certificatePem, key: keyPem }, (socket) => socket.resume());
    secure.on("tlsClientError", () => undefined);
    const target = await portOf(secure);
    const tls = { ca: authority.certificatePem };
    expect(await readAfterGivingUp("https", { tls }, target)).toBeLessThan(most);
  });
});

describe("a connection under TLS", () => {
  async function asked(
    lookup: LookupFunction,
    change: { readonly maxConnections?: number; readonly clock?: Clock } = {},
  ) {
    const authority = await testAuthority();
    const { certificatePem, keyPem } = await authority.issue({ name: "place", addresses: ["127.0.0.1"] });
    const held: (() => void)[] = [];
    const secure = createHttpsServer({ cert: certificatePem, key: keyPem }, (_request, response) => {
      held.push(() => response.end("well"));
    });
    const port = await portOf(secure);
    const { maxConnections = 256, clock = systemClock() } = change;
    const agent = new SecureAgent({
      ca: authority.certificatePem,
      lookup,
      keepAlive: true,
      maxSockets: maxConnections,
      maxTotalSockets: maxConnections,
    });
    const dialled: Socket[] = [];
    const options = {
      clock,
      address: "https://place",
      connectTimeoutMs: 5000,
      idleTimeoutMs: 60_000,
      maxBytes: 100,
    };
    const send = (abort = new AbortController().signal) =>
      nodeExchange(
        (dials) => {
          const told = (socket: Socket): void => {
            dialled.push(socket);
            dials(socket);
          };
          const where = { host: "place", port, agent, dials: told };
          return request(where);
        },
        { body: { kind: "parts", parts: [] } },
        { ...housekeepingCall("test"), abort },
        options,
        undefined,
      );
    return { send, dialled, held, agent };
  }
  const both: LookupFunction = (_name, _options, found) =>
    found(null, [
      { address: "127.0.0.2", family: 4 },
      { address: "127.0.0.1", family: 4 },
    ]);

  it("is made to the second address of a name where the first refuses", async () => {
    const { send, held, agent } = await asked(both);
    const sent = send();
    await expect.poll(() => held.length).toBe(1);
    held[0]!();
    expect((await sent).status).toBe(200);
    agent.destroy();
  });

  it("is not made any more for a call that is given up, or once its agent is closed", async () => {
    const { send, dialled, agent } = await asked(() => undefined);
    const abort = new AbortController();
    const sent = send(abort.signal);
    abort.abort();
    await expect(sent).rejects.toMatchObject({ reason: "cancelled" });
    expect(dialled.map(({ destroyed }) => destroyed)).toEqual([true]);
    const closed = send();
    agent.destroy();
    await expect(closed).rejects.toMatchObject({ reason: "unreachable" });
    expect(dialled.map(({ destroyed }) => destroyed)).toEqual([true, true]);
  });

  it("is there for a request that waited for it, however long the answer takes", async () => {
    const clock = manualClock();
    const { send, held, agent } = await asked(both, { maxConnections: 1, clock });
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
    agent.destroy();
  });

  it("is one of no more than there may be, those that are being made included", async () => {
    const { send, dialled, held, agent } = await asked(both, { maxConnections: 2 });
    const read = async (): Promise<void> => {
      const { body } = await send();
      if (body.kind === "stream") for await (const chunk of body.read()) expect(chunk.byteLength).toBe(4);
    };
    const all = Promise.all([read(), read(), read(), read()]);
    expect(dialled).toHaveLength(2);
    for (let served = 0; served < 4; served++) {
      await expect.poll(() => held.length).toBeGreaterThan(served);
      held[served]!();
    }
    await all;
    expect(dialled).toHaveLength(2);
    agent.destroy();
  });
});
