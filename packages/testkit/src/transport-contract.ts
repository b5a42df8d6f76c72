import { getEventListeners } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import {
  type Call,
  emptyBody,
  type Handler,
  LongshoreError,
  readBody,
  type Transport,
  type WireBody,
  type WireRequest,
} from "@longshore/core";
import { acknowledgeHeader, bodyLength, childCall, housekeepingCall } from "@longshore/core/internal";

/** A transport that leads to the handler of a test. */
export interface TransportUnderTest {
  readonly transport: Transport;
  /** Takes down what serves the handler; the transport is closed by the test. */
  stop(): Promise<void>;
}

const call = housekeepingCall("contract");
const everything = { maxBytes: 2 ** 26 };

function parts(...list: readonly Uint8Array[]): WireBody {
  return { kind: "parts", parts: list };
}

function post(body: WireBody, headers: Readonly<Record<string, string>> = {}): WireRequest {
  return { method: "POST", path: "/v2/echo?x=1", headers, body };
}

/** Bytes that tell whether anything was swapped, lost or doubled. */
function counted(length: number, from = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index + from) % 251);
}

/** Where two byte strings differ first, which is quicker to tell for megabytes than a matcher is. */
function difference(a: Uint8Array, b: Uint8Array): number | undefined {
  if (a.byteLength !== b.byteLength) return Math.min(a.byteLength, b.byteLength);
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at < 0 ? undefined : at;
}

const echo: Handler = async (request) => {
  const bytes = await readBody(request.body, everything);
  return {
    status: 200,
    headers: { "x-method": request.method, "x-path": request.path, "x-tag": request.headers["x-tag"] ?? "" },
    body: parts(bytes),
  };
};

