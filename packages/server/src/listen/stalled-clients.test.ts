import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { emptyBody } from "@longshore/core";
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

const clients = 16;
const live = "GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

describe.each([false, true])("a full port (TLS: %s)", (encrypted) => {
  it.each([
    ["half a head", "GET / HTTP/1.1\r\nhost: loc", 408],
    ["half a body", "POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf", 408],
    ["no HTTP", "nonsense\r\n\r\n", 400],
    ["CONNECT", "CONNECT localhost:1 HTTP/1.1\r\nhost: localhost\r\n\r\n", 405],
  ])(
    "accepts connections again after clients that sent %s and never end their half",
    async (_what, text, status) => {
      const clock = manualClock();
      const tls = { certificate: server.certificatePem, key: server.keyPem };
      const listening = await on(async () => ({ status: 200, headers: {}, body: emptyBody }), {
        clock,
        maxConnections: clients,
        maxConnectionsPerAddress: clients,
        probeConnections: 0,
        // Handshakes take a while on a busy machine.
        headersTimeoutMs: encrypted ? 3000 : 200,
        requestTimeoutMs: encrypted ? 3100 : 300,
        lingerMs: 1000,
        ...(encrypted ? { tls } : {}),
      });
      const dial = (): Socket => {
        const to = { port: listening.port, host: "127.0.0.1", allowHalfOpen: true };
        const socket = encrypted ? connectTls({ ...to, ca: authority.certificatePem }) : connect(to);
        sockets.push(socket);
        return socket.on("error", () => undefined);
      };
      const ended = Array.from({ length: clients }, async () => {
        const socket = dial();
        socket.write(text);
        const [first] = (await once(socket, "data")) as [Buffer];
        expect(first.toString("latin1")).toMatch(new RegExp(`^HTTP/1.1 (${status}|200)`));
      });
      // A connection that Node.js's server reads has its timers.
      const moving = setInterval(() => void clock.advance(100), 20);
      await Promise.all(ended);
      clearInterval(moving);
      await clock.advance(5000);
      let answered = "";
      for (let tries = 0; tries < 20 && answered === ""; tries++) {
        const probe = dial();
        probe.write(live);
        answered = await Promise.race([
          once(probe, "data").then(([bytes]: Buffer[]) => String(bytes)),
          once(probe, "close").then(() => ""),
        ]).catch(() => "");
        await clock.advance(1000);
        await settle();
      }
      expect(answered).toMatch(/^HTTP\/1\.1 200/);
    },
  );
});
