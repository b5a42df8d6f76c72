import { connect, type Socket } from "node:net";
import { deflateSync, gzipSync } from "node:zlib";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  codecSet,
  emptyBody,
  float32Tensor,
  float32View,
  type Handler,
  LongshoreError,
  rawCodec,
  readBody,
  silentObserver,
  tensorsOf,
} from "@longshore/core";
import { systemClock } from "@longshore/nodejs";
import {
  doubleDescription,
  doubleEndpoint,
  type DoubleEndpoint,
  manualClock,
  settle,
} from "@longshore/testkit";
import { createHandler } from "../api/index.ts";
import { createLife } from "../life/index.ts";
import { on as onPort } from "../../test/on-port.ts";
import type { Listening } from "./listen.ts";

const sockets: Socket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

function double(): DoubleEndpoint {
  return doubleEndpoint([
    {
      description: doubleDescription({ name: "double" }),
      run: (inputs) => {
        const input = inputs.get("x") ?? float32Tensor("x", [0, 3], new Float32Array(0));
        return tensorsOf(
          float32Tensor(
            "y",
            input.spec.shape,
            float32View(input).map((value) => value * 2),
          ),
        );
      },
    },
  ]);
}

function api(endpoint = double(), life = createLife()): Handler {
  life.ready();
  return createHandler({
    endpoint,
    life,
    codecs: codecSet(rawCodec),
    clock: systemClock(),
    observer: silentObserver,
  });
}

/** Writes raw text to a server and gathers all it says until it closes, or until `enough` says so. */
async function say(
  { port }: Listening,
  texts: readonly (string | Uint8Array)[],
  enough: (heard: string) => boolean = () => false,
): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  return new Promise((resolve) => {
    let heard = "";
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
      if (enough(heard)) resolve(heard);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(heard));
    for (const text of texts) socket.write(text);
  });
}

const answered = (heard: string): boolean => /\r\n\r\n\{.*\}$/s.test(heard);
const body = '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}';
const post = (headers: string): string =>
  `POST /v2/models/double/infer HTTP/1.1\r\nhost: localhost\r\n${headers}\r\n`;
const result = '"data":[2,4,6]';
const acknowledged = (heard: string): readonly number[] =>
  [...heard.matchAll(/HTTP\/1\.1 102 Processing\r\nlongshore-acknowledged: (\d+)\r\n\r\n/g)].map((match) =>
    Number(match[1]),
  );

/** Which code reads HTTP. */
let http: "own" | "node" = "own";
const on: typeof onPort = (handler, change) => onPort(handler, { http, ...change });

