import { connect as connectTcp, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { FrameReader, number31 } from "./frame-reader.ts";
import {
  codes,
  flags,
  frameHead,
  frameTypes,
  numberFrame,
  preface,
  settings,
  settingsFrame,
} from "./frame-words.ts";
import { HeaderReader } from "./header-reader.ts";
import { headerBlock } from "./header-writer.ts";
import { emptyBody, type Handler, numericTensor, type Tensor, type Tensors } from "@longshore/core";
import { systemClock } from "@longshore/nodejs";
import { directSocket } from "@longshore/server";
import { type DoubleModel, manualClock } from "@longshore/testkit";
import { closeAll, doubleModel, listenOn, openServer } from "../../../test/open-server.ts";
import { doubling, raw } from "../../../test/client.ts";
import { create, toBinary } from "@bufbuild/protobuf";
import { ModelInferRequestSchema } from "../../proto/inference_pb.ts";

const sockets: Socket[] = [];
afterEach(async () => {
  for (const one of sockets.splice(0)) one.destroy();
  await closeAll();
});

const path = "/inference.GRPCInferenceService/ModelInfer";
const hello = preface + settingsFrame([]);

const request = (more: Record<string, string> = {}): string =>
  headerBlock(undefined, {}) +
  "\x83\x86" +
  Object.entries({ ":path": path, "content-type": "application/grpc", te: "trailers", ...more })
    .map(
      ([name, value]) =>
        `\0${String.fromCharCode(name.length)}${name}${String.fromCharCode(value.length)}${value}`,
    )
    .join("");

const headers = (stream: number, block: string, flag: number = flags.endHeaders): string =>
  frameHead(block.length, frameTypes.headers, flag, stream) + block;
const data = (stream: number, payload: string, flag: number = flags.endStream): string =>
  frameHead(payload.length, frameTypes.data, flag, stream) + payload;

/** A message after its prefix. */
function message(values: readonly number[]): string {
  const bytes = toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, doubling(values)));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.byteLength, 1);
  return Buffer.concat([prefix, bytes]).toString("latin1");
}

/** The server's frames over one connection. */
interface Heard {
  readonly frames: {
    readonly type: number;
    readonly flag: number;
    readonly stream: number;
    readonly payload: Buffer;
  }[];
  send(text: string): void;
  /** The same, and resolves when the system has it. */
  sent(text: string): Promise<void>;
  /** Resolves when something was heard, or the connection has ended. */
  until(met: () => boolean): Promise<void>;
  /** Fields of all headers of a stream. */
  fields(stream: number): Record<string, string>;
  dataOf(stream: number): Buffer;
  readonly ended: boolean;
}

