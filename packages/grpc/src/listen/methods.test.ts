import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { virtualClock } from "@longshore/lab";
import { afterEach, describe, expect, it } from "vitest";
import { closeAll, listenOn } from "../../test/open-server.ts";
import type { GrpcListenOptions } from "../index.ts";
import { HealthCheckRequestSchema, HealthCheckResponseSchema } from "../proto/health_pb.ts";
import type { Method, MethodCall } from "../service/index.ts";

const sessions: ClientHttp2Session[] = [];

afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  await closeAll();
});

/** Node.js's own client of HTTP/2: nothing of the code under test frames its messages. */
async function open(method: Method, options: Partial<GrpcListenOptions> = {}) {
  const listening = await listenOn(
    async ({ path }) => ({
      status: path === "/v2/health/live" || path === "/v2" ? 200 : 503,
      headers: {},
      body: { kind: "parts", parts: [] },
    }),
    { services: [{ name: "test.Echo", methods: { Talk: method } }], ...options },
  );
  const session = connect(`http://${listening.address}`);
  session.on("error", () => undefined);
  sessions.push(session);
  const call = (path = "/test.Echo/Talk", headers: Record<string, string> = {}): ClientHttp2Stream => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    stream.on("error", () => undefined);
    return stream;
  };
  return { listening, session, call };
}

function frame(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([prefix, message]);
}

