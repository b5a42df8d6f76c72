import { once } from "node:events";
import { type ClientHttp2Session, connect as connectHttp2, constants } from "node:http2";
import { connect as connectTcp } from "node:net";
import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { credentials, status as codes } from "@grpc/grpc-js";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { emptyBody, type Handler, type Peer } from "@longshore/core";
import { createPeerReader, nodeTls } from "@longshore/server";
import { grpcStream } from "@longshore/testkit";
import { type TestAuthority, testAuthority } from "@longshore/testkit/certificates";
import { connect, doubling, failure, valuesOf } from "../../test/client.ts";
import { ModelInferRequestSchema } from "../proto/inference_pb.ts";
import { closeAll, listenOn, openServer } from "../../test/open-server.ts";

const sessions: ClientHttp2Session[] = [];
const clients: { close(): void }[] = [];
afterEach(async () => {
  for (const one of sessions.splice(0)) one.destroy();
  for (const one of clients.splice(0)) one.close();
  await closeAll();
});

function dial(address: string): ClientHttp2Session {
  const session = connectHttp2(`http://${address}`);
  session.on("error", () => undefined);
  sessions.push(session);
  return session;
}

const method = "/inference.GRPCInferenceService/ModelInfer";

/** Sends bytes as the body of a call; gives its status, or how it broke. */
function send(
  session: ClientHttp2Session,
  body: Uint8Array,
  headers: Record<string, string> = {},
  path: string = method,
): Promise<string> {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    let told: string | undefined;
    const note = (given: Record<string, string | string[] | number | undefined>): void => {
      if (given["grpc-status"] !== undefined) {
        told = [given["grpc-status"], given["longshore-reason"] ?? ""].join(" ");
      } else if (given[":status"] !== 200 && given[":status"] !== undefined) {
        told = ["HTTP", given[":status"]].join(" ");
      }
    };
    stream.on("response", note).on("trailers", note);
    stream.on("error", () => undefined);
    stream.on("close", () => resolve(told ?? `reset ${stream.rstCode}`));
    stream.resume();
    stream.end(body);
  });
}

function framed(message: Uint8Array, flag = 0, length: number = message.byteLength): Uint8Array {
  const whole = new Uint8Array(5 + message.byteLength);
  whole[0] = flag;
  new DataView(whole.buffer).setUint32(1, length);
  whole.set(message, 5);
  return whole;
}

const named = Uint8Array.of(0x0a, 6, ...Buffer.from("double"));

