import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { emptyBody, type Handler, readBody } from "@longshore/core";
import { manualClock, settle } from "@longshore/testkit";
import { type TestAuthority, testAuthority, type TestCertificate } from "@longshore/testkit/certificates";
import { on } from "../../test/on-port.ts";
import type { ListenOptions } from "./options.ts";

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

/** Reads the body, and replies with the path of the request. */
const handler: Handler = async ({ path, body }) => {
  await readBody(body, { maxBytes: 1000 });
  return { status: 200, headers: {}, body: { kind: "parts", parts: [new TextEncoder().encode(path)] } };
};

const live = "/v2/health/live";
const get = (path: string, more = ""): string => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${more}\r\n`;
const post = (more: string): string => `POST /a HTTP/1.1\r\nhost: localhost\r\n${more}\r\n`;

/** A listener whose limits are small. */
async function world(encrypted: boolean, change: Partial<ListenOptions> = {}) {
  const clock = manualClock();
  const tls = { certificate: server.certificatePem, key: server.keyPem };
  const listening = await on(handler, { clock, ...(encrypted ? { tls } : {}), ...change });
  const dial = (from = "127.0.0.1"): Socket => {
    const to = { port: listening.port, host: "127.0.0.1", localAddress: from, allowHalfOpen: true };
    const socket = encrypted ? connectTls({ ...to, ca: authority.certificatePem }) : connect(to);
    sockets.push(socket);
    return socket.on("error", () => undefined).setNoDelay(true);
  };
  /** Sends a text, and gives what is heard until the connection ends or an answer is complete. */
  const ask = (socket: Socket, text: string): Promise<string> =>
    new Promise((resolve) => {
      let heard = "";
      socket.on("data", (chunk: Buffer) => {
        heard += chunk.toString("latin1");
        if (heard.endsWith(live) || heard.endsWith("/a") || heard.endsWith("}")) resolve(heard);
      });
      socket.once("end", () => resolve(heard)).once("close", () => resolve(heard));
      socket.write(text);
    });
  return { clock, dial, ask };
}

const opened = (socket: Socket, encrypted: boolean): Promise<unknown> =>
  once(socket, encrypted ? "secureConnect" : "connect");

describe.each([false, true])("a port (TLS: %s)", (encrypted) => {
  it("that is full answers health probes only, and all again once a connection closes", async () => {
    const { dial, ask } = await world(encrypted, { maxConnections: 3, maxConnectionsPerAddress: 3 });
    const [first] = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const socket = dial();
        await opened(socket, encrypted);
        return socket;
      }),
    );
    for (const path of [live, "/v2/health/ready?x=1"]) {
      const probe = await ask(dial(), get(path));
      expect(probe).toMatch(/^HTTP\/1\.1 200/);
      expect(probe).toContain("onnection: close");
    }
    const refused = await ask(dial(), get("/a"));
    expect(refused).toMatch(/^HTTP\/1\.1 503[^]*retry-after: 1\r\n/i);
    expect(refused).toContain("all 3 connections of this port are in use");
    expect(refused).toContain('"reason":"rejected"');
    expect(await ask(dial(), `${post("content-length: 3\r\n")}one`)).toMatch(/^HTTP\/1\.1 503/);
    first?.destroy();
    await expect.poll(async () => (await ask(dial(), get("/a"))).slice(0, 12)).toBe("HTTP/1.1 200");
  });

  it("gives one address its share and serves others", async () => {
    const { dial, ask } = await world(encrypted, { maxConnections: 8 });
    await Promise.all(Array.from({ length: 4 }, () => opened(dial(), encrypted)));
    expect(await ask(dial(), get("/a"))).toContain("one address may have 4");
    expect(await ask(dial("127.0.0.2"), get("/a"))).toMatch(/^HTTP\/1\.1 200/);
  });

  it("serves a client and probes during a flood of connections of every kind", async () => {
    const { clock, dial, ask } = await world(encrypted, {
      maxConnections: 120,
      maxConnectionsPerAddress: 40,
      // Handshakes take a while on a busy machine.
      headersTimeoutMs: encrypted ? 3000 : 300,
      requestTimeoutMs: encrypted ? 3100 : 600,
      stallTimeoutMs: 200,
      keepAliveMs: 200,
      lingerMs: 100,
    });
    const kinds = [
      "",
      "GET / HTTP/1.1\r\nhost: loc",
      "nonsense\r\n\r\n",
      post("content-length: 9\r\n"),
      `${post("transfer-encoding: chunked\r\n")}5\r\nab`,
      `${post("content-length: 900\r\nte: trailers\r\n")}a`,
      get("/a"),
    ];
    const moving = setInterval(() => void clock.advance(50), 50);
    const attackers = encrypted ? 420 : 2100;
    let served = 0;
    for (let at = 0; at < attackers; at++) {
      const socket = dial(`127.0.0.${10 + (at % 2)}`);
      const kind = kinds[at % kinds.length] ?? "";
      // The answer is not read, and nothing is ended.
      socket.pause();
      if (kind !== "") socket.write(kind);
      if (at % 210 !== 209) continue;
      await Promise.race([opened(socket, encrypted), once(socket, "close")]);
      expect(await ask(dial("127.0.0.3"), get("/a", "connection: close\r\n"))).toMatch(/^HTTP\/1\.1 200/);
      // A probe from the address of the attackers, and one from elsewhere.
      expect(await ask(dial("127.0.0.10"), get(live))).toMatch(/^HTTP\/1\.1 200/);
      expect(await ask(dial("127.0.0.4"), get(live))).toMatch(/^HTTP\/1\.1 200/);
      served += 1;
    }
    expect(served).toBe(attackers / 210);
    // All of the flood has an end, though none of it ended anything.
    await expect
      .poll(async () => (await ask(dial("127.0.0.10"), get("/a"))).slice(0, 12), { interval: 100 })
      .toBe("HTTP/1.1 200");
    clearInterval(moving);
  });

  it.each(["content-length: 900\r\n", "content-length: 900\r\nte: trailers\r\n"])(
    "gives up on a body that stands still, and not on one that goes on (%s)",
    async (length) => {
      const { clock, dial, ask } = await world(encrypted, { stallTimeoutMs: 1000 });
      const socket = dial();
      await opened(socket, encrypted);
      let heard = "";
      const over = ask(socket, post(length)).then((text) => (heard = text));
      while (clock.armed() === 0) await settle();
      for (let turn = 0; turn < 6; turn++) {
        socket.write("a");
        for (let rest = 0; rest < 20; rest++) await settle();
        await clock.advance(600);
      }
      expect(heard).not.toContain("408");
      for (let turn = 0; turn < 20 && !heard.includes("408"); turn++) {
        await clock.advance(500);
        for (let rest = 0; rest < 20; rest++) await settle();
      }
      await over;
      expect(heard).toMatch(/HTTP\/1\.1 408/);
    },
  );

  it("ends a connection that sends blank lines instead of requests", async () => {
    const { clock, dial, ask } = await world(encrypted, { keepAliveMs: 1000, headersTimeoutMs: 1000 });
    const socket = dial();
    await opened(socket, encrypted);
    await ask(socket, get("/a", "te: trailers\r\n"));
    let gone = false;
    socket.on("end", () => (gone = true)).on("close", () => (gone = true));
    for (let turn = 0; turn < 10; turn++) {
      socket.write("\r\n");
      for (let rest = 0; rest < 20; rest++) await settle();
      await clock.advance(500);
    }
    await expect.poll(() => gone).toBe(true);
  });
});

it("a handshake that does not come has an end", async () => {
  const tls = { certificate: server.certificatePem, key: server.keyPem };
  const listening = await on(async () => ({ status: 200, headers: {}, body: emptyBody }), {
    tls,
    headersTimeoutMs: 100,
  });
  const socket = connect(listening.port, "127.0.0.1").on("error", () => undefined);
  sockets.push(socket);
  await once(socket.resume(), "close");
});
