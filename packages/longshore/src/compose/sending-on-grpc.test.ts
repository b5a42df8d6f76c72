import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { afterEach, expect, it } from "vitest";
import { grpcStream } from "@longshore/testkit";
import { answer, before, closeAll, type Infer, readAll, upstream } from "../../test/upstream.ts";
import type { GatewayOptions } from "./forwarding.ts";

const sessions: ClientHttp2Session[] = [];
afterEach(async () => {
  for (const one of sessions.splice(0)) one.destroy();
  await closeAll();
});

const varint = (value: number): readonly number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];

/** A field of protobuf with a length. */
function field(number: number, content: Uint8Array | string): Buffer {
  const bytes = Buffer.from(content as Uint8Array);
  return Buffer.concat([Buffer.from([number * 8 + 2, ...varint(bytes.byteLength)]), bytes]);
}

const floats = 100_000;
const tensor = Buffer.from(Float32Array.from({ length: floats }, (_, index) => index).buffer);

interface Input {
  readonly name: string;
  readonly size: number;
}

/** The bytes before the raw contents of a `ModelInferRequest`. */
const beginning = (inputs: readonly Input[]): Buffer =>
  Buffer.concat([
    field(1, "sum"),
    field(3, "seven"),
    // own: 3
    field(4, Buffer.concat([field(1, "own"), field(2, Buffer.from([2 * 8, 3]))])),
    ...inputs.map(({ name, size }) =>
      field(5, Buffer.concat([field(1, name), field(2, "FP32"), field(3, Buffer.from(varint(size)))])),
    ),
  ]);

const message = Buffer.concat([beginning([{ name: "x", size: floats }]), field(7, tensor)]);

const prefixed = (bytes: Buffer, length = bytes.byteLength): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, bytes]);
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Reply {
  readonly code: number;
  readonly reason: string | undefined;
  readonly message: string;
  readonly bytes: Buffer;
}

/** A call of `ModelInfer` that the test writes. */
function call(
  address: string,
  headers: Record<string, string> = {},
): { readonly stream: ClientHttp2Stream; readonly reply: Promise<Reply> } {
  const session = connect(`http://${address}`);
  session.on("error", () => undefined);
  sessions.push(session);
  const stream = grpcStream(session, "ModelInfer", headers);
  const reply = new Promise<Reply>((resolve, reject) => {
    const chunks: Buffer[] = [];
    const told: Record<string, unknown> = {};
    stream.on("response", (given) => Object.assign(told, given));
    stream.on("trailers", (given) => Object.assign(told, given));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      const code = Number(told["grpc-status"] ?? -1);
      const reason = told["longshore-reason"] as string | undefined;
      const text = decodeURIComponent((told["grpc-message"] as string | undefined) ?? "");
      resolve({ code, reason, message: text, bytes: Buffer.concat(chunks) });
    });
  });
  reply.catch(() => undefined);
  return { stream, reply };
}

async function grpcBefore(addresses: readonly string[], more: Partial<GatewayOptions> = {}): Promise<string> {
  const { grpcAddress } = await before(addresses, { grpcPort: 0, ...more });
  return grpcAddress ?? "";
}

/** Bodies that came whole, with their JSON read. */
function taken(bodies: { json: unknown; tensors: Buffer }[]): Infer {
  return async (request, response) => {
    const bytes = await readAll(request);
    const length = Number(request.headers["inference-header-content-length"]);
    bodies.push({ json: JSON.parse(bytes.toString("utf8", 0, length)), tensors: bytes.subarray(length) });
    response.end(Buffer.concat([answer(response, 1), Buffer.from(new Float32Array([42]).buffer)]));
  };
}

