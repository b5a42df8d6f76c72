import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { readBody, seededRandom, type WireRequest } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { listen } from "@longshore/server";
import { manualClock, settle, transportContract } from "@longshore/testkit";
import { systemClock } from "../device/index.ts";
import { httpTransport } from "./http-transport.ts";

const call = housekeepingCall("test");
const limits = { maxBytes: 2 ** 20 };

transportContract("http", async (handler) => {
  const clock = systemClock();
  const listening = await listen(handler, { clock, random: seededRandom(1), port: 0 });
  return {
    transport: httpTransport({ address: listening.address, clock }),
    stop: () => listening.close(0),
  };
});

const get: WireRequest = { method: "GET", path: "/v2", headers: {}, body: { kind: "parts", parts: [] } };
const post: WireRequest = {
  ...get,
  method: "POST",
  body: { kind: "parts", parts: [new Uint8Array(5_000_000)] },
};

describe("http transport against servers that misbehave", () => {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  /** A raw TCP server that does as it likes with each connection. */
  const peer = async (serve: (socket: Socket) => void): Promise<string> => {
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      serve(socket);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    for (const server of servers.splice(0)) server.close();
  });

  const answering = (reply: string) => (socket: Socket) => {
    socket.once("data", () => socket.write(reply));
  };

  it("is unreachable where nothing listens", async () => {
    const address = await peer(() => undefined);
    await new Promise((resolve) => servers.splice(0)[0]?.close(resolve));
    const transport = httpTransport({ address, clock: systemClock() });
    await expect(transport.send(get, call)).rejects.toMatchObject({ reason: "unreachable" });
    await transport.close();
  });

  it("gives no-answer when the server stays silent, after the idle time on the injected clock", async () => {
    let asked = (): void => undefined;
    const reached = new Promise<void>((resolve) => (asked = resolve));
    const address = await peer((socket) => socket.once("data", asked));
    const clock = manualClock();
    const transport = httpTransport({ address, clock, idleTimeoutMs: 1000 });
    const sending = transport.send(get, call);
    const outcome = expect(sending).rejects.toMatchObject({ reason: "no-answer" });
    await reached;
    await settle();
    await clock.advance(999);
    await clock.advance(2000);
    await outcome;
    expect(clock.armed()).toBe(0);
    await transport.close();
  });

  it("gives no part of a reply for the whole when the call ends before all of it was handed over", async () => {
    const address = await peer(
      answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n\r"),
    );
    const transport = httpTransport({ address, clock: systemClock() });
    const abort = new AbortController();
    const { body } = await transport.send(get, { ...call, abort: abort.signal });
    const reading = body.kind === "stream" ? body.each?.(() => undefined) : undefined;
    abort.abort();
    await expect(reading).rejects.toMatchObject({ reason: "cancelled" });
    await transport.close();
  });

  it("gives no-answer when a reply stops halfway", async () => {
    const address = await peer(answering("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nhalf"));
    const clock = manualClock();
    const transport = httpTransport({ address, clock, idleTimeoutMs: 1000 });
    const reply = await transport.send(get, call);
    const reading = readBody(reply.body, {
      ...limits,
      arrived: () => void clock.advance(3000),
    });
    await expect(reading).rejects.toMatchObject({ reason: "no-answer" });
    await transport.close();
  });

  it("gives no-answer when the server resets the connection while the body is on its way", async () => {
    const address = await peer((socket) => {
      socket.once("data", () => socket.resetAndDestroy());
    });
    const transport = httpTransport({ address, clock: systemClock() });
    await expect(transport.send(post, call)).rejects.toMatchObject({ reason: "no-answer" });
    await transport.close();
  });

  it.each([100, 100_000])(
    "gives no-answer when a reply is shorter than the %i bytes it announces and the connection ends",
    async (announced) => {
      const address = await peer((socket) => {
        socket.once("data", () => socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${announced}\r\n\r\nshort`));
      });
      const transport = httpTransport({ address, clock: systemClock() });
      const read = async (): Promise<Uint8Array> => readBody((await transport.send(get, call)).body, limits);
      await expect(read()).rejects.toMatchObject({ reason: "no-answer" });
      await transport.close();
    },
  );

  it("calls a kept connection that the server closed unreachable, so that a plan may try again", async () => {
    let requests = 0;
    const address = await peer((socket) => {
      socket.on("data", () => {
        requests += 1;
        if (requests === 1) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        else socket.resetAndDestroy();
      });
    });
    const transport = httpTransport({ address, clock: systemClock() });
    const reply = await transport.send(get, call);
    await readBody(reply.body, limits);
    await settle();
    const once: WireRequest = { ...get, method: "POST" };
    await expect(transport.send(once, call)).rejects.toMatchObject({ reason: "unreachable" });
    await transport.close();
  });

  it("tells that the server ended a kept connection, and not that its own idle time did", async () => {
    const [closed, address] = [
      new Set<Socket>(),
      await peer(answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    ];
    const lost: string[] = [];
    const kept = async (keepAliveMs: number, name: string) => {
      const transport = httpTransport({ address, clock: systemClock(), keepAliveMs });
      const told = new Promise<void>((resolve) => {
        transport.watchLost?.(() => {
          lost.push(name);
          resolve();
        });
      });
      await readBody((await transport.send(get, call)).body, limits);
      const socket = [...sockets].at(-1)!;
      socket.once("close", () => closed.add(socket));
      return { transport, told, socket };
    };
    const brief = await kept(50, "its own idle time");
    await vi.waitFor(() => expect(closed).toContain(brief.socket), 30_000);
    const long = await kept(60_000, "the server");
    long.socket.destroy();
    await long.told;
    expect(lost).toEqual(["the server"]);
    await brief.transport.close();
    await long.transport.close();
  });

  it("calls other bytes than HTTP a bad reply", async () => {
    const address = await peer(answering("SSH-2.0-OpenSSH_9.2\r\n\r\n"));
    const transport = httpTransport({ address, clock: systemClock() });
    await expect(transport.send(get, call)).rejects.toMatchObject({ reason: "bad-reply" });
    await transport.close();
  });

  it("refuses a reply that announces, or turns out to have, more bytes than allowed", async () => {
    const announced = await peer(answering("HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n"));
    const first = httpTransport({ address: announced, clock: systemClock(), maxReplyBytes: 1000 });
    await expect(first.send(get, call)).rejects.toMatchObject({ reason: "bad-reply" });
    await first.close();

    const endless = await peer(
      answering(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n${"x".repeat(2000)}\r\n`),
    );
    const second = httpTransport({ address: endless, clock: systemClock(), maxReplyBytes: 1000 });
    const reply = await second.send(get, call);
    await expect(readBody(reply.body, limits)).rejects.toMatchObject({ reason: "bad-reply" });
    await second.close();
  });

  it("reports acknowledgements while the body is under way", async () => {
    const address = await peer((socket) => {
      let bytes = 0;
      socket.on("data", (chunk: Buffer) => {
        const before = bytes;
        bytes += chunk.length;
        for (const mark of [1_000_000, 3_000_000]) {
          if (before < mark && bytes >= mark) {
            socket.write(`HTTP/1.1 102 Processing\r\nlongshore-acknowledged: ${mark}\r\n\r\n`);
          }
        }
        if (bytes > 5_000_000) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
      });
    });
    const transport = httpTransport({ address, clock: systemClock() });
    const seen: number[] = [];
    const reply = await transport.send(post, call, (bytes) => seen.push(bytes));
    await readBody(reply.body, limits);
    expect(seen).toEqual([1_000_000, 3_000_000]);
    await transport.close();
  });

  it("says what a connection would take, and that none is needed while one is open", async () => {
    const clock = systemClock();
    const transport = httpTransport({
      address: await peer(answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")),
      clock,
    });
    expect(transport.connecting?.()).toEqual({ roundTrips: 1 });
    const reply = await transport.send(get, call);
    await readBody(reply.body, limits);
    // On a busy machine the connection may count as idle already.
    expect(transport.connecting?.()?.roundTrips ?? 0).toBe(0);
    for (const socket of sockets) socket.destroy();
    await vi.waitFor(() => expect(transport.connecting?.()?.roundTrips).toBe(1), 60_000);
    expect(transport.connecting?.()?.tookMs).toBeGreaterThanOrEqual(0);
    await transport.close();
  });

  it("says how long the open connection has been idle", async () => {
    const clock = manualClock();
    const transport = httpTransport({
      address: await peer(answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")),
      clock,
    });
    const reply = await transport.send(get, call);
    await readBody(reply.body, limits);
    expect(transport.connecting?.()).toBeUndefined();
    await clock.advance(700);
    expect(transport.connecting?.()).toEqual({ roundTrips: 0, idleMs: 700 });
    await transport.close();
  });

  it.each([
    ["https://edge:8000", 4],
    ["https://10.0.0.1:8000", 3],
    ["http://[::1]:8000", 1],
  ])("counts the round trips of name, TCP and TLS for %s", (address, roundTrips) => {
    expect(httpTransport({ address, clock: systemClock() }).connecting?.()).toEqual({ roundTrips });
  });

  it.each([
    ["edge:8000x", "edge:8000x"],
    ["not an\naddress", "not an?address"],
    ["http://me:secret@edge:8x", "edge:8x"],
  ])("refuses %j, which is no address, and says so without credentials", (address, shown) => {
    expect(() => httpTransport({ address, clock: systemClock() })).toThrow(
      expect.objectContaining({
        reason: "invalid-configuration",
        message: `'${shown}' is not an address such as https://host:8000`,
      }),
    );
  });
});