/** The contract of every `Transport` (`core/wire/transport/transport.ts`). */
export function transportContract(
  name: string,
  make: (handler: Handler) => Promise<TransportUnderTest>,
): void {
  describe(`transport contract: ${name}`, () => {
    const open: TransportUnderTest[] = [];
    const to = async (handler: Handler): Promise<Transport> => {
      const under = await make(handler);
      open.push(under);
      return under.transport;
    };
    afterEach(async () => {
      for (const { transport, stop } of open.splice(0)) {
        await transport.close();
        await stop();
      }
    });

    it("carries method, path, query, headers and body both ways", async () => {
      const transport = await to(echo);
      const reply = await transport.send(post(parts(counted(10)), { "x-tag": "seven" }), call);
      expect(reply.status).toBe(200);
      expect(reply.headers).toMatchObject({ "x-method": "POST", "x-path": "/v2/echo?x=1", "x-tag": "seven" });
      expect(await readBody(reply.body, everything)).toEqual(counted(10));
    });

    it("sends parts in order, large ones too, and announces their length", async () => {
      let announced: number | undefined;
      const transport = await to((request, base) => {
        announced = bodyLength(request.body);
        return echo(request, base);
      });
      const body = parts(counted(100_000), counted(3), counted(2_000_000, 7));
      const reply = await transport.send(post(body), call);
      const bytes = await readBody(reply.body, everything);
      expect(announced).toBe(2_100_003);
      expect(bytes.byteLength).toBe(2_100_003);
      expect(difference(bytes.subarray(0, 100_000), counted(100_000))).toBeUndefined();
      expect(difference(bytes.subarray(100_003), counted(2_000_000, 7))).toBeUndefined();
    });

    it("carries bodies of known length in any pieces, empty ones too, or in none", async () => {
      const transport = await to(echo);
      for (const pieces of [[], [0], [0, 3], [3, 0, 4, 0]]) {
        const given = pieces.map((length) => counted(length));
        const body: WireBody = {
          kind: "stream",
          byteLength: pieces.reduce((sum, length) => sum + length, 0),
          async *read() {
            yield* given;
          },
        };
        const reply = await transport.send(post(body), call);
        expect(await readBody(reply.body, everything)).toEqual(
          Uint8Array.from(given.flatMap((one) => [...one])),
        );
      }
    });

    it("carries a request without a body and a reply without one", async () => {
      const transport = await to(async (request) => ({
        status: 204,
        headers: { "x-length": String(bodyLength(request.body)) },
        body: emptyBody,
      }));
      const reply = await transport.send({ method: "GET", path: "/v2", headers: {}, body: emptyBody }, call);
      expect(reply.status).toBe(204);
      expect(reply.headers["x-length"]).toBe("0");
      expect((await readBody(reply.body, everything)).byteLength).toBe(0);
    });

    it("carries a reply that is streamed without a known length", async () => {
      const transport = await to(async () => ({
        status: 200,
        headers: {},
        body: {
          kind: "stream",
          byteLength: undefined,
          async *read() {
            for (let part = 0; part < 5; part++) yield counted(1000, part * 1000);
          },
        },
      }));
      const reply = await transport.send(post(parts(counted(1))), call);
      expect(await readBody(reply.body, everything)).toEqual(counted(5000));
    });

    it("makes any status a result, the body readable", async () => {
      const transport = await to(async () => ({
        status: 503,
        headers: { "retry-after": "2" },
        body: parts(counted(5)),
      }));
      const reply = await transport.send(post(parts(counted(1))), call);
      expect(reply.status).toBe(503);
      expect(reply.headers["retry-after"]).toBe("2");
      expect(await readBody(reply.body, everything)).toEqual(counted(5));
    });

    it("gives the reply to a request whose body was not read", async () => {
      const transport = await to(async () => ({ status: 404, headers: {}, body: parts(counted(4)) }));
      const reply = await transport.send(post(parts(counted(3_000_000))), call);
      expect(reply.status).toBe(404);
      expect(await readBody(reply.body, everything)).toEqual(counted(4));
      const again = await transport.send(post(parts(counted(10))), call);
      expect(again.status).toBe(404);
      await readBody(again.body, everything);
    });

    it("keeps exchanges that run at once apart", async () => {
      const transport = await to(echo);
      const replies = await Promise.all(
        [1, 2, 3, 4, 5, 6, 7, 8].map(async (seed) => {
          const reply = await transport.send(post(parts(counted(50_000, seed))), call);
          return readBody(reply.body, everything);
        }),
      );
      const differences = replies.map((bytes, index) => difference(bytes, counted(50_000, index + 1)));
      expect(differences).toEqual(replies.map(() => undefined));
    });

    it("reports the peer's acknowledgements, growing, if it promises to", async () => {
      const transport = await to(async (request, _base, received) => {
        await readBody(request.body, { ...everything, arrived: (bytes) => received?.(bytes) });
        return { status: 200, headers: {}, body: emptyBody };
      });
      const seen: number[] = [];
      const body = parts(counted(1_500_000));
      const asked = { ...post(body), headers: { [acknowledgeHeader]: "65536" } };
      const reply = await transport.send(asked, call, (bytes) => seen.push(bytes));
      await readBody(reply.body, everything);
      if (transport.progress === "none") {
        expect(seen).toEqual([]);
        return;
      }
      expect(seen.length).toBeGreaterThan(1);
      expect([...seen].sort((a, b) => a - b)).toEqual(seen);
      expect(seen.at(-1)).toBe(1_500_000);
    });

    it("rejects with the call's own error while waiting, and ends the handler's call", async () => {
      let ended: (() => void) | undefined;
      const handlerEnded = new Promise<void>((resolve) => (ended = resolve));
      let started: (() => void) | undefined;
      const handlerStarted = new Promise<void>((resolve) => (started = resolve));
      const transport = await to(
        (_request, base: Call) =>
          new Promise((_, reject) => {
            base.abort.addEventListener("abort", () => {
              ended?.();
              reject(base.abort.reason as Error);
            });
            started?.();
          }),
      );
      const child = childCall(call);
      const sending = transport.send(post(parts(counted(10))), child.call);
      const outcome = expect(sending).rejects.toMatchObject({ reason: "deadline-exceeded", stage: "plan" });
      await handlerStarted;
      child.cancel(new LongshoreError("deadline-exceeded", "plan", "the test's own reason"));
      await outcome;
      await handlerEnded;
    });

    it("adds one listener at most to a signal that many requests share", async () => {
      const transport = await to(echo);
      const { signal } = new AbortController();
      const seen = new Set<unknown>();
      const look = (): void => {
        const listeners = getEventListeners(signal, "abort");
        expect(listeners.length).toBeLessThanOrEqual(1);
        for (const listener of listeners) seen.add(listener);
      };
      const shared = housekeepingCall("shared", signal);
      const replies = Array.from({ length: 12 }, () => transport.send(post(parts(counted(10))), shared));
      look();
      for (const reply of replies) {
        const { body } = await reply;
        look();
        await readBody(body, everything);
        look();
      }
      expect(seen.size).toBeLessThanOrEqual(1);
    });

    it("ends the reading of a reply with the call's own error", async () => {
      const transport = await to(async () => ({
        status: 200,
        headers: {},
        body: {
          kind: "stream",
          byteLength: undefined,
          async *read() {
            yield counted(10);
            await new Promise(() => undefined);
          },
        },
      }));
      const child = childCall(call);
      const reply = await transport.send(post(parts(counted(1))), child.call);
      const reading = readBody(reply.body, {
        ...everything,
        arrived: () => child.cancel(new LongshoreError("cancelled", "plan", "seen enough")),
      });
      await expect(reading).rejects.toMatchObject({ reason: "cancelled", stage: "plan" });
    });

    it("refuses a call that has ended already", async () => {
      const transport = await to(echo);
      const child = childCall(call);
      child.cancel(new LongshoreError("cancelled", "plan", "over"));
      await expect(transport.send(post(parts(counted(1))), child.call)).rejects.toMatchObject({
        reason: "cancelled",
        stage: "plan",
      });
    });

    it("fails with no-answer when the connection breaks before a reply, and is usable afterwards", async () => {
      let fail = true;
      const transport = await to(async (request, base) => {
        if (fail) throw new Error("planted");
        return echo(request, base);
      });
      await expect(transport.send(post(parts(counted(10))), call)).rejects.toMatchObject({
        reason: "no-answer",
      });
      fail = false;
      const reply = await transport.send(post(parts(counted(10))), call);
      expect(await readBody(reply.body, everything)).toEqual(counted(10));
    });

    it("fails with no-answer when a reply breaks off", async () => {
      const transport = await to(async () => ({
        status: 200,
        headers: {},
        body: {
          kind: "stream",
          byteLength: 1000,
          async *read() {
            yield counted(10);
            throw new Error("planted");
          },
        },
      }));
      // Whether the head got out before the break is the platform's affair.
      const whole = async (): Promise<unknown> =>
        readBody((await transport.send(post(parts(counted(1))), call)).body, everything);
      await expect(whole()).rejects.toMatchObject({ reason: "no-answer" });
    });

    it("closes once, and is unreachable afterwards", async () => {
      const transport = await to(echo);
      await transport.close();
      await transport.close();
      await expect(transport.send(post(parts(counted(1))), call)).rejects.toMatchObject({
        reason: "unreachable",
      });
    });
  });
}
