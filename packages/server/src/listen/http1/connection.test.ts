import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type Handler, readBody, seededRandom, type WireRequest, type WireResponse } from "@longshore/core";
import { UnderWay } from "@longshore/core/internal";
import { manualClock, settle } from "@longshore/testkit";
import { on } from "../../../test/on-port.ts";
import { createAdmissions } from "../admissions.ts";
import { connectionEnds } from "../exchange.ts";
import type { Listening } from "../listen.ts";
import { completeHttpOptions } from "../options.ts";
import { http1Connections } from "./connections.ts";

const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

interface Client {
  readonly socket: Socket;
  /** All that was heard so far. */
  readonly heard: () => string;
  until(end: string): Promise<string>;
}

async function client({ port }: Pick<Listening, "port">): Promise<Client> {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  let heard = "";
  let look = (): void => undefined;
  socket
    .on("error", () => undefined)
    .on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
      look();
    });
  await once(socket, "connect");
  const until = (end: string): Promise<string> =>
    new Promise((resolve, reject) => {
      socket.once("close", () => reject(new Error("the connection closed before all was heard")));
      look = () => {
        if (heard.endsWith(end)) resolve(heard);
      };
      look();
    });
  return { socket, heard: () => heard, until };
}

const post = (text: string, headers = ""): string =>
  `POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${text.length}\r\n${headers}\r\n${text}`;

const reply = (text: string): WireResponse => ({
  status: 200,
  headers: { "x-said": "yes" },
  body: { kind: "parts", parts: [new TextEncoder().encode(text)] },
});

const some = new TextEncoder().encode("some");

/** A reply that is streamed. */
const streamed = (byteLength: number | undefined, read: () => AsyncIterable<Uint8Array>): WireResponse => ({
  status: 200,
  headers: {},
  body: { kind: "stream", byteLength, read },
});

/** Says again what came, and which requests there were. */
function echo(): { readonly handler: Handler; readonly asked: WireRequest[] } {
  const asked: WireRequest[] = [];
  return {
    asked,
    async handler(request) {
      asked.push(request);
      return reply(new TextDecoder().decode(await readBody(request.body, { maxBytes: 2 ** 24 })));
    },
  };
}

/** A client of such connections alone, with the server's end of its connection. */
async function bothEnds(handler: Handler): Promise<Client & { readonly served: Socket }> {
  let served: Socket | undefined;
  const options = completeHttpOptions({ clock: manualClock(), random: seededRandom(1), port: 0 });
  const admissions = createAdmissions(options);
  const own = http1Connections({
    handler,
    options,
    admissions,
    peerOf: (socket) => {
      served = socket;
      return { address: "127.0.0.1", loopback: true };
    },
    endOf: connectionEnds(),
    leaving: () => false,
    release: () => undefined,
    sending: new UnderWay(),
    handOver: (socket) => socket.destroy(),
  });
  const server = createServer((socket) => {
    const admission = admissions.accept(socket);
    if (admission) own.take(socket, admission);
  }).listen(0, "127.0.0.1");
  const accepted = once(server, "connection");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const one = await client({ port });
  await accepted;
  if (!served) throw new Error("nobody asked whose connection it is");
  sockets.push(served);
  server.close();
  return { ...one, served };
}

