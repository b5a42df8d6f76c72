import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { createServer as createSecureServer } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { housekeepingCall, type WireRequest } from "@longshore/core";
import { testAuthority } from "@longshore/testkit/certificates";
import { systemClock } from "../device/index.ts";
import { httpTransport, type HttpTransportOptions } from "./http-transport.ts";

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
