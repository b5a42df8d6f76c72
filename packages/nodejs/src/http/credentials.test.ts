import { createServer, type RequestListener } from "node:http";
import { createServer as createRawServer, type AddressInfo } from "node:net";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  emptyBody,
  type Handler,
  readBody,
  seededRandom,
  type Transport,
  type WireRequest,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { listen } from "@longshore/server";
import { type TestAuthority, testAuthority, type TestCertificate } from "@longshore/testkit/certificates";
import { fetchTransport } from "@longshore/web";
import { systemClock } from "../device/index.ts";
import { httpTransport, type HttpTransportOptions } from "./http-transport.ts";

const clock = systemClock();
const call = housekeepingCall("test");
const get: WireRequest = { method: "GET", path: "/v2", headers: {}, body: emptyBody };
const secret = "lsk_0123456789abcdef_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA";

const after: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of after.splice(0)) await undo();
});

let authority: TestAuthority;
let server: TestCertificate;
beforeAll(async () => {
  authority = await testAuthority();
  server = await authority.issue({ name: "server", addresses: ["127.0.0.1"] });
});

/** Replies with the identity of the sender. */
const echo: Handler = async ({ headers, peer }) => ({
  status: 200,
  headers: {},
  body: {
    kind: "parts",
    parts: [new TextEncoder().encode(JSON.stringify({ authorization: headers["authorization"], peer }))],
  },
});

interface Identity {
  readonly authorization?: string;
  readonly peer: { readonly certificate?: { readonly uris: readonly string[] } };
}

async function ask(transport: Transport): Promise<Identity> {
  const { body } = await transport.send(get, call);
  return JSON.parse(new TextDecoder().decode(await readBody(body, { maxBytes: 65_536 }))) as Identity;
}

async function plain(): Promise<string> {
  const one = await listen(echo, { clock, random: seededRandom(1), port: 0 });
  after.push(() => one.close(0));
  return one.address;
}

async function secured(clientAuthorities?: string): Promise<string> {
  const one = await listen(echo, {
    clock,
    random: seededRandom(1),
    port: 0,
    tls: {
      certificate: server.certificatePem,
      key: server.keyPem,
      ...(clientAuthorities === undefined ? {} : { clientAuthorities }),
    },
  });
  after.push(() => one.close(0));
  return one.address;
}

function over(options: Omit<HttpTransportOptions, "clock">): Transport {
  const transport = httpTransport({ clock, ...options });
  after.push(() => transport.close());
  return transport;
}

const kinds: readonly [string, (options: Omit<HttpTransportOptions, "clock" | "tls">) => Transport][] = [
  ["httpTransport", over],
  ["fetchTransport", (options) => fetchTransport({ clock, ...options })],
];

describe.each(kinds)("credentials of %s", (_name, make) => {
  it("are shown with each request, read again if they change", async () => {
    const address = await plain();
    expect((await ask(make({ address, credentials: { bearer: secret } }))).authorization).toBe(
      `Bearer ${secret}`,
    );
    let count = 0;
    const renewed = make({ address, credentials: { bearer: async () => `token-${++count}` } });
    expect((await ask(renewed)).authorization).toBe("Bearer token-1");
    expect((await ask(renewed)).authorization).toBe("Bearer token-2");
    expect((await ask(make({ address }))).authorization).toBeUndefined();
  });

  it("never follow a redirect", async () => {
    const seen: unknown[] = [];
    const listening = async (answer: RequestListener): Promise<string> => {
      const one = createServer(answer);
      await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
      after.push(
        () => one.closeAllConnections(),
        () => one.close(),
      );
      return `http://127.0.0.1:${(one.address() as AddressInfo).port}`;
    };
    const thief = await listening((request, response) => {
      seen.push(request.headers);
      response.end();
    });
    const honest = await listening((_, response) => {
      response.writeHead(307, { location: `${thief}/v2` }).end();
    });
    const { status } = await make({ address: honest, credentials: { bearer: secret } }).send(get, call);
    expect([0, 307]).toContain(status);
    expect(seen).toEqual([]);
  });

  it("are not sent over unencrypted connections, unless that is configured", () => {
    const refused = expect.objectContaining({
      reason: "invalid-configuration",
      message: expect.not.stringContaining("c2VjcmV0"),
    });
    const address = "http://store.example:8000";
    expect(() => make({ address, credentials: { bearer: secret } })).toThrow(refused);
    expect(() => make({ address, credentials: { bearer: secret, overPlainHttp: true } })).not.toThrow();
    expect(() => make({ address: "https://user:c2VjcmV0@store.example" })).toThrow(refused);
    expect(() => make({ address: "http://127.0.0.1.evil.example", credentials: { bearer: secret } })).toThrow(
      refused,
    );
  });

  it("that are none are neither sent nor repeated", async () => {
    const address = await plain();
    for (const bearer of ["", "a b", "a\r\nx-api-key: b", "c2VjcmV0,c2VjcmV0", "é", "a".repeat(9000)]) {
      const failed = ask(make({ address, credentials: { bearer } }));
      await expect(failed, bearer).rejects.toMatchObject({ reason: "invalid-configuration" });
      await expect(failed).rejects.toMatchObject({ message: expect.not.stringContaining("c2VjcmV0") });
    }
    const failing = make({ address, credentials: { bearer: () => Promise.reject(new Error("c2VjcmV0")) } });
    await expect(ask(failing)).rejects.toMatchObject({
      reason: "unauthenticated",
      message: expect.not.stringContaining("c2VjcmV0"),
    });
  });
});

describe("certificates of httpTransport", () => {
  it("are shown to a server whose own is believed", async () => {
    const client = await authority.issue({ name: "till", uris: ["spiffe://store.example/till/4"] });
    const address = await secured(authority.certificatePem);
    const tls = { ca: authority.certificatePem, cert: client.certificatePem, key: client.keyPem };
    const { peer } = await ask(over({ address, tls }));
    expect(peer.certificate?.uris).toEqual(["spiffe://store.example/till/4"]);
    await expect(
      ask(over({ address, tls: { ...tls, ca: (await testAuthority()).certificatePem } })),
    ).rejects.toMatchObject({
      reason: "unreachable",
      message: expect.stringMatching(/no trusted authority signed its certificate.*ends in -ca.*\([A-Z_]+\)/),
    });
    const nameless = { ca: authority.certificatePem };
    await expect(ask(over({ address, tls: nameless }))).rejects.toMatchObject({
      reason: "unauthenticated",
    });
  });

  it("that come after the transport was closed open no connection", async () => {
    let give: (token: string) => void = () => undefined;
    const bearer = new Promise<string>((resolve) => (give = resolve));
    const transport = over({ address: await plain(), credentials: { bearer: () => bearer } });
    const sending = expect(ask(transport)).rejects.toMatchObject({ reason: "unreachable" });
    await transport.close();
    give(secret);
    await sending;
  });

  it("that a server does not accept are said to be the reason", async () => {
    // A fatal alert in answer to the first message: 48 is unknown_ca, 116 certificate_required (RFC 8446, 6.2).
    for (const alert of [42, 48, 116]) {
      const one = createRawServer((socket) => {
        socket.on("error", () => undefined);
        socket.once("data", () => socket.end(Uint8Array.of(21, 3, 3, 0, 2, 2, alert)));
      });
      await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
      after.push(() => one.close());
      const address = `https://127.0.0.1:${(one.address() as AddressInfo).port}`;
      await expect(ask(over({ address })), String(alert)).rejects.toMatchObject({
        reason: "unauthenticated",
      });
    }
  });
});
