import { once } from "node:events";
import { connect as connectPlain } from "node:net";
import { Agent, request as secureRequest, type RequestOptions } from "node:https";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Handler, seededRandom, type Surface, type WireRequest } from "@longshore/core";
import { type TestAuthority, testAuthority, type TestCertificate } from "@longshore/testkit/certificates";
import { manualClock } from "@longshore/testkit";
import { listen, type Listening } from "./listen.ts";
import type { ListenTls } from "./tls.ts";
import { uriNames } from "./peer.ts";

let ours: TestAuthority;
let theirs: TestAuthority;
let server: TestCertificate;
let edge: TestCertificate;
beforeAll(async () => {
  ours = await testAuthority("ours");
  theirs = await testAuthority("theirs");
  server = await ours.issue({ name: "server", hosts: ["localhost"], addresses: ["127.0.0.1"] });
  edge = await ours.issue({ name: "edge", uris: ["spiffe://store.example/edge/7"] });
});

const open: Listening[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
});

let aheadMs = 0;
const clock = { ...manualClock(), wallMs: () => Date.now() + aheadMs };

/** A server that tells what it knows of the sender. */
async function echo(tls?: Partial<ListenTls>, surfaces?: readonly Surface[]): Promise<Listening> {
  const handler: Handler = async ({ peer, surfaces: served, headers }: WireRequest) => ({
    status: 200,
    headers: { "content-type": "application/json" },
    body: {
      kind: "parts",
      parts: [
        new TextEncoder().encode(JSON.stringify({ peer, served, authorization: headers["authorization"] })),
      ],
    },
  });
  const one = await listen(handler, {
    clock,
    random: seededRandom(1),
    port: 0,
    ...(tls ? { tls: { certificate: server.certificatePem, key: server.keyPem, ...tls } } : {}),
    ...(surfaces ? { surfaces } : {}),
  });
  open.push(one);
  return one;
}

interface Told {
  readonly peer: {
    readonly encrypted?: boolean;
    readonly certificate?: { verified: boolean; uris: string[]; fingerprint: string; subject: string };
  };
  readonly served?: string[];
  readonly authorization?: string;
}

function get(port: number, client?: TestCertificate, more: RequestOptions = {}): Promise<Told> {
  return new Promise((resolve, reject) => {
    const outgoing = secureRequest({
      host: "127.0.0.1",
      port,
      path: "/v2",
      ca: ours.certificatePem,
      agent: false,
      ...(client ? { cert: client.certificatePem, key: client.keyPem } : {}),
      ...more,
    });
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () => resolve(JSON.parse(text) as Told));
    });
    outgoing.end();
  });
}