describe.each(["own", "node"] as const)("a server on a port (http: %s)", (readBy) => {
  beforeAll(() => {
    http = readBy;
  });

  it("listens on this machine only by default, and reports where", async () => {
    const listening = await on(api());
    expect(listening.address).toBe(`http://127.0.0.1:${listening.port}`);
    const heard = await say(listening, [`${post(`content-length: ${body.length}\r\n`)}${body}`], answered);
    expect(heard).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(heard).toContain(result);
  });

  it("says that a port is taken", async () => {
    const { port } = await on(api());
    await expect(on(api(), { port })).rejects.toMatchObject({ reason: "port-taken" });
    await expect(on(api(), { host: "192.0.2.1" })).rejects.toMatchObject({ reason: "invalid-configuration" });
  });

  it("takes bodies byte by byte, chunked or not", async () => {
    const listening = await on(api());
    const bytes = body.split("");
    const plain = await say(listening, [post(`content-length: ${body.length}\r\n`), ...bytes], answered);
    expect(plain).toContain(result);
    const chunks = bytes.map((byte) => `1\r\n${byte}\r\n`);
    const chunked = await say(
      listening,
      [post("transfer-encoding: chunked\r\n"), ...chunks, "0\r\n\r\n"],
      answered,
    );
    expect(chunked).toContain(result);
  });

  it("takes gzip and deflate, the JSON length counted inflated", async () => {
    const listening = await on(api());
    for (const [encoding, bytes] of [
      ["gzip", gzipSync(body)],
      ["deflate", deflateSync(body)],
    ] as const) {
      const head = post(
        `content-encoding: ${encoding}\r\ncontent-length: ${bytes.byteLength}\r\ninference-header-content-length: ${body.length}\r\n`,
      );
      expect(await say(listening, [head, bytes], answered), encoding).toContain(result);
    }
  });

  it("refuses broken gzip, unknown codings, and a body that inflates beyond the limit", async () => {
    const listening = await on(api());
    const of = async (encoding: string, bytes: Uint8Array): Promise<string> =>
      say(
        listening,
        [post(`content-encoding: ${encoding}\r\ncontent-length: ${bytes.byteLength}\r\n`), bytes],
        answered,
      );
    expect(await of("gzip", new Uint8Array(50).fill(7))).toContain('"reason":"body-mismatch"');
    expect(await of("gzip", gzipSync(body).subarray(0, 20))).toContain('"reason":"body-mismatch"');
    expect(await of("br", new Uint8Array(5))).toContain('"reason":"unsupported"');
    const bomb = gzipSync(new Uint8Array(80 * 2 ** 20));
    expect(bomb.byteLength).toBeLessThan(200_000);
    const heard = await of("gzip", bomb);
    expect(heard).toMatch(/^HTTP\/1\.1 413/);
    expect(heard).toContain('"reason":"body-too-large"');
  });

  it("refuses bodies that are too large by their announcement, and by their bytes", async () => {
    const listening = await on(api());
    const announced = await say(listening, [post("content-length: 99999999999\r\n")], answered);
    expect(announced).toMatch(/^HTTP\/1\.1 413/);
    expect(announced).toContain('"reason":"body-too-large"');
    const small = createHandler({
      endpoint: double(),
      codecs: codecSet(rawCodec),
      clock: manualClock(),
      observer: silentObserver,
      limits: {
        maxBodyBytes: 1000,
        maxJsonBytes: 1000,
        maxTensors: 9,
        maxTexts: 8,
        maxTensorBytes: 1000,
        maxNameLength: 99,
      },
    });
    const chunk = `400\r\n${" ".repeat(1024)}\r\n`;
    const heard = await say(await on(small), [post("transfer-encoding: chunked\r\n"), chunk], answered);
    expect(heard).toMatch(/^HTTP\/1\.1 413/);
  });

  it("refuses a body of countless chunks", async () => {
    const listening = await on(api(), { maxChunks: 100 });
    const chunks = "1\r\n \r\n".repeat(200);
    const heard = await say(listening, [post("transfer-encoding: chunked\r\n"), chunks], answered);
    expect(heard).toMatch(/^HTTP\/1\.1 413/);
    expect(heard).toContain("100 chunks");
  });

  it("answers a request that is no HTTP, has two lengths, or too large headers, and goes on", async () => {
    const listening = await on(api());
    const refused = [
      "rubbish\r\n\r\n",
      post("content-length: 5\r\ntransfer-encoding: chunked\r\n"),
      post("content-length: 5\r\ncontent-length: 6\r\n"),
      post("content-length: -5\r\n"),
      "POST / HTTP/1.1\r\n\r\n",
    ];
    for (const text of refused) {
      const heard = await say(listening, [text]);
      expect(heard, text).toMatch(/^HTTP\/1\.1 400/);
    }
    expect(await say(listening, [post(`x: ${"y".repeat(20_000)}\r\n`)])).toMatch(/^HTTP\/1\.1 431/);
    expect(
      await say(listening, [`${post(`content-length: ${body.length}\r\n`)}${body}`], answered),
    ).toContain(result);
  });

  it("answers forbidden messages of HTTP in the protocol's form: hosts, expectations, proxies", async () => {
    const server = await on(api());
    const head = async (text: string): Promise<string> =>
      (await say(server, [text], (heard) => heard.includes("}"))).replace(
        /^HTTP\/1.1 (\d+)[^]*"error":"([^"]*)[^]*$/,
        "$1 $2",
      );
    expect(await head("GET /v2 HTTP/1.1\r\n\r\n")).toBe("400 a request says exactly one host");
    expect(await head("GET /v2 HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n")).toBe(
      "400 a request says exactly one host",
    );
    expect(await head("GET /v2 HTTP/1.1\r\nHost: a\r\nExpect: cake\r\n\r\n")).toBe(
      "417 nothing but 100-continue can be expected here",
    );
    expect(await head("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")).toBe("405 this server is no proxy");
    expect(await head(`GET /v2/${"x".repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`)).toBe(
      "431 the headers are larger than is allowed",
    );
    expect(await say(server, ["GET /v2 HTTP/1.0\r\n\r\n"])).toMatch(/^HTTP\/1.1 200 /);
  });

  it.each(["http://a/v2", "HTTPS://other.example:8000/v2?x=http://b/", "http://a/v2/models/double/ready"])(
    "answers requests that name the server in the target, as to a proxy: %s",
    async (target) => {
      const server = await on(api());
      const answered = (heard: string): boolean => heard.includes("}");
      expect(await say(server, [`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`], answered)).toMatch(
        /^HTTP\/1.1 200 /,
      );
    },
  );

  it("gives up on headers that never end", async () => {
    const listening = await on(api(), { headersTimeoutMs: 100 });
    const heard = await say(listening, ["POST /v2/models/double/infer HTTP/1.1\r\nhost: x\r\n"]);
    expect(heard).toMatch(/^HTTP\/1\.1 408/);
  });

  it("gives up on a body that never ends, and frees its memory", async () => {
    const clock = manualClock();
    const listening = await on(api(), { clock, headersTimeoutMs: 100, requestTimeoutMs: 150 });
    const heard = say(listening, [post("content-length: 1000\r\n"), "{"]);
    while (clock.armed() === 0) await settle();
    await clock.advance(150);
    expect(await heard).toMatch(/^HTTP\/1\.1 408/);
    // One that is not plain is timed by Node.js.
    const other = say(listening, [post("content-length: 1000\r\nte: trailers\r\n"), "{"]);
    expect(await other).toMatch(/^HTTP\/1\.1 408/);
  });

  it.each(["content-length: 4000", "content-length: 4000000", "transfer-encoding: chunked"])(
    "says by the deadline that a body did not come in time (%s)",
    async (length) => {
      const listening = await on(api());
      const head = post(`longshore-deadline: 100\r\n${length}\r\n`);
      const some = length.startsWith("content") ? "[" : "1\r\n[\r\n";
      const heard = await say(listening, [head, some], answered);
      expect(heard).toMatch(/^HTTP\/1\.1 504/);
      expect(heard).toContain('"reason":"deadline-exceeded"');
    },
  );

  it("waits with 100 Continue until admission has passed", async () => {
    const listening = await on(api());
    const expecting = `content-length: ${body.length}\r\nexpect: 100-continue\r\n`;
    const refused = await say(listening, [post(`${expecting}longshore-deadline: 0\r\n`)], answered);
    expect(refused).toMatch(/^HTTP\/1\.1 504/);
    let told = false;
    const socket = connect(listening.port, "127.0.0.1");
    sockets.push(socket);
    const heard = await new Promise<string>((resolve) => {
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString("latin1");
        if (!told && text.includes("100 Continue")) {
          told = true;
          socket.write(body);
        }
        if (text.includes(result)) resolve(text);
      });
      socket.write(post(expecting));
    });
    expect(heard).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
  });

  it("acknowledges a long body while it arrives", async () => {
    const clock = manualClock();
    const { port } = await on(api(), { clock });
    const socket = connect(port, "127.0.0.1");
    sockets.push(socket);
    let heard = "";
    socket.on("data", (chunk: Buffer) => (heard += chunk.toString("latin1")));
    const padded = body + " ".repeat(200_000);
    socket.write(post(`content-length: ${padded.length}\r\nlongshore-acknowledge: 50000\r\n`));
    for (let at = 0; at < padded.length; at += 60_000) {
      const before = acknowledged(heard).length;
      socket.write(padded.slice(at, at + 60_000));
      while (acknowledged(heard).length === before) {
        await clock.advance(0);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    while (!answered(heard)) await new Promise((resolve) => setImmediate(resolve));
    const marks = acknowledged(heard);
    expect(marks.length).toBe(4);
    expect([...marks].sort((a, b) => a - b)).toEqual(marks);
    expect(marks.at(-1)).toBe(padded.length);
    expect(heard).toContain(result);
  });

  it("acknowledges bytes of a body that came together once", async () => {
    const listening = await on(api());
    const padded = body + " ".repeat(1_000_000);
    const head = post(`content-length: ${padded.length}\r\nlongshore-acknowledge: 50000\r\n`);
    const heard = await say(listening, [head, padded], answered);
    expect(acknowledged(heard)).toEqual([padded.length]);
    expect(heard).toContain(result);
  });

  it("ends the call when the client goes away, while reading and while running", async () => {
    const reasons: string[] = [];
    let ended = (): void => undefined;
    let started = (): void => undefined;
    const handler: Handler = async (request, call) => {
      await readBody(request.body, { maxBytes: 1e6 }).catch((thrown: unknown) => {
        reasons.push(LongshoreError.is(thrown) ? thrown.reason : "other");
      });
      started();
      if (!call.abort.aborted) {
        await new Promise<void>((resolve) => call.abort.addEventListener("abort", () => resolve()));
      }
      reasons.push((call.abort.reason as LongshoreError).reason);
      ended();
      return { status: 200, headers: {}, body: emptyBody };
    };
    const clock = manualClock();
    const listening = await on(handler, { clock });
    const over = new Promise<void>((resolve) => (ended = resolve));
    const socket = connect(listening.port, "127.0.0.1");
    socket.write(post("content-length: 1000\r\n"), () => socket.destroy());
    await over;
    expect(reasons).toEqual(["body-mismatch", "cancelled"]);

    reasons.length = 0;
    const again = new Promise<void>((resolve) => (ended = resolve));
    const running = new Promise<void>((resolve) => (started = resolve));
    const second = connect(listening.port, "127.0.0.1");
    second.write(`${post("content-length: 2\r\n")}{}`);
    await running;
    second.destroy();
    // It may wait with one half closed, until what is written to it comes back.
    while (reasons.length === 0) {
      await settle();
      await clock.advance(1);
    }
    await again;
    expect(reasons).toEqual(["cancelled"]);
  });

  it("lets a client that is still sending see an early reply, then closes endless ones", async () => {
    const clock = manualClock();
    const listening = await on(api(), { clock, lingerBytes: 100_000 });
    const heard = await say(listening, [
      "POST /v2/models/none/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50000000\r\n\r\n",
      new Uint8Array(20_000_000),
    ]);
    expect(heard).toMatch(/^HTTP\/1\.1 404/);
    expect(heard).toContain('"reason":"unknown-model"');
  });

  it("serves the next request on a connection after an early reply", async () => {
    const listening = await on(api());
    const refused = `POST /v2/models/none/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const good = `${post(`content-length: ${body.length}\r\n`)}${body}`;
    const heard = await say(listening, [refused, good], (text) => text.includes(result));
    expect(heard).toMatch(/^HTTP\/1\.1 404[\s\S]*HTTP\/1\.1 200 OK/);
  });

  it.each([
    ["1.1", "our reader"],
    ["1.0", "Node.js's"],
  ])("has sent a reply to HTTP/%s, read by %s, when its client has it, however slowly", async (version) => {
    const long = { kind: "parts", parts: [new Uint8Array(32 * 2 ** 20)] } as const;
    const listening = await on(
      async ({ path }) => ({ status: 200, headers: {}, body: path === "/long" ? long : emptyBody }),
      { clock: systemClock() },
    );
    const slow = connect(listening.port, "127.0.0.1");
    sockets.push(slow);
    slow.write(`GET /long HTTP/${version}\r\nhost: localhost\r\n\r\n`);
    await new Promise((resolve) => slow.once("readable", resolve));
    let isSent = false;
    const sent = listening.sent().then(() => (isSent = true));
    await say(listening, ["GET /short HTTP/1.0\r\nhost: localhost\r\n\r\n"]);
    expect(isSent).toBe(false);
    slow.resume();
    await sent;
  });

  it("drains: readiness goes at once, new work is refused while the port still listens, old work finishes", async () => {
    const life = createLife();
    let release = (): void => undefined;
    let running = (): void => undefined;
    const isRunning = new Promise<void>((resolve) => (running = resolve));
    const gate = new Promise<void>((resolve) => (release = resolve));
    const slow = doubleEndpoint([
      {
        description: doubleDescription({ name: "double" }),
        async run(inputs) {
          running();
          await gate;
          return tensorsOf(
            float32Tensor(
              "y",
              [1, 3],
              float32View(inputs.get("x")!).map((value) => value * 2),
            ),
          );
        },
      },
    ]);
    const listening = await on(api(slow, life));
    const good = `${post(`content-length: ${body.length}\r\n`)}${body}`;
    const old = say(listening, [good], answered);
    await isRunning;
    const drained = life.drain();
    const ready = await say(
      listening,
      ["GET /v2/health/ready HTTP/1.1\r\nhost: localhost\r\n\r\n"],
      answered,
    );
    expect(ready).toMatch(/^HTTP\/1\.1 503/);
    const refused = await say(listening, [good], answered);
    expect(refused).toMatch(/^HTTP\/1\.1 503/);
    expect(refused).toMatch(/\r\nretry-after: 1\r\n/);
    expect(refused).toContain('"reason":"shutting-down"');
    release();
    expect(await old).toContain(result);
    await drained;
    await listening.close();
    await listening.close();
    await expect(
      new Promise((_, reject) => connect(listening.port, "127.0.0.1").on("error", reject)),
    ).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("closes more connections than it may have when none are reserved for probes", async () => {
    const listening = await on(api(), { maxConnections: 1, probeConnections: 0 });
    const first = connect(listening.port, "127.0.0.1");
    sockets.push(first);
    await new Promise<void>((resolve) => first.once("connect", () => resolve()));
    const heard = await say(listening, [`${post(`content-length: ${body.length}\r\n`)}${body}`], answered);
    expect(heard).toBe("");
  });
});