describe("a connection with plain requests", () => {
  it("answers whole messages and pieces alike, one after the other", async () => {
    const { handler, asked } = echo();
    const { socket, until } = await client(await on(handler));
    socket.write(post("one"));
    const whole = await until("one");
    socket.write(post("two"));
    await until("two");
    const text = post("three", "accept: */*\r\n");
    socket.write(text.slice(0, 30));
    await settle();
    socket.write(text.slice(30));
    const all = await until("three");
    socket.write(post("four"));
    await until("four");
    expect(whole).toMatch(/^HTTP\/1\.1 200 OK\r\nx-said: yes\r\ncontent-length: 3\r\ndate: [^\r]* GMT\r\n/i);
    const inPieces = all.slice(all.indexOf("two") + 3);
    const lines = (heard: string): readonly string[] =>
      heard.slice(0, heard.indexOf("\r\n\r\n")).toLowerCase().split("\r\n").toSorted();
    const changing = /^(date|content-length):/;
    expect(lines(inPieces).filter((one) => !changing.test(one))).toEqual(
      lines(whole).filter((one) => !changing.test(one)),
    );
    expect(asked.map(({ path, headers }) => [path, headers["content-length"], headers["host"]])).toEqual(
      ["3", "3", "5", "4"].map((length) => ["/echo", length, "localhost"]),
    );
    for (const { peer } of asked) expect(peer).toEqual({ address: "127.0.0.1", loopback: true });
  });

  it("answers several requests that come at once, in their order", async () => {
    const { handler } = echo();
    const { socket, until } = await client(await on(handler));
    socket.write(`${post("one")}${post("two")}${post("three", "te: x\r\n")}${post("four")}`);
    expect((await until("four")).match(/one|two|three|four/g)).toEqual(["one", "two", "three", "four"]);
  });

  it("answers questions without a body, too, before requests and between them", async () => {
    const asked: WireRequest[] = [];
    // This listener ends connections that are not for it.
    const { socket, until } = await bothEnds(async (request) => {
      asked.push(request);
      const text = new TextDecoder().decode(await readBody(request.body, { maxBytes: 100 }));
      return reply(`${request.method} of ${text}.`);
    });
    const question = "GET /v2?a=b HTTP/1.1\r\nhost: localhost\r\n\r\n";
    socket.write(`${question}${post("one")}`);
    await until("POST of one.");
    socket.write(question);
    expect((await until("GET of .")).match(/GET of \.|POST of one\./g)).toEqual([
      "GET of .",
      "POST of one.",
      "GET of .",
    ]);
    expect(asked.map(({ method, path }) => [method, path])).toEqual([
      ["GET", "/v2?a=b"],
      ["POST", "/echo"],
      ["GET", "/v2?a=b"],
    ]);
  });

  it("reads no further ahead than one piece, however many requests come at once", async () => {
    let asked = 0;
    let reached = (): void => undefined;
    const isReached = new Promise<void>((resolve) => (reached = resolve));
    const { socket, served } = await bothEnds(async () => {
      asked += 1;
      await settle();
      if (asked < 100) return reply("ok");
      reached();
      return new Promise(() => undefined);
    });
    socket.write(post("one").repeat(100_000));
    await isReached;
    await settle();
    expect(served.bytesRead).toBeLessThan(4 * 65_536);
  });

  it("serves nothing further to a client that does not read its replies, and all of it once it does", async () => {
    const large = "A".repeat(3_000_000);
    let asked = 0;
    const { socket, served } = await bothEnds(() => {
      asked += 1;
      return Promise.resolve(reply(asked < 40 ? large : "the last"));
    });
    socket.pause();
    socket.write(post("one").repeat(40));
    while (!served.writableNeedDrain) await settle();
    for (let turn = 0; turn < 100; turn++) await settle();
    expect(served.writableLength).toBeLessThan(2 * large.length);
    expect(asked).toBeLessThan(40);
    const all = new Promise<void>((resolve) => {
      socket.on("data", (chunk: Buffer) => chunk.toString("latin1").endsWith("the last") && resolve());
    });
    socket.resume();
    await all;
    expect(asked).toBe(40);
  });

  it("hands on bodies of megabytes as they come, for any reader, and the bytes after them", async () => {
    const read: number[] = [];
    const { port } = await on(async ({ body }) => {
      let bytes = 0;
      if (read.length % 2 === 0 || body.kind === "parts") {
        bytes = (await readBody(body, { maxBytes: 2 ** 24 })).byteLength;
      } else {
        for await (const chunk of body.read()) {
          bytes += chunk.byteLength;
          await settle();
        }
      }
      read.push(bytes);
      return reply(`${bytes}.`);
    });
    const { socket, until } = await client({ port });
    const long = "x".repeat(3_000_000);
    socket.write(`${post(long)}${post(`${long}y`)}${post("z")}`);
    await until("\r\n\r\n1.");
    expect(read).toEqual([3_000_000, 3_000_001, 1]);
  });

  it("sends replies of megabytes, and streams of unknown length in chunks", async () => {
    const large = new Uint8Array(2_000_000).fill(65);
    const listening = await on(({ path }) =>
      Promise.resolve(
        path === "/echo"
          ? {
              status: 200,
              headers: {},
              body: { kind: "parts" as const, parts: [large], given: true as const },
            }
          : streamed(undefined, async function* () {
              yield some;
              yield new Uint8Array(0);
              await settle();
              yield new Uint8Array(300_000).fill(65);
            }),
      ),
    );
    const { socket, until, heard } = await client(listening);
    socket.write(post("a"));
    await until("A".repeat(2_000_000));
    socket.write(post("b").replace("/echo", "/stream"));
    await until("\r\n0\r\n\r\n");
    const stream = heard().slice(heard().lastIndexOf("HTTP/1.1"));
    expect(stream).toMatch(/^[^\0]*\r\ntransfer-encoding: chunked\r\n/);
    const sent = stream.slice(stream.indexOf("\r\n\r\n") + 4);
    expect(sent === `4\r\nsome\r\n493e0\r\n${"A".repeat(300_000)}\r\n0\r\n\r\n`).toBe(true);
  });

  it("tells the handler when the client goes away in the middle of a body", async () => {
    const failures: unknown[] = [];
    let over = (): void => undefined;
    const isOver = new Promise<void>((resolve) => (over = resolve));
    const listening = await on(async ({ body }, call) => {
      try {
        await readBody(body, { maxBytes: 2 ** 24 });
      } catch (thrown) {
        failures.push(thrown, call.abort.aborted);
        over();
      }
      return reply("");
    });
    const { socket } = await client(listening);
    socket.write(post("x".repeat(200_000)).slice(0, 150_000));
    await settle();
    socket.destroy();
    await isOver;
    expect(failures).toMatchObject([{ reason: "body-mismatch" }, true]);
  });

  it("breaks a connection rather than sending a header with an end of line", async () => {
    const { socket } = await client(
      await on(() => Promise.resolve({ ...reply(""), headers: { x: "a\r\ny: b" } })),
    );
    const closed = once(socket, "close");
    socket.write(post("a"));
    await closed;
  });

  it("writes nothing into a streamed reply when the request takes too long to arrive", async () => {
    const clock = manualClock();
    const listening = await on(
      () =>
        Promise.resolve(
          streamed(1000, async function* () {
            yield some;
            await new Promise(() => undefined);
          }),
        ),
      { clock, headersTimeoutMs: 100, requestTimeoutMs: 150 },
    );
    const { socket, until, heard } = await client(listening);
    const closed = once(socket, "close");
    socket.write(post("x".repeat(1000)).slice(0, -1));
    await until("some");
    await clock.advance(150);
    await closed;
    expect(heard()).not.toContain("408");
  });

  it("leaves heads beyond the limit of headers to Node.js, which refuses them", async () => {
    const { socket, until } = await client(await on(echo().handler, { maxHeaderBytes: 1024 }));
    socket.write(post("one", `x: ${"y".repeat(2000)}\r\n`));
    expect(await until("}")).toMatch(/^HTTP\/1\.1 431/);
  });

  it("ends after the reply under way when the listener closes meanwhile", async () => {
    let goOn = (): void => undefined;
    const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
    const listening = await on(() =>
      Promise.resolve(
        streamed(undefined, async function* () {
          yield some;
          await mayGoOn;
        }),
      ),
    );
    const { socket, until } = await client(listening);
    socket.write(post("one"));
    await until("some\r\n");
    const closed = once(socket, "close");
    const closing = listening.close();
    goOn();
    await until("\r\n0\r\n\r\n");
    await Promise.all([closed, closing]);
  });

  it("ends soon after the last reply, also where the client keeps its half open and goes on sending", async () => {
    const clock = manualClock();
    const listening = await on(echo().handler, { clock });
    listening.drain();
    const socket = connect({ port: listening.port, host: "127.0.0.1", allowHalfOpen: true });
    sockets.push(socket);
    const closed = new Promise((resolve) => socket.on("error", () => undefined).once("close", resolve));
    socket.resume();
    socket.write(post("one"));
    await once(socket, "end");
    socket.write(post("two"));
    while (clock.armed() === 0) await settle();
    await clock.advance(2000);
    socket.end();
    await closed;
    expect(clock.armed()).toBe(0);
  });

  it("answers a client that ends its half after the request, and ends", async () => {
    let goOn = (): void => undefined;
    const gate = new Promise<void>((resolve) => (goOn = resolve));
    const aborted: boolean[] = [];
    const clock = manualClock();
    const listening = await on(
      async ({ body }, call) => {
        const text = new TextDecoder().decode(await readBody(body, { maxBytes: 1000 }));
        await gate;
        aborted.push(call.abort.aborted);
        return reply(text);
      },
      { clock },
    );
    const socket = connect({ port: listening.port, host: "127.0.0.1", allowHalfOpen: true });
    sockets.push(socket);
    let heard = "";
    socket.on("data", (chunk: Buffer) => (heard += chunk.toString("latin1")));
    socket.end(post("one"));
    const closed = once(socket, "end");
    while (!heard.endsWith("\r\n\r\n") && !socket.readableEnded) await settle();
    await clock.advance(5000);
    goOn();
    await closed;
    socket.destroy();
    expect(heard).toMatch(
      /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*connection: close\r\n[^]*one$/i,
    );
    expect(aborted).toEqual([false]);
    while (clock.armed() > 0) await settle();
  });

  it("writes nothing after an unread reply to a client that ends its half", async () => {
    const listening = await on(() => Promise.resolve(reply("A".repeat(16_000_000))));
    const socket = connect({ port: listening.port, host: "127.0.0.1", allowHalfOpen: true });
    sockets.push(socket);
    socket.write(post("a"));
    await once(socket, "readable");
    socket.end();
    await once(socket, "finish");
    let heard = "";
    for await (const chunk of socket) heard = `${heard.slice(-100)}${(chunk as Buffer).toString("latin1")}`;
    expect(heard).toMatch(/A$/);
  });

  it("ends when it is idle for too long", async () => {
    const { socket, until } = await client(await on(echo().handler, { keepAliveMs: 50 }));
    const closed = once(socket, "close");
    socket.write(post("one"));
    await until("one");
    await closed;
    const silent = await client(await on(echo().handler, { headersTimeoutMs: 50 }));
    await once(silent.socket, "close");
  });

  it("says that a reply is the last when the listener drains, and ends idle ones when it closes", async () => {
    const listening = await on(echo().handler);
    const [busy, idle] = [await client(listening), await client(listening)];
    idle.socket.write(post("one"));
    await idle.until("one");
    listening.drain();
    busy.socket.write(post("two"));
    expect(await busy.until("two")).toContain("\r\nconnection: close\r\n");
    const ended = Promise.all([busy, idle].map(async ({ socket }) => socket.closed || once(socket, "close")));
    await listening.close();
    await ended;
  });
});
