import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { emptyBody, readBody, seededRandom } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { systemClock as nodeClock } from "@longshore/nodejs";
import { listen } from "@longshore/server";
import { manualClock, settle, transportContract } from "@longshore/testkit";
import { systemClock } from "../device/index.ts";
import { fetchTransport } from "./fetch-transport.ts";

transportContract("fetch", async (handler) => {
  const listening = await listen(handler, { clock: nodeClock(), random: seededRandom(1), port: 0 });
  return {
    transport: fetchTransport({ address: listening.address, clock: systemClock() }),
    stop: () => listening.close(0),
  };
});

const call = housekeepingCall("test");
const get = { method: "GET", path: "/v2", headers: {}, body: emptyBody } as const;

describe("fetch transport", () => {
  const against = async <T>(
    serve: (socket: Socket) => void,
    use: (address: string) => Promise<T>,
  ): Promise<T> => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      serve(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  };

  it("gives no-answer when nothing comes for the idle time, on the injected clock", async () => {
    let asked = (): void => undefined;
    const reached = new Promise<void>((resolve) => (asked = resolve));
    await against(
      (socket) => socket.once("data", asked),
      async (address) => {
        const clock = manualClock();
        const sending = fetchTransport({ address, clock, idleTimeoutMs: 500 }).send(get, call);
        const outcome = expect(sending).rejects.toMatchObject({ reason: "no-answer" });
        await reached;
        await settle();
        await clock.advance(500);
        await outcome;
        expect(clock.armed()).toBe(0);
      },
    );
  });

  it("counts a connection as open for five seconds after an answer", async () => {
    const reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    await against(
      (socket) => socket.on("data", () => socket.write(reply)),
      async (address) => {
        const clock = manualClock();
        const transport = fetchTransport({ address, clock });
        expect(transport.connecting?.()).toEqual({ roundTrips: 1 });
        const { body } = await transport.send(get, call);
        // It is still in use.
        expect(transport.connecting?.()).toEqual({ roundTrips: 1 });
        await readBody(body, { maxBytes: 1e6 });
        expect(transport.connecting?.()).toBeUndefined();
        await clock.advance(700);
        expect(transport.connecting?.()).toEqual({ roundTrips: 0, idleMs: 700 });
        await clock.advance(5000);
        expect(transport.connecting?.()).toEqual({ roundTrips: 1 });
      },
    );
  });

  it("refuses a reply that turns out larger than allowed", async () => {
    const reply = `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n${"x".repeat(2000)}\r\n0\r\n\r\n`;
    await against(
      (socket) => socket.once("data", () => socket.write(reply)),
      async (address) => {
        const transport = fetchTransport({ address, clock: systemClock(), maxReplyBytes: 1000 });
        const { body } = await transport.send(get, call);
        await expect(readBody(body, { maxBytes: 1e6 })).rejects.toMatchObject({ reason: "bad-reply" });
      },
    );
  });

  it("sends no request whose credentials come after it was closed", async () => {
    let give: (token: string) => void = () => undefined;
    const bearer = new Promise<string>((resolve) => (give = resolve));
    let asked = 0;
    const transport = fetchTransport({
      address: "https://127.0.0.1:1",
      clock: systemClock(),
      credentials: { bearer: () => bearer },
      fetch: () => {
        asked++;
        return Promise.reject(new Error("nothing is to be asked"));
      },
    });
    const sending = expect(transport.send(get, call)).rejects.toMatchObject({
      reason: "unreachable",
      message: expect.stringContaining("closed") as string,
    });
    await transport.close();
    give("a-token");
    await sending;
    expect(asked).toBe(0);
  });

  it("is unreachable where nothing listens", async () => {
    const address = await against(
      () => undefined,
      async (it) => it,
    );
    await expect(fetchTransport({ address, clock: systemClock() }).send(get, call)).rejects.toMatchObject({
      reason: "unreachable",
    });
  });
});