describe("hostile calls", () => {
  const invalid = `${codes.INVALID_ARGUMENT} invalid-input`;
  const mismatch = `${codes.INVALID_ARGUMENT} body-mismatch`;
  const cases: readonly [string, Uint8Array, Record<string, string>, string][] = [
    ["no message", new Uint8Array(0), {}, invalid],
    ["half a prefix", Uint8Array.of(0, 0, 0), {}, mismatch],
    ["a message that is cut short", framed(named, 0, 100), {}, mismatch],
    ["a flag that is neither 0 nor 1", framed(named, 7), {}, invalid],
    ["the compressed flag without an encoding", framed(named, 1), {}, invalid],
    [
      "an unknown encoding",
      framed(named, 1),
      { "grpc-encoding": "br" },
      `${codes.UNIMPLEMENTED} unsupported`,
    ],
    ["bytes that are not gzip", framed(named, 1), { "grpc-encoding": "gzip" }, mismatch],
    [
      "a bomb",
      framed(gzipSync(new Uint8Array(70 * 2 ** 20)), 1),
      { "grpc-encoding": "gzip" },
      `${codes.RESOURCE_EXHAUSTED} body-too-large`,
    ],
    ["a length of 4 GiB", framed(named, 0, 2 ** 32 - 1), {}, `${codes.RESOURCE_EXHAUSTED} body-too-large`],
    [
      "a varint without end",
      framed(Uint8Array.of(...named, ...Array.from({ length: 20 }, () => 0xff))),
      {},
      invalid,
    ],
    ["a field past the end", framed(Uint8Array.of(...named, 0x2a, 0x7f, 1)), {}, invalid],
    ["a second message", Buffer.concat([framed(named), framed(named)]), {}, invalid],
    ["a timeout that is none", framed(named), { "grpc-timeout": "soon" }, invalid],
    ["another content type", framed(named), { "content-type": "application/json" }, "HTTP 415"],
  ];
  it.each(cases)("%s gets a stable status", async (_what, body, headers, expected) => {
    const { address } = await openServer();
    const session = dial(address);
    expect(await send(session, body, headers)).toBe(expected);
    // The connection and the server live on.
    const client = connect(address);
    clients.push(client);
    expect(valuesOf((await client.infer(doubling([1]))).message)).toEqual([2]);
  });

  it("a deadline that has passed is DEADLINE_EXCEEDED", async () => {
    const handler: Handler = (_request, call) =>
      new Promise((_, reject) =>
        call.abort.addEventListener("abort", () => reject(call.abort.reason as Error)),
      );
    const { address } = await listenOn(handler);
    expect(await send(dial(address), framed(named), { "grpc-timeout": "1m" })).toBe(
      `${codes.DEADLINE_EXCEEDED} deadline-exceeded`,
    );
  });

  it("a message that does not come in time ends its call", async () => {
    const { address } = await openServer(undefined, { requestTimeoutMs: 40 });
    const session = dial(address);
    const status = await new Promise<unknown>((resolve) => {
      const stream = session.request({
        ":method": "POST",
        ":path": method,
        "content-type": "application/grpc",
      });
      stream.on("response", (headers) => resolve(headers["longshore-reason"]));
      stream.on("error", () => undefined);
      stream.write(framed(named, 0, 50));
    });
    expect(status).toBe("deadline-exceeded");
  });

  it("headers above the limit, other protocols and resets in numbers leave the server well", async () => {
    const { address } = await openServer();
    const [host = "", port = ""] = address.split(":");
    const flooded = dial(address);
    const headers = Object.fromEntries(
      Array.from({ length: 200 }, (_, index) => [`x-${index}`, "y".repeat(500)]),
    );
    expect(await send(flooded, framed(named), headers)).not.toBe("0 ");
    await new Promise<void>((resolve) => {
      const socket = connectTcp(Number(port), host, () => socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
      socket.on("error", () => undefined);
      socket.on("close", () => resolve());
      socket.resume();
    });
    const resetting = dial(address);
    for (let index = 0; index < 200; index++) {
      const stream = resetting.request({
        ":method": "POST",
        ":path": method,
        "content-type": "application/grpc",
      });
      stream.on("error", () => undefined);
      stream.write(framed(named, 0, 1000));
      stream.close(constants.NGHTTP2_CANCEL);
    }
    resetting.destroy();
    const client = connect(address);
    clients.push(client);
    expect(valuesOf((await client.infer(doubling([3]))).message)).toEqual([6]);
  });
});

describe("certificates", () => {
  let ours: TestAuthority;
  beforeAll(async () => {
    ours = await testAuthority("ours");
  });

  it("of clients reach the handler, and a client without one of the authority gets no connection", async () => {
    const server = await ours.issue({ name: "server", hosts: ["localhost"], addresses: ["127.0.0.1"] });
    const edge = await ours.issue({ name: "edge", uris: ["spiffe://store.example/edge/7"] });
    const peers: Peer[] = [];
    const handler: Handler = async ({ message, peer }) => {
      await message?.read();
      if (peer) peers.push(peer);
      return {
        status: 200,
        headers: {},
        body: emptyBody,
        message: { modelName: "m", parameters: {}, outputs: [] },
      };
    };
    const tls = nodeTls({
      certificate: server.certificatePem,
      key: server.keyPem,
      clientAuthorities: ours.certificatePem,
    });
    const listening = await listenOn(handler, { tls, peerOf: createPeerReader(() => Date.now()) });
    const authority = Buffer.from(ours.certificatePem);
    const known = connect(
      listening.address,
      credentials.createSsl(authority, Buffer.from(edge.keyPem), Buffer.from(edge.certificatePem)),
    );
    const stranger = connect(listening.address, credentials.createSsl(authority));
    clients.push(known, stranger);
    await known.infer(doubling([1]));
    expect(peers).toMatchObject([
      { encrypted: true, certificate: { verified: true, uris: ["spiffe://store.example/edge/7"] } },
    ]);
    expect((await failure(stranger.infer(doubling([1])))).code).toBe(codes.UNAVAILABLE);
    expect(() => listening.renew({ cert: "none", key: "none" })).toThrow("cannot be used");
    listening.renew(tls);
  });

  it.each(["without", "with"])(
    "whose reply is read slowly %s TLS: it is sent when all of it was read",
    async (tls) => {
      const { certificatePem, keyPem } = await ours.issue({ name: "server", hosts: ["localhost"] });
      const { listening } = await openServer(
        undefined,
        tls === "with" ? { tls: { cert: certificatePem, key: keyPem } } : {},
      );
      const { address } = listening;
      const session =
        tls === "with"
          ? connectHttp2(`https://${address}`, { ca: ours.certificatePem, servername: "localhost" })
          : connectHttp2(`http://${address}`);
      sessions.push(session);
      const long = create(ModelInferRequestSchema, doubling(Array.from({ length: 2 ** 20 }, () => 1)));
      const stream = grpcStream(session, "ModelInfer");
      stream.end(framed(toBinary(ModelInferRequestSchema, long)));
      await once(stream, "response");
      listening.drain();
      let isSent = false;
      const sent = listening.sent().then(() => (isSent = true));
      await new Promise((resolve) => session.ping(resolve));
      expect(isSent).toBe(false);
      let bytes = 0;
      stream.on("data", (chunk: Uint8Array) => (bytes += chunk.byteLength));
      await sent;
      await once(stream, "close");
      expect(bytes).toBeGreaterThan(2 ** 22);
    },
  );

  it("keep no server open for a client that began no handshake", { timeout: 30_000 }, async () => {
    const { certificatePem, keyPem } = await ours.issue({ name: "server", hosts: ["localhost"] });
    const handler: Handler = async () => ({ status: 200, headers: {}, body: emptyBody });
    const tls = { cert: certificatePem, key: keyPem, handshakeTimeout: 3_600_000 };
    const { port, close } = await listenOn(handler, { tls });
    const silent = connectTcp(port).on("error", () => undefined);
    await once(silent, "connect");
    // A later connection is accepted later.
    const other = connectTcp(port).on("error", () => undefined);
    other.write("no handshake");
    await once(other, "close");
    await close(0);
    silent.destroy();
  });

  it("that cannot be used are said so", async () => {
    const handler: Handler = async () => ({ status: 200, headers: {}, body: emptyBody });
    await expect(listenOn(handler, { tls: { cert: "none", key: "none" } })).rejects.toMatchObject({
      reason: "invalid-configuration",
    });
  });
});