it("sends raw contents on over HTTP, byte for byte, while the rest of them is still on its way", async () => {
  let begun = (): void => undefined;
  const beginning = new Promise<void>((resolve) => (begun = resolve));
  const bodies: { json: unknown; tensors: Buffer }[] = [];
  const address = await grpcBefore([
    await upstream(async (request, response) => {
      request.once("data", begun);
      await taken(bodies)(request, response);
    }),
  ]);
  const { stream, reply } = call(address);
  const sent = prefixed(message);
  for (const [from, to] of [
    [0, 3],
    [3, 60],
    [60, 150_001],
  ]) {
    stream.write(sent.subarray(from, to));
    await turn();
  }
  await beginning;
  stream.end(sent.subarray(150_001));
  const { code, bytes } = await reply;
  expect(code).toBe(0);
  expect(bytes.readFloatLE(bytes.byteLength - 4)).toBe(42);
  expect(bodies).toHaveLength(1);
  expect(bodies[0]?.tensors.equals(tensor)).toBe(true);
  expect(bodies[0]?.json).toEqual({
    id: "seven",
    parameters: { own: 3, binary_data_output: true },
    inputs: [
      { name: "x", datatype: "FP32", shape: [floats], parameters: { binary_data_size: tensor.byteLength } },
    ],
  });
});

const two = [
  { name: "a", size: floats },
  { name: "b", size: floats },
];
const both = Buffer.concat([beginning(two), field(7, tensor), field(7, tensor)]);
const twoPorts = two.map(({ name }) => ({ name, datatype: "FP32", shape: [-1] }));

it("sends several inputs on, one after the other, however they are cut", async () => {
  const bodies: { json: unknown; tensors: Buffer }[] = [];
  const address = await grpcBefore([await upstream(taken(bodies), twoPorts)]);
  const other = Buffer.from(tensor).reverse();
  const head = beginning(two);
  const sent = prefixed(Buffer.concat([head, field(7, tensor), field(7, other)]));
  const { stream, reply } = call(address);
  // Around where the framing of the second input lies, byte by byte.
  const second = 5 + head.byteLength + 4 + tensor.byteLength;
  stream.write(sent.subarray(0, second - 4));
  for (let at = second - 4; at < second + 8; at++) {
    await turn();
    stream.write(sent.subarray(at, at + 1));
  }
  stream.end(sent.subarray(second + 8));
  expect(await reply).toMatchObject({ code: 0 });
  expect(bodies[0]?.tensors.equals(Buffer.concat([tensor, other]))).toBe(true);
});

it("sends all of it to another server when the first breaks off in the middle", async () => {
  const bodies: { json: unknown; tensors: Buffer }[] = [];
  let broken = 0;
  const infer: Infer = (request, response) => {
    if (broken > 0) return taken(bodies)(request, response);
    broken += 1;
    request.once("data", () => request.socket.destroy());
  };
  const address = await grpcBefore([await upstream(infer), await upstream(infer)]);
  const { stream, reply } = call(address);
  const sent = prefixed(message);
  for (let at = 0; at < sent.byteLength; at += 40_001) {
    stream.write(sent.subarray(at, at + 40_001));
    await turn();
  }
  stream.end();
  expect(await reply).toMatchObject({ code: 0 });
  expect(broken).toBe(1);
  expect(bodies).toHaveLength(1);
  expect(bodies[0]?.tensors.equals(tensor)).toBe(true);
});

it("keeps no more of a message than its limit, and then has no second try", async () => {
  let asked = 0;
  const infer: Infer = (request) => {
    asked += 1;
    let came = 0;
    request.on("error", () => undefined);
    request.on("data", (chunk: Buffer) => {
      if ((came += chunk.byteLength) > 300_000) request.socket.destroy();
    });
  };
  const address = await grpcBefore([await upstream(infer), await upstream(infer)], { maxKeptBytes: 65_536 });
  const { stream, reply } = call(address);
  stream.end(prefixed(message));
  expect((await reply).code).toBe(14);
  expect(asked).toBe(1);
});