/** All messages, and gRPC's status, which comes with the headers where there are no messages. */
async function rest(stream: ClientHttp2Stream) {
  let status: string | undefined;
  stream.on("response", (headers) => void (status ??= headers["grpc-status"] as string | undefined));
  stream.on("trailers", (headers) => void (status ??= headers["grpc-status"] as string | undefined));
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => void chunks.push(chunk));
  await once(stream, "close");
  const bytes = Buffer.concat(chunks);
  const messages: Buffer[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const length = bytes.readUInt32BE(at + 1);
    messages.push(bytes.subarray(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return { status, messages };
}

const echo: Method = async ({ next, send }) => {
  for (let message = await next(); message; message = await next()) await send(message);
};

describe("a method of another service", () => {
  it("keeps a connection whose client resets each call once it is answered, as proxies do", async () => {
    // Time that does not pass gives no allowance back.
    const { session, call } = await open(echo, { clock: virtualClock() });
    for (let at = 0; at < 1010; at++) {
      const stream = call();
      stream.write(frame(Buffer.from("one")));
      await once(stream, "data");
      stream.close(constants.NGHTTP2_CANCEL);
      await once(stream, "close");
    }
    expect(session.closed || session.destroyed).toBe(false);
  }, 60_000);

  it("sends an answer before the client has sent its last message", async () => {
    const { call } = await open(echo);
    const stream = call();
    stream.write(frame(Buffer.from("one")));
    const [first] = (await once(stream, "data")) as [Buffer];
    expect(first.subarray(5).toString()).toBe("one");
    stream.write(frame(Buffer.from("two")));
    const [second] = (await once(stream, "data")) as [Buffer];
    expect(second.subarray(5).toString()).toBe("two");
    const end = rest(stream);
    stream.end();
    expect(await end).toEqual({ status: "0", messages: [] });
  });

  it("carries large and empty messages", async () => {
    const { call } = await open(echo);
    const stream = call();
    const end = rest(stream);
    const large = Buffer.alloc(3_000_000, 7);
    stream.write(frame(large));
    stream.end(frame(Buffer.alloc(0)));
    const { status, messages } = await end;
    expect(status).toBe("0");
    expect(messages.map((one) => one.byteLength)).toEqual([3_000_000, 0]);
    expect(messages[0]?.equals(large)).toBe(true);
  });

  it("may answer without reading, and any number of times", async () => {
    const { call } = await open(async ({ send }) => {
      for (let at = 0; at < 100; at++) await send(Buffer.from(`${at}`));
    });
    const stream = call();
    const { status, messages } = await rest(stream);
    expect(status).toBe("0");
    expect(messages.map(String)).toEqual(Array.from({ length: 100 }, (_, at) => `${at}`));
  });

  it("is held back by a client that does not read", async () => {
    let sent = 0;
    const message = Buffer.alloc(100_000);
    const { call, listening } = await open(async ({ send }) => {
      for (; sent < 1000; sent++) await send(message);
    });
    const stream = call();
    await once(stream, "response");
    // A second call is answered meanwhile, and the first one goes no further than the windows.
    const probe = connect(`http://${listening.address}`);
    sessions.push(probe);
    await once(probe, "remoteSettings");
    expect(sent).toBeLessThan(200);
    stream.close(constants.NGHTTP2_CANCEL);
    await once(stream, "close");
    expect(sent).toBeLessThan(200);
  });

  it("holds back a client whose messages are not read", async () => {
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    let taken = 0;
    const { call } = await open(
      async ({ next }) => {
        await next();
        await held;
        while (await next()) taken++;
      },
      { callWindowBytes: 65_536 },
    );
    const stream = call();
    const end = rest(stream);
    const message = frame(Buffer.alloc(100_000));
    for (let at = 0; at < 20; at++) stream.write(message);
    stream.end();
    await new Promise((resolve) => stream.session?.ping(resolve));
    // All but what the window takes is still with the client.
    expect(stream.writableLength).toBeGreaterThan(1_000_000);
    goOn();
    expect((await end).status).toBe("0");
    expect(taken).toBe(19);
  });

  it("refuses a message beyond the limit of the listener", async () => {
    const limits = { ...(await import("@longshore/core")).defaultWireLimits, maxBodyBytes: 1000 };
    const { call } = await open(echo, { limits });
    const stream = call();
    const end = rest(stream);
    stream.end(frame(Buffer.alloc(1001)));
    expect(await end).toEqual({ status: "8", messages: [] });
  });

  it("ends with the client's deadline, and its call is aborted", async () => {
    const seen: MethodCall[] = [];
    const { call } = await open(async (one) => {
      seen.push(one);
      await one.next();
    });
    const stream = call("/test.Echo/Talk", { "grpc-timeout": "50m" });
    expect((await rest(stream)).status).toBe("4");
    expect(seen[0]?.call.abort.aborted).toBe(true);
  });

  it("hears that the client gave up", async () => {
    let aborted = (): void => undefined;
    const gone = new Promise<void>((resolve) => (aborted = resolve));
    const failed: unknown[] = [];
    const { call } = await open(async ({ call: { abort }, next, send }) => {
      abort.addEventListener("abort", () => aborted());
      await send(Buffer.from("here"));
      await next().catch((thrown: unknown) => {
        failed.push(thrown);
        throw thrown;
      });
    });
    const stream = call();
    await once(stream, "data");
    stream.close(constants.NGHTTP2_CANCEL);
    await gone;
    await new Promise((resolve) => setImmediate(resolve));
    expect(failed).toMatchObject([{ reason: "cancelled" }]);
  });

  it("reports its error as a status, without words that are not ours", async () => {
    const { call } = await open(async () => {
      throw new TypeError("/secret/path");
    });
    const stream = call();
    let message = "";
    stream.on("response", (headers) => void (message = headers["grpc-message"] as string));
    expect((await rest(stream)).status).toBe("13");
    expect(message).not.toContain("secret");
  });

  it("stands beside a service whose other methods do not exist", async () => {
    const { call } = await open(echo);
    expect((await rest(call("/test.Echo/Other").end())).status).toBe("12");
  });

  it("is known to health checks by its service, and by names that the listener adds", async () => {
    const { call } = await open(echo, { healthNames: { liveness: "/v2/health/live" } });
    const check = async (service: string) => {
      const stream = call("/grpc.health.v1.Health/Check");
      const end = rest(stream);
      stream.end(frame(toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service }))));
      const { status, messages } = await end;
      return messages[0] ? fromBinary(HealthCheckResponseSchema, messages[0]).status : `refused ${status}`;
    };
    expect(await check("liveness")).toBe(1);
    expect(await check("test.Echo")).toBe(2);
    expect(await check("other")).toBe("refused 5");
  });
});
