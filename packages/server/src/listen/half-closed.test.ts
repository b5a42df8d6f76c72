import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Call, readBody, type WireResponse } from "@longshore/core";
import { manualClock, settle } from "@longshore/testkit";
import { type TestAuthority, testAuthority, type TestCertificate } from "@longshore/testkit/certificates";
import { on } from "../../test/on-port.ts";

let authority: TestAuthority;
let server: TestCertificate;
beforeAll(async () => {
  authority = await testAuthority("ours");
  server = await authority.issue({ name: "server", hosts: ["localhost"], addresses: ["127.0.0.1"] });
});

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

const head = (version: string, more: string): string =>
  `POST /v2/models/m/infer HTTP/${version}\r\nhost: localhost\r\n${more}\r\n`;
const chunked = `${head("1.1", "transfer-encoding: chunked\r\n")}3\r\none\r\n0\r\n\r\n`;
const whole = (version = "1.1"): string => `${head(version, "content-length: 3\r\n")}one`;

/** A server that holds its answers until it is let go on, and a client that sends and listens. */
async function world(text: string, encrypted: boolean) {
  let goOn = (): void => undefined;
  const gate = new Promise<void>((resolve) => (goOn = resolve));
  const calls: Call[] = [];
  const clock = manualClock();
  const tls = { certificate: server.certificatePem, key: server.keyPem };
  const listening = await on(
    async ({ body }, call): Promise<WireResponse> => {
      const bytes = await readBody(body, { maxBytes: 1000 });
      calls.push(call);
      await gate;
      return { status: 200, headers: {}, body: { kind: "parts", parts: [bytes] } };
    },
    { clock, ...(encrypted ? { tls } : {}) },
  );
  const to = { port: listening.port, host: "127.0.0.1", allowHalfOpen: true };
  const socket = encrypted ? connectTls({ ...to, ca: authority.certificatePem }) : connect(to);
  sockets.push(socket);
  let heard = "";
  socket.on("data", (chunk: Buffer) => (heard += chunk.toString("latin1")));
  const ended = new Promise<void>((resolve) => socket.once("end", resolve));
  socket.on("error", () => undefined).write(text);
  while (calls.length === 0) await settle();
  return { clock, calls, socket, ended, goOn, heard: () => heard };
}

describe.each([
  ["chunks", chunked, false],
  ["TLS", whole(), true],
  ["TLS and chunks", chunked, true],
  ["TLS and two requests at a time", whole() + whole(), true],
])("a client with %s that ends its half after its request", (_what, text, encrypted) => {
  it("is answered, and the connection ends", async () => {
    const { clock, calls, socket, ended, goOn, heard } = await world(text, encrypted);
    socket.end();
    while (!heard().endsWith("\r\n\r\n")) await settle();
    await clock.advance(5000);
    expect(calls.map(({ abort }) => abort.aborted)).not.toContain(true);
    goOn();
    await ended;
    const replies = text.split("POST").length - 1;
    const one = "HTTP/1\\.1 200 OK\r\n[^]*?\r\n\r\none";
    expect(heard()).toMatch(new RegExp(`^HTTP/1\\.1 100 Continue\r\n\r\n(${one}){${replies}}$`));
    while (clock.armed() > 0) await settle();
  });

  it("differs from one that has gone", async () => {
    const { clock, calls, socket } = await world(text, encrypted);
    socket.destroy();
    while (calls.some(({ abort }) => !abort.aborted)) {
      await settle();
      await clock.advance(1000);
    }
  });
});

describe("a client of HTTP/1.0 that ends its half after its request", () => {
  it.each([false, true])(
    "counts as gone, since nothing can distinguish them (TLS: %s)",
    async (encrypted) => {
      const { calls, socket, ended, heard } = await world(whole("1.0"), encrypted);
      socket.end();
      await ended;
      while (calls.some(({ abort }) => !abort.aborted)) await settle();
      expect(heard()).toBe("");
    },
  );
});