/** A server that tells when what it is sent breaks off, and how much of it came. */
async function leftBehind(infer: Infer = () => undefined, ports = twoPorts) {
  let asked = 0;
  let over = (): void => undefined;
  let begun = (): void => undefined;
  const left = new Promise<void>((resolve) => (over = resolve));
  const began = new Promise<void>((resolve) => (begun = resolve));
  let lies = true;
  const address = await upstream(async (request, response) => {
    asked += 1;
    if (!lies) return infer(request, response);
    request.once("data", begun);
    request.on("error", () => undefined).once("close", over);
  }, ports);
  return { address, left, began, asked: () => asked, answers: () => void (lies = false) };
}

it("gives up a forwarded request if an input's length differs from its announcement, and blames no server", async () => {
  const bodies: { json: unknown; tensors: Buffer }[] = [];
  const server = await leftBehind(taken(bodies));
  const address = await grpcBefore([server.address]);
  const head = beginning(two);
  const longer = Buffer.concat([tensor, Buffer.alloc(4)]);
  const lying = Buffer.from(both);
  // The second length, of three bytes of seven bits each: 128 less than the room for it.
  const middle = head.byteLength + 4 + tensor.byteLength + 2;
  lying[middle] = (lying[middle] ?? 0) - 1;
  const { stream, reply } = call(address);
  const sent = prefixed(lying);
  stream.write(sent.subarray(0, 200_000));
  await server.began;
  stream.end(sent.subarray(200_000));
  expect(await reply).toMatchObject({ code: 3, reason: "body-mismatch" });
  expect((await reply).message).toContain("b takes 400000 bytes, but its raw_input_contents are 399872");
  await server.left;
  expect(server.asked()).toBe(1);
  server.answers();
  // Lies that show in the first bytes are refused without a request to a server.
  const early = call(address);
  early.stream.end(prefixed(Buffer.concat([head, field(7, longer), field(7, tensor.subarray(4))])));
  expect(await early.reply).toMatchObject({ code: 3, reason: "body-mismatch" });
  expect(server.asked()).toBe(1);
  const good = call(address);
  good.stream.end(prefixed(both));
  expect(await good.reply).toMatchObject({ code: 0 });
  expect(bodies).toHaveLength(1);
});

it.each(["ends its call", "leaves", "sends a second message"] as const)(
  "leaves the server when a client %s in the middle",
  async (how) => {
    const server = await leftBehind();
    const address = await grpcBefore([server.address]);
    const { stream, reply } = call(address);
    const whole = prefixed(both);
    stream.write(whole.subarray(0, 200_000));
    await server.began;
    if (how === "ends its call") stream.end();
    else if (how === "leaves") stream.close(constants.NGHTTP2_CANCEL);
    else stream.end(Buffer.concat([whole.subarray(200_000), prefixed(Buffer.alloc(3))]));
    if (how === "leaves") await reply.catch(() => undefined);
    else expect(await reply).toMatchObject({ code: 3 });
    await server.left;
    expect(server.asked()).toBe(1);
  },
);

it("leaves the server when the deadline passes before all of it is here", async () => {
  const server = await leftBehind();
  const address = await grpcBefore([server.address]);
  const { stream, reply } = call(address, { "grpc-timeout": "1500m" });
  stream.write(prefixed(both).subarray(0, 200_000));
  expect(await reply).toMatchObject({ code: 4 });
  if (server.asked() > 0) await server.left;
});

it("calls no server for a message above the limit, or one that its rules keep here", async () => {
  const server = await leftBehind();
  const address = await grpcBefore([server.address]);
  const large = call(address);
  large.stream.write(prefixed(both, 65 * 2 ** 20).subarray(0, 100_000));
  expect(await large.reply).toMatchObject({ code: 8, reason: "body-too-large" });
  const denied = call(address, { "longshore-rules": "class=secret" });
  denied.stream.write(prefixed(both).subarray(0, 100_000));
  expect(await denied.reply).toMatchObject({ code: 7, reason: "policy-denied" });
  expect(server.asked()).toBe(0);
});
