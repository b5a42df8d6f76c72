import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { afterEach, describe, expect, it } from "vitest";
import {
  defaultWireLimits,
  emptyBody,
  type Handler,
  type LongshoreError,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import { grpcStream, manualClock } from "@longshore/testkit";
import { encodeInferRequest } from "../message/index.ts";
import { closeAll, listenOn } from "../../test/open-server.ts";

const sessions: ClientHttp2Session[] = [];
afterEach(async () => {
  for (const one of sessions.splice(0)) one.destroy();
  await closeAll();
});

const numbers = (byteLength: number): Uint8Array =>
  Uint8Array.from({ length: byteLength }, (_, index) => (index * 7) % 251);

/** A message of one tensor after its prefix, optionally followed by an `empty` one. */
function message(bytes: Uint8Array, parameters: Record<string, string> = {}, empty = false): Buffer {
  const x = { name: "x", datatype: "UINT8" as const, shape: [bytes.byteLength], parameters: {}, bytes };
  const none = { ...x, name: "none", shape: [0], bytes: new Uint8Array(0) };
  const { parts, byteLength } = encodeInferRequest({
    model: "m",
    version: "",
    message: {
      parameters,
      inputs: empty ? [x, none] : [x],
      binaryOutputs: true,
    },
  });
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(byteLength, 1);
  return Buffer.concat([prefix, ...parts]);
}

function call(address: string, headers: Record<string, string> = {}) {
  const session = connect(`http://${address}`);
  session.on("error", () => undefined);
  sessions.push(session);
  const stream = grpcStream(session, "ModelInfer", headers);
  stream.on("error", () => undefined).resume();
  const closed = new Promise<void>((resolve) => stream.on("close", () => resolve()));
  return { session, stream, closed };
}

const done: WireResponse = {
  status: 200,
  headers: {},
  body: emptyBody,
  message: { modelName: "m", parameters: {}, outputs: [] },
};

type Binary = NonNullable<ReturnType<NonNullable<NonNullable<WireRequest["message"]>["binary"]>>>;

function binaryOf({ message }: WireRequest): Binary {
  const form = message?.binary?.();
  if (!form) throw new Error("the message has no binary form");
  return form;
}

async function read({ body }: Binary): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Writes piece after piece and counts what has gone out. */
function writeAll(stream: ClientHttp2Stream, bytes: Buffer): () => number {
  let sent = 0;
  const next = (): void => {
    const piece = bytes.subarray(sent, sent + 65_536);
    if (piece.byteLength === 0) stream.end();
    else {
      stream.write(piece, () => {
        sent += piece.byteLength;
        next();
      });
    }
  };
  next();
  return () => sent;
}

describe("a message in HTTP's binary form", () => {
  it("holds its sender back while its bytes are not read", async () => {
    let goOn = (): void => undefined;
    const waiting = new Promise<void>((resolve) => (goOn = resolve));
    let begun = (): void => undefined;
    const begins = new Promise<void>((resolve) => (begun = resolve));
    let came: Buffer | undefined;
    const handler: Handler = async (request) => {
      const { body, headerLength } = binaryOf(request);
      const chunks: Uint8Array[] = [];
      begun();
      for await (const chunk of body.read()) {
        if (chunks.length === 0) await waiting;
        chunks.push(chunk);
      }
      came = Buffer.concat(chunks).subarray(headerLength);
      return done;
    };
    const { address } = await listenOn(handler);
    const { session, stream, closed } = call(address);
    const tensor = numbers(24 * 2 ** 20);
    const sent = writeAll(stream, message(tensor));
    await begins;
    // A ping is answered in a turn of the server's, so whatever it still reads it has read some turns later.
    for (let same = 0, last = -1; same < 30; same = sent() === last ? same + 1 : 0) {
      last = sent();
      await new Promise<void>((resolve) => session.ping(() => resolve()));
    }
    expect(sent()).toBeGreaterThan(0);
    expect(sent()).toBeLessThan(4 * 2 ** 20);
    goOn();
    await closed;
    expect(came?.equals(tensor)).toBe(true);
  });

  it("waits for a beginning of some kilobytes, and is the same each time", async () => {
    let came: Buffer | undefined;
    let same = false;
    const handler: Handler = async (request) => {
      const form = binaryOf(request);
      same = form === binaryOf(request);
      came = (await read(form)).subarray(form.headerLength);
      return done;
    };
    const { address } = await listenOn(handler);
    const tensor = numbers(100_000);
    const parameters = Object.fromEntries(
      Array.from({ length: 60 }, (_, at) => [`own${at}`, "v".repeat(300)]),
    );
    const { stream, closed } = call(address);
    const bytes = message(tensor, parameters);
    for (let at = 0; at < bytes.byteLength; at += 3000) {
      stream.write(bytes.subarray(at, at + 3000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    stream.end();
    await closed;
    expect(same).toBe(true);
    expect(came?.equals(tensor)).toBe(true);
  });

  it("is not whole before the end of its last, empty input has come", async () => {
    let came = 0;
    let begun = (): void => undefined;
    const begins = new Promise<void>((resolve) => (begun = resolve));
    let length = 0;
    const handler: Handler = async (request) => {
      const { body, headerLength } = binaryOf(request);
      length = headerLength + 100_000;
      begun();
      for await (const chunk of body.read()) came += chunk.byteLength;
      return done;
    };
    const { address } = await listenOn(handler);
    const { session, stream, closed } = call(address);
    const bytes = message(numbers(100_000), {}, true);
    stream.write(bytes.subarray(0, -2));
    await begins;
    for (let same = 0, last = -1; same < 30; same = came === last ? same + 1 : 0) {
      last = came;
      await new Promise<void>((resolve) => session.ping(() => resolve()));
    }
    expect(came).toBeLessThan(length);
    stream.end(bytes.subarray(-2));
    await closed;
    expect(came).toBe(length);
  });

  it("is not made where it would be longer than a message may be", async () => {
    const told: unknown[] = [];
    const handler: Handler = async ({ message: asked }) => {
      told.push(asked?.binary?.(), (await asked?.read())?.inputs.length);
      return done;
    };
    const bytes = message(numbers(100_000));
    const { address } = await listenOn(handler, {
      limits: { ...defaultWireLimits, maxBodyBytes: bytes.byteLength - 5 },
    });
    const { stream, closed } = call(address);
    stream.end(bytes);
    await closed;
    expect(told).toEqual([undefined, 1]);
  });

  it("is not made of short messages", async () => {
    const forms: unknown[] = [];
    const handler: Handler = async ({ message: asked }) => {
      forms.push(asked?.binary);
      await asked?.read();
      return done;
    };
    const { address } = await listenOn(handler);
    const { stream, closed } = call(address);
    stream.end(message(numbers(1000)));
    await closed;
    expect(forms).toEqual([undefined]);
  });

  it("is not made if names follow those of the path", async () => {
    const told: unknown[] = [];
    const handler: Handler = async ({ path, message: asked }) => {
      told.push(path, asked?.binary?.());
      await asked?.read().catch((thrown: LongshoreError) => told.push(thrown.reason));
      return done;
    };
    const { address } = await listenOn(handler);
    const { stream, closed } = call(address);
    const bytes = message(numbers(100_000)).subarray(5);
    // The name of the model, then an unknown field, and then the version.
    const unknown = [((100 * 8) % 128) + 128, (100 * 8) >> 7, 1];
    const version = [2 * 8 + 2, 1, 49];
    const all = Buffer.concat([
      bytes.subarray(0, 3),
      Buffer.from([...unknown, ...version]),
      bytes.subarray(3),
    ]);
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(all.byteLength, 1);
    stream.end(Buffer.concat([prefix, all]));
    await closed;
    expect(told).toEqual(["/v2/models/m/infer", undefined, "invalid-input"]);
  });

  it("is dropped where it is answered early, and its call ends", async () => {
    let left = false;
    const handler: Handler = async (request) => {
      const chunks = binaryOf(request).body.read()[Symbol.asyncIterator]();
      await chunks.next();
      void chunks.next().then(({ done: over }) => (left = over === true));
      return done;
    };
    const { address } = await listenOn(handler);
    const { stream, closed } = call(address);
    const bytes = message(numbers(200_000));
    stream.write(bytes.subarray(0, 50_000));
    await new Promise((resolve) => stream.once("trailers", resolve));
    stream.end(bytes.subarray(50_000));
    await closed;
    expect(left).toBe(true);
  });

  it.each(["in binary form", "whole"])(
    "is not waited for %s when the deadline of its call has passed",
    async (how) => {
      const clock = manualClock();
      let begun = (): void => undefined;
      const begins = new Promise<void>((resolve) => (begun = resolve));
      let over: (thrown: unknown) => void = () => undefined;
      const ended = new Promise<unknown>((resolve) => (over = resolve));
      const handler: Handler = async (request, asked) => {
        const reading = how === "whole" ? request.message?.read() : read(binaryOf(request));
        begun();
        await reading?.catch(over);
        throw asked.abort.reason as LongshoreError;
      };
      const { address } = await listenOn(handler, { clock });
      const { stream, closed } = call(address, { "grpc-timeout": "2S" });
      stream.write(message(numbers(200_000)).subarray(0, 100_000));
      await begins;
      void clock.advance(2000);
      expect(await ended).toMatchObject({ reason: "deadline-exceeded" });
      stream.close();
      await closed;
    },
  );
});
