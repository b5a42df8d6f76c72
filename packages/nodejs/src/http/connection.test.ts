import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type Call, readBody, type Transport, type WireBody, type WireRequest } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { manualClock, settle } from "@longshore/testkit";
import { systemClock } from "../device/index.ts";
import { httpTransport, type HttpTransportOptions } from "./http-transport.ts";

const call = housekeepingCall("test");
const empty: WireBody = { kind: "parts", parts: [] };
const get: WireRequest = { method: "GET", path: "/v2", headers: {}, body: empty };
const post = (body: WireBody): WireRequest => ({ ...get, method: "POST", body });
const bytes = (text: string): WireBody => ({ kind: "parts", parts: [new TextEncoder().encode(text)] });

const ok = (body: string, headers = ""): string =>
  `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n${headers}\r\n${body}`;

const servers: Server[] = [];
const transports: Transport[] = [];
const open: Socket[] = [];

afterEach(async () => {
  await Promise.all(transports.splice(0).map((one) => one.close()));
  for (const socket of open.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** A TCP server that does as it likes with each connection; `at` counts them from 0. */
async function peer(
  serve: (socket: Socket, at: number) => void,
  options: Partial<HttpTransportOptions> = {},
): Promise<Transport> {
  let count = 0;
  const server = createServer((socket) => {
    open.push(socket);
    socket.on("error", () => undefined);
    serve(socket, count++);
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const transport = httpTransport({ address, clock: systemClock(), ...options });
  transports.push(transport);
  return transport;
}

async function textOf(transport: Transport, request: WireRequest = get, own: Call = call): Promise<string> {
  const { body } = await transport.send(request, own);
  return new TextDecoder().decode(await readBody(body, { maxBytes: 2 ** 24 }));
}

/** Answers each request of a connection with what `reply` gives for how many came before on it. */
const answering = (reply: (before: number) => string) => (socket: Socket) => {
  let before = 0;
  socket.on("data", () => void socket.write(reply(before++)));
};

describe("a connection", () => {
  it("says that all of a body was written, unless the reply came while some of it was still here", async () => {
    const patient = await peer((socket) => {
      let came = 0;
      socket.on("data", (chunk) => {
        came += chunk.byteLength;
        if (came > 3_000_000) socket.write(ok("all"));
      });
    });
    const long: WireBody = { kind: "parts", parts: [new Uint8Array(3_000_000)] };
    expect(await patient.send(post(long), call)).toMatchObject({ status: 200, written: true });
    // Only its beginning is read, and the buffers on the way cannot hold the rest.
    const hasty = await peer((socket) => {
      socket.once("data", () => {
        socket.pause();
        socket.write(ok("early"));
      });
    });
    const longer: WireBody = { kind: "parts", parts: [new Uint8Array(64_000_000)] };
    const early = await hasty.send(post(longer), call);
    expect(early.status).toBe(200);
    expect(early.written).toBeUndefined();
  });

  it("says in words that the server closed it before an answer", async () => {
    const closing = await peer((socket) => socket.once("data", () => socket.end()));
    await expect(textOf(closing)).rejects.toMatchObject({
      reason: "no-answer",
      message: expect.stringContaining("did not answer: connection closed"),
    });
  });

  it("reads a reply in any pieces, and is used again", async () => {
    const reply = `HTTP/1.1 102 Processing\r\n\r\n${ok("whole", "x-a: b\r\n")}`;
    const connections = new Set<number>();
    let cut = 0;
    const transport = await peer((socket, at) => {
      socket.setNoDelay(true).on("data", () => {
        connections.add(at);
        const first = reply.slice(0, ++cut);
        socket.write(first, () => setImmediate(() => socket.write(reply.slice(first.length))));
      });
    });
    for (let count = 1; count < reply.length; count++) expect(await textOf(transport)).toBe("whole");
    expect([cut, [...connections]]).toEqual([reply.length - 1, [0]]);
  });

  it("passes over interim replies, and hears acknowledgements in them", async () => {
    const interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    const heard = "HTTP/1.1 102 Processing\r\nlongshore-acknowledged: 3\r\n\r\n";
    const senseless = "HTTP/1.1 102 Processing\r\nlongshore-acknowledged: x\r\n\r\n";
    const transport = await peer(answering(() => interim + heard + senseless + ok("done")));
    const acknowledged: number[] = [];
    const reply = await transport.send(post(bytes("abc")), call, (count) => acknowledged.push(count));
    expect(new TextDecoder().decode(await readBody(reply.body, { maxBytes: 10 }))).toBe("done");
    expect(acknowledged).toEqual([3]);
  });

  it("is not used again once more came than its reply, and passes none of it on", async () => {
    const seen: number[] = [];
    const transport = await peer((socket, at) => {
      socket.on("data", () => {
        seen.push(at);
        socket.write(`${ok(`own ${at}`)}${ok("smuggled")}`);
      });
    });
    expect([await textOf(transport), await textOf(transport)]).toEqual(["own 0", "own 1"]);
    expect(seen).toEqual([0, 1]);
  });

  it("ends when bytes come without a request", async () => {
    const ended: Promise<unknown>[] = [];
    const transport = await peer((socket, at) => {
      socket.once("data", () => {
        socket.write(ok(`own ${at}`));
        socket.once("data", () => socket.write(ok("of another")));
        ended.push(once(socket, "close"));
      });
    });
    expect(await textOf(transport)).toBe("own 0");
    open[0]?.write(ok("unasked"));
    await ended[0];
    expect(await textOf(transport)).toBe("own 1");
  });

  it("gives a reply that comes while the body still goes, and stops sending it", async () => {
    const seen: number[] = [];
    let left = (): void => undefined;
    const stopped = new Promise<void>((resolve) => (left = resolve));
    async function* endless(): AsyncIterable<Uint8Array> {
      try {
        for (;;) yield new Uint8Array(65_536);
      } finally {
        left();
      }
    }
    const transport = await peer((socket, at) => {
      socket.once("data", () => {
        seen.push(at);
        socket.write(`HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nno!`);
        socket.resume();
      });
    });
    const long: WireBody = { kind: "stream", byteLength: 2 ** 40, read: endless };
    const reply = await transport.send(post(long), call);
    expect(reply.status).toBe(413);
    await stopped;
    expect((await transport.send(get, call)).status).toBe(413);
    expect(seen).toEqual([0, 1]);
  });

  it("breaks off with the reason of a body that fails, and sends no byte more than it announced", async () => {
    let heard = "";
    const transport = await peer((socket) => {
      socket.on("data", (chunk: Buffer) => (heard += chunk.toString("latin1")));
    });
    const streamed = (byteLength: number, ...chunks: readonly string[]): WireBody => ({
      kind: "stream",
      byteLength,
      async *read() {
        for (const chunk of chunks) yield new TextEncoder().encode(chunk);
        if (chunks.length === 0) throw new Error("the source broke");
      },
    });
    const reasonOf = (body: WireBody): Promise<unknown> =>
      transport.send(post(body), call).catch((thrown: { reason: unknown }) => thrown.reason);
    expect(await reasonOf(streamed(3, "abc", "POST /smuggled HTTP/1.1"))).toBe("body-mismatch");
    expect(await reasonOf(streamed(3, "abcPOST /smuggled HTTP/1.1"))).toBe("body-mismatch");
    expect(await reasonOf(streamed(9, "ab"))).toBe("body-mismatch");
    expect(await reasonOf(streamed(9))).toBe("internal");
    expect(heard).not.toContain("smuggled");
  });

  it("ends with its call and no other's", async () => {
    let asked = (): void => undefined;
    const waiting: Socket[] = [];
    const transport = await peer((socket) => {
      socket.on("data", () => {
        waiting.push(socket);
        asked();
      });
    });
    const two = new Promise<void>((resolve) => (asked = () => waiting.length === 2 && resolve()));
    const abort = new AbortController();
    const ending = textOf(transport, get, { ...call, abort: abort.signal });
    const staying = textOf(transport);
    const outcome = expect(ending).rejects.toMatchObject({ reason: "cancelled" });
    await two;
    const [first, second] = waiting;
    const closed = new Promise<Socket>((resolve) => {
      for (const socket of waiting) socket.once("close", () => resolve(socket));
    });
    abort.abort();
    await outcome;
    const gone = await closed;
    (gone === first ? second : first)?.write(ok("stays"));
    expect(await staying).toBe("stays");
  });

  it("ends when its reader leaves before the end of a reply", async () => {
    let closed: Promise<unknown> | undefined;
    const transport = await peer((socket) => {
      closed = once(socket, "close");
      socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\nabc"));
    });
    const { body } = await transport.send(get, call);
    if (body.kind !== "stream") throw new Error("a stream was expected");
    for await (const chunk of body.read()) {
      expect(new TextDecoder().decode(chunk)).toBe("abc");
      break;
    }
    await closed;
  });

  it("holds the server back while its reader takes its time, without a timeout", async () => {
    const clock = manualClock();
    const total = 64 * 2 ** 20;
    let sent = 0;
    let full = (): void => undefined;
    const stuck = new Promise<void>((resolve) => (full = resolve));
    const transport = await peer(
      (socket) => {
        socket.once("data", () => {
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
          const more = (): void => {
            while (sent < total) {
              sent += 65_536;
              if (!socket.write(Buffer.alloc(65_536))) return;
            }
          };
          socket.on("drain", more);
          more();
          // Bytes that cannot be sent for many turns are held back at the other end.
          const look = (before: number, turns: number): void => {
            if (turns === 2000) full();
            else setImmediate(() => look(sent, sent === before ? turns + 1 : 0));
          };
          look(0, 0);
        });
      },
      { clock, idleTimeoutMs: 1000 },
    );
    const { body } = await transport.send(get, call);
    await stuck;
    expect(sent).toBeLessThan(total);
    await clock.advance(5000);
    expect((await readBody(body, { maxBytes: total })).byteLength).toBe(total);
    expect(clock.armed()).toBe(0);
  });
});

describe("a connection that was kept", () => {
  it("is no answer but not reached when the server closed it meanwhile and it must not be sent twice", async () => {
    const body: WireBody = {
      kind: "stream",
      byteLength: 3,
      async *read() {
        yield new TextEncoder().encode("abc");
      },
    };
    for (const request of [post(bytes("abc")), post(body)]) {
      const transport = await peer((socket) => {
        socket.once("data", () => {
          socket.write(ok("first"));
          socket.once("data", () => socket.end());
        });
      });
      expect(await textOf(transport)).toBe("first");
      await expect(transport.send(request, call)).rejects.toMatchObject({ reason: "unreachable" });
      expect(await textOf(transport)).toBe("first");
    }
  });

  it("is no-answer when it breaks after the first byte of an answer", async () => {
    const transport = await peer((socket) => {
      socket.once("data", () => {
        socket.write(ok("first"));
        socket.once("data", () => socket.end("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 20"));
      });
    });
    expect(await textOf(transport)).toBe("first");
    await expect(transport.send(get, call)).rejects.toMatchObject({ reason: "no-answer" });
  });

  it("resends once on a fresh one a request that broke on a kept one before any answer, if it may be repeated", async () => {
    let [came, connections] = [0, 0];
    // Every connection answers once, and is reset with the next request, as by a server that closed it meanwhile.
    const transport = await peer((socket) => {
      connections++;
      let own = 0;
      socket.on("data", () => {
        came++;
        if (own++ === 0) socket.write(ok("here"));
        else socket.resetAndDestroy();
      });
    });
    const keyed: WireRequest = { ...post(bytes("x")), headers: { "idempotency-key": "k" } };
    expect(await textOf(transport)).toBe("here");
    expect(await textOf(transport)).toBe("here");
    expect(await textOf(transport, keyed)).toBe("here");
    expect([came, connections]).toEqual([5, 3]);
    expect(await textOf(transport, { ...post(bytes("x")), repeatable: true })).toBe("here");
    expect([came, connections]).toEqual([7, 4]);
    // Nobody knows what it would do twice, or it is not here any more.
    await expect(transport.send(post(bytes("x")), call)).rejects.toMatchObject({ reason: "unreachable" });
    expect(await textOf(transport)).toBe("here");
    const gone: WireBody = {
      kind: "stream",
      byteLength: 1,
      async *read() {
        yield new Uint8Array(1);
      },
    };
    await expect(transport.send({ ...keyed, body: gone }, call)).rejects.toMatchObject({
      reason: "unreachable",
    });
    expect([came, connections]).toEqual([10, 5]);
  });

  it("does so where there are as many connections as may be, too", async () => {
    let connections = 0;
    const serve = (socket: Socket): void => {
      connections++;
      socket.once("data", () => {
        socket.write(ok("here"));
        socket.once("data", () => socket.resetAndDestroy());
      });
    };
    const transport = await peer(serve, { maxConnections: 1 });
    expect(await textOf(transport)).toBe("here");
    expect(await textOf(transport)).toBe("here");
    expect(connections).toBe(2);
  });

  it("does not do so on a connection that had not answered before, or where an answer had begun", async () => {
    let came = 0;
    const fresh = await peer((socket) => {
      socket.on("data", () => {
        came++;
        socket.resetAndDestroy();
      });
    });
    await expect(fresh.send(get, call)).rejects.toMatchObject({ reason: "no-answer" });
    expect(came).toBe(1);
    const begun = await peer((socket) => {
      socket.once("data", () => {
        socket.write(ok("first"));
        socket.once("data", () => {
          came++;
          socket.end("HTTP/1.1 200 O");
        });
      });
    });
    expect(await textOf(begun)).toBe("first");
    await expect(begun.send(get, call)).rejects.toMatchObject({ reason: "no-answer" });
    expect(came).toBe(2);
  });

  it("is let go when the server says so, or after the time that either of both keeps it", async () => {
    const closes: Promise<unknown>[] = [];
    const says = ["connection: close\r\n", "keep-alive: timeout=0\r\n", "keep-alive: timeout=1\r\n", ""];
    const transport = await peer(
      (socket, at) => {
        closes.push(once(socket, "close"));
        answering(() => ok(`own ${at}`, says[at]))(socket);
      },
      { keepAliveMs: 1500 },
    );
    for (let at = 0; at < says.length; at++) {
      expect(await textOf(transport)).toBe(`own ${at}`);
      await closes[at];
    }
  });

  it("is shared among more requests than there may be connections; a waiting request can leave or be late", async () => {
    const clock = manualClock();
    let most = 0;
    const waiting: Socket[] = [];
    const transport = await peer(
      (socket, at) => {
        most = Math.max(most, at + 1);
        socket.on("data", () => waiting.push(socket));
      },
      { clock, maxConnections: 1, connectTimeoutMs: 1000 },
    );
    const abort = new AbortController();
    const first = textOf(transport);
    const leaves = textOf(transport, get, { ...call, abort: abort.signal });
    const second = textOf(transport);
    const left = expect(leaves).rejects.toMatchObject({ reason: "cancelled" });
    abort.abort();
    await left;
    while (waiting.length < 1) await settle();
    waiting[0]?.write(ok("first"));
    expect(await first).toBe("first");
    while (waiting.length < 2) await settle();
    const late = expect(textOf(transport)).rejects.toMatchObject({ reason: "unreachable" });
    await clock.advance(1001);
    await late;
    waiting[1]?.write(ok("second"));
    expect(await second).toBe("second");
    expect([most, clock.armed()]).toEqual([1, 0]);
  });

  it("has no waiters once the transport is closed", async () => {
    const clock = manualClock();
    let asked = (): void => undefined;
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const transport = await peer((socket) => socket.on("data", () => asked()), { clock, maxConnections: 1 });
    const first = expect(textOf(transport)).rejects.toMatchObject({ reason: "no-answer" });
    const waiting = [1, 2, 3].map(() =>
      expect(textOf(transport)).rejects.toMatchObject({ reason: "unreachable" }),
    );
    await isAsked;
    await transport.close();
    await Promise.all([first, ...waiting]);
    expect(clock.armed()).toBe(0);
  });
});

describe("a reply out of the ordinary", () => {
  const long = ok("own", `x-a: ${"a".repeat(8000)}\r\n`);
  it.each([
    ["an older version of HTTP", "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nown", true],
    ["a body that ends with the connection", "HTTP/1.1 200 OK\r\n\r\nown", true],
    ["a header twice", ok("own", "vary: a\r\nvary: b\r\n"), false],
    ["a long head", long, false],
    ["letters beyond ASCII", ok("own", "x-a: \u00e9\r\n"), false],
  ])("is read: %s", async (_, reply, ends) => {
    const transport = await peer((socket) => {
      socket.on("data", () => {
        socket.write(Buffer.from(reply, "latin1"));
        if (ends) socket.end();
      });
    });
    expect(await textOf(transport, post(bytes("abc")))).toBe("own");
    expect(await textOf(transport)).toBe("own");
    expect(await textOf(transport)).toBe("own");
  });

  it("is read in pieces and after interim replies, while a body is still being sent", async () => {
    const transport = await peer((socket) => {
      socket.once("data", () => {
        socket.write(
          "HTTP/1.1 102 Processing\r\nlongshore-acknowledged: 9\r\n\r\nHTTP/1.1 200 OK\r\nx-a: 1\r\nx-",
        );
        setImmediate(() => {
          socket.write("a: 2\r\ncontent-length: 6\r\n\r\nown");
          let came = 0;
          socket.on("data", (chunk: Buffer) => {
            came += chunk.byteLength;
            if (came > 2_000_000) socket.write("ers");
          });
        });
      });
    });
    const acknowledged: number[] = [];
    const body: WireBody = { kind: "parts", parts: [new Uint8Array(3_000_000)] };
    const reply = await transport.send(post(body), call, (count) => acknowledged.push(count));
    expect(reply.headers["x-a"]).toBe("1, 2");
    expect(new TextDecoder().decode(await readBody(reply.body, { maxBytes: 10 }))).toBe("owners");
    expect(acknowledged).toEqual([9]);
  });

  it.each([
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nownx"],
    [
      "a length and chunks",
      "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["a signed length", "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nown"],
    ["a folded line", ok("own", "x-a: b\r\n c\r\n")],
    ["a head without an end", `HTTP/1.1 200 OK\r\nx-a: ${"a".repeat(40_000)}`],
    ["another protocol that says no more", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["an interim reply that no request asked for", `HTTP/1.1 100 Continue\r\n\r\n${ok("own")}`],
    ["lone line feeds", "HTTP/1.1 200 OK\ncontent-length: 3\n\nown"],
  ])("is no HTTP: %s", async (_, reply) => {
    const transport = await peer(answering(() => reply));
    await expect(textOf(transport)).rejects.toMatchObject({ reason: "bad-reply" });
  });

  it("is a whole reply with trailers after its chunks", async () => {
    const seen: number[] = [];
    const chunks = (after: string): string =>
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nown\r\n3\r\ner!\r\n0\r\n${after}\r\n`;
    const transport = await peer((socket, at) => {
      socket.on("data", () => {
        seen.push(at);
        socket.write(chunks(seen.length === 2 ? "x-sum: 7\r\n" : ""));
      });
    });
    for (let count = 0; count < 3; count++) expect(await textOf(transport)).toBe("owner!");
    expect(seen).toEqual([0, 0, 0]);
  });

  it("is no HTTP when a chunk is longer than it says", async () => {
    const reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nowner\r\n0\r\n\r\n";
    const transport = await peer(answering(() => reply));
    await expect(textOf(transport)).rejects.toMatchObject({ reason: "bad-reply" });
  });
});