function dial(address: string, first: string): Heard {
  const [host = "", port = ""] = address.split(":");
  const socket = connectTcp(Number(port), host);
  sockets.push(socket);
  const frames: { type: number; flag: number; stream: number; payload: Buffer }[] = [];
  const fields = new Map<number, Record<string, string>>();
  const hpack = new HeaderReader({ bytes: 2 ** 20, fields: 1000 });
  let wake = (): void => undefined;
  let ended = false;
  let parts: Buffer[] = [];
  let at = 0;
  const reader = new FrameReader(
    {
      frame(type, flag, stream, payload) {
        frames.push({ type, flag, stream, payload: Buffer.from(payload) });
        if (type !== frameTypes.headers) return;
        const read = hpack.read(payload);
        fields.set(stream, { ...fields.get(stream), ...Object.fromEntries(read?.fields ?? []) });
      },
      dataBegins(stream) {
        at = stream;
        parts = [];
      },
      data: (chunk) => parts.push(Buffer.from(chunk)),
      dataEnds: (last) =>
        frames.push({
          type: frameTypes.data,
          flag: last ? flags.endStream : 0,
          stream: at,
          payload: Buffer.concat(parts),
        }),
      broken: (code) => expect.fail(`the server's frames cannot be read: ${code}`),
    },
    { data: 2 ** 24, others: 2 ** 20 },
  );
  // A server says no preface.
  reader.take(Buffer.from(preface, "latin1"));
  socket.on("data", (chunk) => {
    reader.take(chunk);
    wake();
  });
  socket.on("error", () => undefined);
  socket.on("close", () => {
    ended = true;
    wake();
  });
  socket.write(first, "latin1");
  return {
    frames,
    get ended() {
      return ended;
    },
    send: (text) => void socket.write(text, "latin1"),
    sent: (text) => new Promise((resolve) => socket.write(text, "latin1", () => resolve())),
    async until(met) {
      const over = (): boolean => met() || ended;
      while (!over()) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    fields: (stream) => fields.get(stream) ?? {},
    dataOf: (stream) =>
      Buffer.concat(
        frames
          .filter((one) => one.type === frameTypes.data && one.stream === stream)
          .map(({ payload }) => payload),
      ),
  };
}

const done = (heard: Heard, stream: number) => (): boolean =>
  heard.frames.some(
    (one) =>
      one.stream === stream &&
      (one.type === frameTypes.reset || ((one.flag & flags.endStream) !== 0 && one.type < 2)),
  );
const codeOf = (heard: Heard, type: number): number | undefined => {
  const found = heard.frames.find((one) => one.type === type);
  return found?.payload.readUInt32BE(type === frameTypes.goAway ? 4 : 0);
};

describe("connections that are framed here", () => {
  it("answer calls, with headers in pieces, padding and priority, too", async () => {
    const { address } = await openServer();
    const block = request();
    const heard = dial(address, hello + headers(1, block) + data(1, message([1, 2])));
    await heard.until(done(heard, 1));
    expect(heard.fields(1)).toMatchObject({ ":status": "200", "grpc-status": "0" });
    expect(heard.dataOf(1).includes(Buffer.from(raw([2, 4])))).toBe(true);
    const padded = `\x03\0\0\0\0\x10${block.slice(0, 20)}\0\0\0`;
    heard.send(
      headers(3, padded, flags.padded | flags.priority) +
        frameHead(20, frameTypes.continuation, 0, 3) +
        block.slice(20, 40) +
        frameHead(block.length - 40, frameTypes.continuation, flags.endHeaders, 3) +
        block.slice(40) +
        data(3, `\x02${message([3])}\0\0`, flags.padded) +
        data(3, ""),
    );
    await heard.until(done(heard, 3));
    expect(heard.dataOf(3).includes(Buffer.from(raw([6])))).toBe(true);
  });

  it("answer settings and pings, and ignore unknown frames", async () => {
    const { address } = await openServer();
    const ping = `${frameHead(8, frameTypes.ping, 0, 0)}12345678`;
    const heard = dial(
      address,
      `${hello}${frameHead(2, 77, 0, 5)}xx${frameHead(5, frameTypes.priority, 0, 9)}12345${ping}`,
    );
    await heard.until(() => heard.frames.some(({ type }) => type === frameTypes.ping));
    const told = heard.frames.filter(({ type }) => type !== frameTypes.window);
    expect(told.map(({ type, flag }) => [type, flag])).toEqual([
      [frameTypes.settings, 0],
      [frameTypes.settings, flags.ack],
      [frameTypes.ping, flags.ack],
    ]);
    expect(told[2]?.payload.toString()).toBe("12345678");
  });

  it("send no more than the windows of the stream and of the connection allow", async () => {
    const { address } = await openServer();
    const values = Array.from({ length: 30_000 }, (_, index) => index % 100);
    const small = preface + settingsFrame([[settings.initialWindowSize, 1000]]);
    const body = message(values);
    const frames = (stream: number): string => {
      let text = headers(stream, request());
      for (let at = 0; at < body.length; at += 16_384)
        text += data(stream, body.slice(at, at + 16_384), at + 16_384 >= body.length ? flags.endStream : 0);
      return text;
    };
    const heard = dial(address, small + frames(1));
    await heard.until(() => heard.dataOf(1).length >= 1000);
    expect(heard.dataOf(1)).toHaveLength(1000);
    // The window of the stream grows by settings and by itself, that of the connection has 65,535.
    heard.send(settingsFrame([[settings.initialWindowSize, 2000]]));
    await heard.until(() => heard.dataOf(1).length >= 2000);
    expect(heard.dataOf(1)).toHaveLength(2000);
    heard.send(numberFrame(frameTypes.window, 1, 2 ** 20));
    await heard.until(() => heard.dataOf(1).length >= 65_535);
    expect(heard.dataOf(1)).toHaveLength(65_535);
    // A call without data is answered meanwhile.
    heard.send(headers(3, request({ "grpc-timeout": "soon" }), flags.endHeaders | flags.endStream));
    await heard.until(done(heard, 3));
    expect(heard.fields(3)).toMatchObject({ "grpc-status": "3" });
    heard.send(numberFrame(frameTypes.window, 0, 2 ** 20));
    await heard.until(done(heard, 1));
    const doubled = raw(values.map((value) => value * 2));
    expect(heard.dataOf(1).subarray(-doubled.byteLength).equals(doubled)).toBe(true);
    expect(heard.frames.every(({ payload }) => payload.length <= 16_384)).toBe(true);
  });

  it("give back the windows of data that was read, and of no other", async () => {
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const handler: Handler = async ({ message }) => {
      await gate;
      await message?.read();
      return {
        status: 200,
        headers: {},
        body: emptyBody,
        message: { modelName: "m", parameters: {}, outputs: [] },
      };
    };
    const { address } = await listenOn(handler, { callWindowBytes: 100_000, connectionWindowBytes: 150_000 });
    const body = message(Array.from({ length: 70_000 }, () => 1));
    const heard = dial(address, hello + headers(1, request()));
    const sendPart = (from: number, to: number): void => {
      for (let at = from; at < to; at += 10_000)
        heard.send(
          data(1, body.slice(at, Math.min(to, at + 10_000)), to === body.length && at + 10_000 >= to ? 1 : 0),
        );
    };
    const given = (stream: number): number =>
      heard.frames
        .filter((one) => one.type === frameTypes.window && one.stream === stream)
        .reduce((sum, { payload }) => sum + number31(payload, 0), 0);
    sendPart(0, 100_000);
    await heard.until(() => given(0) >= 150_000 - 65_535 + 75_000);
    expect(given(1)).toBeLessThan(100_000);
    const before = given(1);
    go();
    await heard.until(() => given(1) > before);
    let sent = 100_000;
    while (sent < body.length) {
      await heard.until(() => given(1) + 100_000 > sent);
      const to = Math.min(body.length, given(1) + 100_000);
      sendPart(sent, to);
      sent = to;
    }
    await heard.until(done(heard, 1));
    expect(heard.fields(1)).toMatchObject({ "grpc-status": "0" });
  });

  const one = headers(1, request());
  const longHeaders = request(
    Object.fromEntries(Array.from({ length: 250 }, (_, index) => [`x${index}`, "y".repeat(100)])),
  );
  it.each([
    ["no settings first", preface + one, codes.protocol],
    ["another protocol", "GET / HTTP/1.1\r\nhost: x\r\n\r\n", codes.protocol],
    ["a stream of the server's", hello + headers(2, request()), codes.protocol],
    ["data before headers", hello + data(1, "x"), codes.protocol],
    ["data of a stream of the server's", hello + headers(3, request()) + data(2, "x"), codes.protocol],
    [
      "a window of a stream of the server's",
      hello + headers(3, request()) + numberFrame(frameTypes.window, 2, 1),
      codes.protocol,
    ],
    [
      "data of a call that the client broke off",
      hello + one + numberFrame(frameTypes.reset, 1, codes.cancel) + data(1, "x"),
      codes.streamClosed,
    ],
    ["a stream that was left out", hello + headers(3, request()) + one, codes.streamClosed],
    ["settings that change without end", hello + settingsFrame([]).repeat(1100), codes.enhanceYourCalm],
    ["data on the connection", hello + data(0, "x"), codes.protocol],
    ["a block that is interrupted", hello + headers(1, request(), 0) + one, codes.protocol],
    [
      "a block of another stream",
      `${hello}${headers(1, "\x83", 0)}${frameHead(0, frameTypes.continuation, 4, 3)}`,
      codes.protocol,
    ],
    ["a continuation of nothing", hello + frameHead(0, frameTypes.continuation, 4, 1), codes.protocol],
    ["headers that cannot be understood", hello + headers(1, "\xff\xff\xff\xff\xff\xff"), codes.compression],
    [
      "more padding than headers",
      hello + headers(1, "\xff\x83", flags.padded | flags.endHeaders),
      codes.protocol,
    ],
    ["a promise", hello + frameHead(4, frameTypes.promise, 4, 1) + "\0\0\0\x02", codes.protocol],
    ["a frame that is too large", hello + frameHead(2 ** 20 + 1, frameTypes.data, 0, 1), codes.frameSize],
    ["settings of a stream", hello + frameHead(0, frameTypes.settings, 0, 1), codes.protocol],
    ["half a setting", `${hello}${frameHead(3, frameTypes.settings, 0, 0)}abc`, codes.frameSize],
    [
      "too large a window by settings",
      hello + settingsFrame([[settings.initialWindowSize, 2 ** 31]]),
      codes.flowControl,
    ],
    ["too small frames by settings", hello + settingsFrame([[settings.maxFrameSize, 100]]), codes.protocol],
    ["a push that is neither on nor off", hello + settingsFrame([[settings.enablePush, 2]]), codes.protocol],
    ["a window that grows by nothing", hello + numberFrame(frameTypes.window, 0, 0), codes.protocol],
    ["too large a window", hello + numberFrame(frameTypes.window, 0, 2 ** 31 - 1), codes.flowControl],
    ["a window of a stream that is not there", hello + numberFrame(frameTypes.window, 5, 1), codes.protocol],
    ["a reset of a stream that is not there", hello + numberFrame(frameTypes.reset, 5, 8), codes.protocol],
    ["a short ping", `${hello}${frameHead(4, frameTypes.ping, 0, 0)}abcd`, codes.frameSize],
    ["a short farewell", `${hello}${frameHead(4, frameTypes.goAway, 0, 0)}abcd`, codes.frameSize],
    [
      "pieces of headers without end",
      hello + headers(1, request(), 0) + frameHead(0, frameTypes.continuation, 0, 1).repeat(300),
      codes.enhanceYourCalm,
    ],
    [
      "calls broken off without end",
      hello +
        Array.from(
          { length: 1100 },
          (_, index) =>
            headers(2 * index + 1, request()) + numberFrame(frameTypes.reset, 2 * index + 1, codes.cancel),
        ).join(""),
      codes.enhanceYourCalm,
    ],
  ])("end with %s", async (_what, text, code) => {
    const { address } = await openServer();
    const heard = dial(address, text);
    await heard.until(() => heard.ended);
    expect(codeOf(heard, frameTypes.goAway)).toBe(code);
  });

  it.each([
    ["a name in capitals", request({ "X-a": "b" })],
    ["a field of HTTP/1.1", request({ connection: "close" })],
    ["other transfer codings", request({ te: "gzip" })],
    ["an unknown field with a colon", request({ ":status": "200" })],
    ["a field with a colon behind the others", `${request()}\0\x0a:authority\x01x`],
    ["a field with a colon twice", `\x83${request()}`],
    ["no method", request().slice(1)],
    ["a line break in a value", request({ x: "a\nb" })],
    ["blanks around a field with a colon", request({ ":authority": " a" })],
    ["a path that is none", request({ ":path": "no path" })],
    ["a length that is none", request({ "content-length": "+5" })],
  ])("reset a call with %s, and go on", async (_what, block) => {
    const { address } = await openServer();
    const heard = dial(address, hello + headers(1, block) + headers(3, request()) + data(3, message([1])));
    await heard.until(done(heard, 3));
    expect(heard.fields(3)).toMatchObject({ "grpc-status": "0" });
    expect(codeOf(heard, frameTypes.reset)).toBe(codes.protocol);
  });

  it.each([
    [
      "less data than announced",
      headers(1, request({ "content-length": "5" })) + data(1, "abcd"),
      codes.protocol,
    ],
    [
      "more data than announced",
      headers(1, request({ "content-length": "5" })) + data(1, "abcdef", 0),
      codes.protocol,
    ],
    ["no data although it was announced", headers(1, request({ "content-length": "5" }), 5), codes.protocol],
    ["data behind its end", one + data(1, "\0\0\0\0\x05") + data(1, "x", 0), codes.streamClosed],
    ["headers behind its end", headers(1, request(), 5) + headers(1, request(), 5), codes.streamClosed],
    ["headers that end nothing", one + headers(1, "\x88"), codes.protocol],
    ["a window that grows by nothing", one + numberFrame(frameTypes.window, 1, 0), codes.protocol],
    ["too large a window", one + numberFrame(frameTypes.window, 1, 2 ** 31 - 1), codes.flowControl],
    [
      "headers above the limit",
      headers(1, request(Object.fromEntries(Array.from({ length: 150 }, (_, index) => [`x${index}`, "y"])))),
      codes.enhanceYourCalm,
    ],
    ["long headers above the limit", headers(1, longHeaders), codes.enhanceYourCalm],
    [
      "long headers above the limit, in pieces,",
      headers(1, longHeaders.slice(0, 16_384), 0) +
        frameHead(longHeaders.length - 16_384, frameTypes.continuation, flags.endHeaders, 1) +
        longHeaders.slice(16_384),
      codes.enhanceYourCalm,
    ],
  ])("reset a call with %s, and go on", async (_what, text, code) => {
    const handler: Handler = async ({ method }, call) => {
      if (method === "GET") return { status: 200, headers: {}, body: emptyBody };
      return new Promise((_, reject) => {
        call.abort.addEventListener("abort", () => reject(call.abort.reason as Error));
      });
    };
    const { address } = await listenOn(handler);
    const heard = dial(address, hello + text + headers(3, request({ ":path": "/none" })) + data(3, ""));
    await heard.until(() => done(heard, 3)() && codeOf(heard, frameTypes.reset) !== undefined);
    expect(heard.fields(3)).toMatchObject({ "grpc-status": "12" });
    expect(codeOf(heard, frameTypes.reset)).toBe(code);
  });

  it("refuse data above a window, and calls above their number", async () => {
    const handler: Handler = (_request, call) =>
      new Promise((_, reject) => {
        call.abort.addEventListener("abort", () => reject(call.abort.reason as Error));
      });
    const { address } = await listenOn(handler, { callWindowBytes: 1000, maxConcurrentCalls: 2 });
    const agreed = frameHead(0, frameTypes.settings, flags.ack, 0);
    const above = dial(address, hello + agreed + one + data(1, "x".repeat(1001), 0));
    await above.until(done(above, 1));
    expect(codeOf(above, frameTypes.reset)).toBe(codes.flowControl);
    const many = dial(address, hello + one + headers(3, request()) + headers(5, request()));
    await many.until(done(many, 5));
    expect(codeOf(many, frameTypes.reset)).toBe(codes.refused);
  });

  it("use the signals of calls that are answered again, and none that was fired", async () => {
    const signals: AbortSignal[] = [];
    let waits = (): void => undefined;
    const waiting = new Promise<void>((resolve) => {
      waits = resolve;
    });
    const reply = { modelName: "double", parameters: {}, outputs: [] };
    const handler: Handler = (_request, { abort }) =>
      new Promise((resolve, reject) => {
        signals.push(abort);
        if (signals.length !== 2) resolve({ status: 200, headers: {}, body: emptyBody, message: reply });
        else abort.addEventListener("abort", () => reject(abort.reason as Error), { once: true });
        if (signals.length === 2) waits();
      });
    const { address } = await listenOn(handler);
    const call = (stream: number): string => headers(stream, request()) + data(stream, message([1]));
    const heard = dial(address, hello + call(1));
    await heard.until(done(heard, 1));
    heard.send(call(3));
    await waiting;
    heard.send(numberFrame(frameTypes.reset, 3, codes.cancel) + call(5));
    await heard.until(done(heard, 5));
    expect(signals[1]).toBe(signals[0]);
    expect(signals[1]?.aborted).toBe(true);
    expect(signals[2]).not.toBe(signals[1]);
    expect(signals[2]?.aborted).toBe(false);
  });

  it("take trailers for the end of a call, and remember its headers for the next", async () => {
    const { address } = await openServer();
    // A literal that is to be remembered, and the index that it has from then on.
    const added = `${request()}\x40\x01x\x01y`;
    const heard = dial(
      address,
      hello +
        headers(1, added) +
        data(1, message([1]), 0) +
        headers(1, "\x40\x01z\x01z", flags.endHeaders | flags.endStream) +
        headers(3, `${request()}\xbe`) +
        data(3, message([2])),
    );
    await heard.until(done(heard, 3));
    expect([heard.fields(1)["grpc-status"], heard.fields(3)["grpc-status"]]).toEqual(["0", "0"]);
  });

  it("end when a client that says farewell has its answers", async () => {
    const { address } = await openServer();
    const farewell = numberFrame(frameTypes.goAway, 0, 0, 0);
    const heard = dial(address, hello + headers(1, request()) + farewell + data(1, message([1])));
    await heard.until(() => heard.ended);
    expect(heard.fields(1)).toMatchObject({ "grpc-status": "0" });
  });

  it("of clients that do not read their replies are given up", async () => {
    const { address } = await openServer(undefined, { replyTimeoutMs: 50 });
    const [host = "", port = ""] = address.split(":");
    const socket = connectTcp(Number(port), host);
    sockets.push(socket);
    socket.on("error", () => undefined);
    const closed = new Promise<void>((resolve) => {
      socket.on("close", () => resolve());
    });
    const ping = `${frameHead(8, frameTypes.ping, 0, 0)}12345678`.repeat(4096);
    socket.write(hello, "latin1");
    const more = (): void => {
      while (!socket.destroyed && socket.write(ping, "latin1"));
    };
    socket.on("drain", more);
    more();
    await closed;
  });

  it("that have ended drop later bytes, and wait for the client's end only for a while", async () => {
    const clock = systemClock();
    const { address } = await openServer(undefined, {
      clock: { ...clock, timer: (ms, due) => clock.timer(ms / 50, due) },
    });
    const [host = "", port = ""] = address.split(":");
    const socket = connectTcp({ port: Number(port), host, allowHalfOpen: true });
    sockets.push(socket);
    socket.on("error", () => undefined);
    socket.resume();
    const closed = new Promise<void>((resolve) => {
      socket.on("close", () => resolve());
    });
    socket.write(hello + numberFrame(frameTypes.goAway, 0, 0, 0), "latin1");
    // The head of a frame above all limits, of which more and more comes.
    const junk = Buffer.alloc(65_536, 0xff);
    const more = (): void => {
      while (!socket.destroyed && socket.write(junk));
    };
    socket.on("drain", more);
    socket.on("end", more);
    await closed;
  });

  it("send no larger frames than a megabyte, whatever the client allows", async () => {
    const values = new Uint8Array(8 * 2 ** 20);
    const handler: Handler = async () => ({
      status: 200,
      headers: {},
      body: emptyBody,
      message: {
        modelName: "m",
        parameters: {},
        outputs: [numericTensor("y", "UINT8", [values.length], values)].map(({ spec, bytes }) => ({
          ...spec,
          bytes,
          parameters: {},
        })),
      },
    });
    const { address } = await listenOn(handler);
    const large = settingsFrame([
      [settings.initialWindowSize, 2 ** 30],
      [settings.maxFrameSize, 2 ** 24 - 1],
    ]);
    const heard = dial(address, preface + large + numberFrame(frameTypes.window, 0, 2 ** 30) + one);
    heard.send(data(1, message([1])));
    await heard.until(done(heard, 1));
    expect(heard.dataOf(1).length).toBeGreaterThan(values.length);
    expect(Math.max(...heard.frames.map(({ payload }) => payload.length))).toBe(2 ** 20);
  });

  it("give back the windows of padding", async () => {
    const { address } = await openServer(undefined, { callWindowBytes: 1000 });
    const padding = data(1, `\xff${"\0".repeat(255)}`, flags.padded);
    const heard = dial(address, hello + one + padding.repeat(2));
    await heard.until(() =>
      heard.frames.some(({ type, stream }) => type === frameTypes.window && stream === 1),
    );
    expect(heard.ended).toBe(false);
  });

  it("let clients send as much as they may before the first window update", async () => {
    const { address } = await openServer(undefined, { callWindowBytes: 1000 });
    const body = message(Array.from({ length: 4000 }, () => 1));
    const heard = dial(address, hello + one + data(1, body));
    await heard.until(done(heard, 1));
    expect(heard.fields(1)).toMatchObject({ "grpc-status": "0" });
  });

  it("accept frames after a reset of theirs", async () => {
    const { address } = await openServer();
    const bad = headers(1, request({ te: "gzip" }), flags.endHeaders);
    const behind = data(1, "x", 0) + headers(1, "\x88", 5);
    const heard = dial(address, hello + bad + behind + headers(3, request()) + data(3, message([1])));
    await heard.until(done(heard, 3));
    expect(heard.fields(3)).toMatchObject({ "grpc-status": "0" });
  });

  it("drop blanks around values, which clients of gRPC may send", async () => {
    let told: unknown;
    const handler: Handler = async (asked) => {
      told = asked.headers["x-a"];
      return { status: 404, headers: {}, body: emptyBody };
    };
    const { address } = await listenOn(handler);
    const heard = dial(address, hello + headers(1, request({ "x-a": " \ta b \t" })) + data(1, message([1])));
    await heard.until(done(heard, 1));
    expect(told).toBe("a b");
  });

  it("wait for a client as long as it goes on reading", async () => {
    const clock = manualClock();
    const { address } = await openServer(undefined, { clock, replyTimeoutMs: 1000 });
    const values = Array.from({ length: 30_000 }, () => 1);
    const body = message(values);
    const none = preface + settingsFrame([[settings.initialWindowSize, 0]]);
    const heard = dial(address, none + one);
    for (let at = 0; at < body.length; at += 16_384)
      heard.send(data(1, body.slice(at, at + 16_384), at + 16_384 >= body.length ? flags.endStream : 0));
    await heard.until(() =>
      heard.frames.some(({ type, stream }) => type === frameTypes.headers && stream === 1),
    );
    for (let round = 1; round <= 4; round++) {
      heard.send(numberFrame(frameTypes.window, 1, 10_000));
      await heard.until(() => heard.dataOf(1).length === round * 10_000);
      await clock.advance(900);
    }
    expect(codeOf(heard, frameTypes.reset)).toBeUndefined();
    await clock.advance(3000);
    await heard.until(done(heard, 1));
    expect(codeOf(heard, frameTypes.reset)).toBe(codes.cancel);
  });
});

describe("data over connections that are framed here", () => {
  const doubled = (values: readonly number[]): Buffer => Buffer.from(raw(values.map((value) => value * 2)));
  /** Of a client that takes long replies at once. */
  const ample =
    preface +
    settingsFrame([[settings.initialWindowSize, 2 ** 20]]) +
    numberFrame(frameTypes.window, 0, 2 ** 20);

  it.each([
    ["read into one memory", {}],
    ["read by Node.js", { directSocket: () => undefined }],
  ])("stays apart where it comes in pieces and is %s", async (_, options) => {
    const { address } = await openServer(undefined, options);
    // Short enough to be copied, and so long that pieces of it lie in memory of their own.
    const calls = [3, 5000, 50_000].map((count, index) => {
      const values = Array.from({ length: count }, (__, at) => at + index);
      return {
        values,
        text: ample + headers(1, request()) + data(1, message(values)),
        heard: dial(address, ""),
      };
    });
    const pieces = 7;
    for (let piece = 0; piece < pieces; piece++) {
      for (const { text, heard } of calls) {
        const at = (part: number): number => Math.floor((text.length * part) / pieces);
        await heard.sent(text.slice(at(piece), at(piece + 1)));
      }
    }
    for (const { values, heard } of calls) {
      await heard.until(done(heard, 1));
      expect(heard.fields(1)).toMatchObject({ "grpc-status": "0" });
      expect(heard.dataOf(1).includes(doubled(values))).toBe(true);
    }
  });

  it("is read into one memory, short or long", async () => {
    const seen = new Set<ArrayBufferLike>();
    const { address } = await openServer(undefined, {
      directSocket: (accepted, reads) =>
        directSocket(accepted, {
          memory() {
            const memory = reads.memory();
            seen.add(memory.buffer);
            return memory;
          },
          came: (bytes) => reads.came(bytes),
        }),
    });
    const call = headers(1, request()) + data(1, message([1, 2]));
    for (const heard of [dial(address, ample + call), dial(address, ample + call)]) {
      await heard.until(done(heard, 1));
      expect(heard.dataOf(1).includes(doubled([1, 2]))).toBe(true);
    }
    expect(seen.size).toBe(1);
    const values = Array.from({ length: 100_000 }, (_, at) => at);
    const long = dial(address, ample + headers(1, request()) + data(1, message(values)));
    await long.until(done(long, 1));
    expect(long.dataOf(1).includes(doubled(values))).toBe(true);
    expect(seen.size).toBe(1);
  });

  it("gives the memory of large outputs back once they were sent, cut as the client's windows want it", async () => {
    const values = Array.from({ length: 100_000 }, (_, at) => at);
    const outputs: Tensor[] = [];
    const keeping: DoubleModel = {
      ...doubleModel,
      run(inputs, ...rest) {
        // The double model returns its tensors directly, without a promise.
        const given = doubleModel.run(inputs, ...rest) as Tensors;
        outputs.push(...given.values());
        return given;
      },
    };
    const { address } = await openServer([keeping]);
    const text = headers(1, request()) + data(1, message(values));
    for (const hello of [ample, preface + settingsFrame([])]) {
      const heard = dial(address, hello + text);
      if (hello === ample) await heard.until(done(heard, 1));
      else {
        await heard.until(() => heard.dataOf(1).byteLength >= 65_535);
        expect(outputs.at(-1)?.bytes.byteLength).toBe(400_000);
        await heard.sent(
          numberFrame(frameTypes.window, 0, 1_000_000) + numberFrame(frameTypes.window, 1, 1_000_000),
        );
        await heard.until(done(heard, 1));
      }
      expect(heard.dataOf(1).includes(doubled(values))).toBe(true);
      await expect.poll(() => outputs.at(-1)?.bytes.byteLength).toBe(0);
    }
  });
});