describe("an encrypted listener", () => {
  it("serves by its certificate and requires none", async () => {
    const { port, address } = await echo({});
    expect(address).toBe(`https://127.0.0.1:${port}`);
    const { peer } = await get(port);
    expect(peer.encrypted).toBe(true);
    expect(peer.certificate).toBeUndefined();
    // A client that believes another authority does not talk to it.
    await expect(get(port, undefined, { ca: theirs.certificatePem })).rejects.toMatchObject({
      code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    });
  });

  it("reports the fields of a client's certificate", async () => {
    const { port } = await echo({ clientAuthorities: ours.certificatePem });
    const { certificate } = (await get(port, edge)).peer;
    expect(certificate).toEqual({
      verified: true,
      uris: ["spiffe://store.example/edge/7"],
      fingerprint: edge.fingerprint,
      subject: "CN=edge",
    });
  });

  it("gives no connection to a client without a good certificate, if one is required", async () => {
    const { port } = await echo({ clientAuthorities: ours.certificatePem });
    const stranger = await theirs.issue({ name: "stranger", uris: ["spiffe://store.example/edge/7"] });
    const expired = await ours.issue({
      name: "expired",
      uris: ["spiffe://store.example/edge/7"],
      notBefore: new Date(Date.now() - 7_200_000),
      notAfter: new Date(Date.now() - 3_600_000),
    });
    const early = await ours.issue({ name: "early", notBefore: new Date(Date.now() + 3_600_000) });
    for (const client of [undefined, stranger, expired, early]) {
      await expect(get(port, client)).rejects.toMatchObject({
        code: expect.stringMatching(/^ERR_SSL_|^ECONNRESET$|^EPIPE$/),
      });
    }
    expect((await get(port, edge)).peer.certificate?.verified).toBe(true);
  });

  it("says of a certificate that is optional whether it is good", async () => {
    const { port } = await echo({ clientAuthorities: ours.certificatePem, clientCertificates: "optional" });
    const stranger = await theirs.issue({ name: "stranger", uris: ["spiffe://store.example/edge/7"] });
    expect((await get(port)).peer.certificate).toBeUndefined();
    expect((await get(port, edge)).peer.certificate?.verified).toBe(true);
    expect((await get(port, stranger)).peer.certificate).toMatchObject({
      verified: false,
      uris: ["spiffe://store.example/edge/7"],
    });
  });

  it("does not believe a certificate any more that expires while its connection lives", async () => {
    const { port } = await echo({ clientAuthorities: ours.certificatePem });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const brief = await ours.issue({ name: "brief", notAfter: new Date(Date.now() + 3_600_000) });
    expect((await get(port, brief, { agent })).peer.certificate?.verified).toBe(true);
    aheadMs = 3_700_000;
    try {
      expect((await get(port, brief, { agent })).peer.certificate?.verified).toBe(false);
    } finally {
      aheadMs = 0;
      agent.destroy();
    }
  });

  it("takes another certificate and other authorities while it runs", async () => {
    const listening = await echo({ clientAuthorities: ours.certificatePem });
    const { port } = listening;
    const next = await theirs.issue({ name: "next", addresses: ["127.0.0.1"] });
    const agent = new Agent({ keepAlive: true });
    await get(port, edge, { agent });
    expect(() => listening.renew({ certificate: "none", key: "none" })).toThrow(
      expect.objectContaining({ reason: "invalid-configuration" }),
    );
    expect((await get(port, edge)).peer.certificate?.verified).toBe(true);
    listening.renew({
      certificate: next.certificatePem,
      key: next.keyPem,
      clientAuthorities: theirs.certificatePem,
    });
    const trusting = { ca: theirs.certificatePem };
    await expect(get(port, edge, trusting)).rejects.toBeDefined();
    const friend = await theirs.issue({ name: "friend" });
    expect((await get(port, friend, trusting)).peer.certificate?.subject).toBe("CN=friend");
    agent.destroy();
  });

  it("resumes no session across the change, and reports the certificate of a resumed one", async () => {
    const listening = await echo({ clientAuthorities: ours.certificatePem });
    const visit = (session?: Buffer): Promise<{ told: Told; session: Buffer; reused: boolean }> =>
      new Promise((resolve, reject) => {
        let ticket: Buffer | undefined;
        let told: Told | undefined;
        const socket: TLSSocket = connectTls({
          port: listening.port,
          host: "127.0.0.1",
          ca: [ours.certificatePem, theirs.certificatePem],
          cert: edge.certificatePem,
          key: edge.keyPem,
          ...(session ? { session } : {}),
        });
        const done = (): void => {
          const kept = ticket ?? session;
          if (!kept || !told) return;
          resolve({ told, session: kept, reused: socket.isSessionReused() });
          socket.destroy();
        };
        socket.on("error", reject);
        socket.on("close", () => reject(new Error("closed")));
        socket.on("session", (one) => {
          ticket = one;
          done();
        });
        let text = "";
        socket.on("data", (chunk: Buffer) => {
          text += chunk.toString();
          const body = /\r\n\r\n(\{.*\})/.exec(text)?.[1];
          if (body) told = JSON.parse(body) as Told;
          done();
        });
        socket.write("GET /v2 HTTP/1.1\r\nhost: localhost\r\n\r\n");
      });
    const first = await visit();
    const second = await visit(first.session);
    expect(second.reused).toBe(true);
    expect(second.told.peer.certificate).toEqual(first.told.peer.certificate);
    listening.renew({
      certificate: server.certificatePem,
      key: server.keyPem,
      clientAuthorities: theirs.certificatePem,
    });
    await expect(visit(second.session)).rejects.toBeDefined();
  });

  it("closes connections without a handshake, and goes on", async () => {
    const { port } = await echo({});
    const said = await new Promise<string>((resolve, reject) => {
      const socket = connectPlain(port, "127.0.0.1");
      let text = "";
      socket.on("data", (chunk) => (text += chunk.toString("latin1")));
      socket.on("error", reject);
      socket.on("close", () => resolve(text));
      socket.write("GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n");
    });
    expect(said).not.toContain("HTTP/1.1");
    expect((await get(port)).peer.encrypted).toBe(true);
  });

  // Node.js ends a handshake after ten seconds.
  it("closes in time beside a client that began no handshake", { timeout: 9000 }, async () => {
    const one = await echo({});
    const silent = connectPlain(one.port, "127.0.0.1").on("error", () => undefined);
    await once(silent, "connect");
    // A later connection is accepted later.
    await get(one.port);
    const closed = one.close(1000);
    await clock.advance(1000);
    await closed;
    silent.destroy();
  });

  it("does not start with a key that is not the certificate's", async () => {
    const other = await ours.issue({ name: "other" });
    await expect(echo({ key: other.keyPem })).rejects.toMatchObject({ reason: "invalid-configuration" });
    const plain = await echo();
    expect(() => plain.renew({ certificate: server.certificatePem, key: server.keyPem })).toThrow(
      /not encrypted/,
    );
  });
});

describe("a listener's report of a request", () => {
  it("is which surfaces it serves, and every Authorization header that came", async () => {
    const { port } = await echo({}, ["data"]);
    expect((await get(port)).served).toEqual(["data"]);
    const twice = await get(port, undefined, {
      headers: ["host", "localhost", "authorization", "Bearer a", "authorization", "Bearer b"],
    });
    expect(twice.authorization).toBe("Bearer a, Bearer b");
    const once = await get(port, undefined, { headers: { authorization: "Bearer a" } });
    expect(once.authorization).toBe("Bearer a");
  });

  it("never takes one alternative name for several", () => {
    expect(uriNames("URI:spiffe://a/b, DNS:x, IP Address:127.0.0.1")).toEqual(["spiffe://a/b"]);
    expect(uriNames('DNS:"x, URI:spiffe://a/evil", URI:spiffe://a/b')).toEqual(["spiffe://a/b"]);
    expect(uriNames('URI:"spiffe://a/b, URI:spiffe://a/evil"')).toEqual([
      '"spiffe://a/b, URI:spiffe://a/evil"',
    ]);
    expect(uriNames('DNS:"a\\", URI:spiffe://a/evil", DNS:b')).toEqual([]);
    expect(uriNames("URI:spiffe://a/b, URI:spiffe://a/c")).toEqual(["spiffe://a/b", "spiffe://a/c"]);
    expect(uriNames(undefined)).toEqual([]);
  });
});
