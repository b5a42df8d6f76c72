import { once } from "node:events";
import { createServer, type Server as PlainServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { type AddressInfo, connect, createServer as createRelay, type Socket } from "node:net";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Metadata, Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { type Call, defaultWireLimits, emptyBody, LongshoreError, type Transport } from "@longshore/core";
import {
  housekeepingCall,
  type InferReplyMessage,
  type InferRequestMessage,
  neverAborted,
  readLoadHeaders,
} from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { manualClock, settle } from "@longshore/testkit";
import { afterEach, expect, it } from "vitest";
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
  ModelStreamInferResponseSchema,
} from "../proto/inference_pb.ts";
import { grpcTransport, type GrpcTransportOptions } from "./index.ts";

type Reply = MessageInitShape<typeof ModelStreamInferResponseSchema> | Uint8Array;
type Stream = ServerDuplexStream<ModelInferRequest, Reply>;

const open: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** gRPC's own server for Node.js, with messages by the generated schemas: nothing of the code under test is in it. */
async function server(serve: (stream: Stream, request: ModelInferRequest) => unknown, port = 0) {
  const own = new Server();
  const service = {
    ModelStreamInfer: {
      path: "/inference.GRPCInferenceService/ModelStreamInfer",
      requestStream: true,
      responseStream: true,
      requestSerialize: (): Buffer => Buffer.alloc(0),
      requestDeserialize: (bytes: Buffer) => fromBinary(ModelInferRequestSchema, bytes),
      responseSerialize: (reply: Reply): Buffer =>
        Buffer.from(
          reply instanceof Uint8Array
            ? reply
            : toBinary(ModelStreamInferResponseSchema, create(ModelStreamInferResponseSchema, reply)),
        ),
      responseDeserialize: (bytes: Buffer) => bytes,
    },
  };
  own.addService(service, {
    ModelStreamInfer: (stream: Stream) =>
      stream.on("data", (request: ModelInferRequest) => void serve(stream, request)),
  });
  const bound = await new Promise<number>((resolve, reject) =>
    own.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, found) =>
      error ? reject(error) : resolve(found),
    ),
  );
  const close = (): void => own.forceShutdown();
  open.push(close);
  return { port: bound, address: `http://127.0.0.1:${bound}`, close };
}

function transport(address: string, options: Partial<GrpcTransportOptions> = {}): Transport {
  const made = grpcTransport({ address, clock: systemClock(), ...options });
  open.push(() => made.close());
  return made;
}

const asked: InferRequestMessage = {
  id: "one",
  parameters: { flag: true, count: 3 },
  inputs: [
    { name: "x", datatype: "UINT8", shape: [1, 3], parameters: {}, bytes: Uint8Array.of(1, 2, 3) },
    {
      name: "long",
      datatype: "UINT8",
      shape: [40_000],
      parameters: {},
      bytes: new Uint8Array(40_000).fill(7),
    },
  ],
  outputs: [{ name: "y", binary: true }],
  binaryOutputs: true,
};

async function ask(to: Transport, call: Partial<Call> = {}, begins = (): void => undefined) {
  const read = async (): Promise<InferRequestMessage> => {
    begins();
    return asked;
  };
  const message = { byteLength: 3, stream: true, read };
  return to.send(
    {
      method: "POST",
      path: "/v2/models/a%20model/versions/3/infer",
      headers: { traceparent: "00-t" },
      body: emptyBody,
      message,
    },
    { ...housekeepingCall("test", neverAborted), ...call },
  );
}

it("says what a connection would take, and how long the open one has been idle", async () => {
  const clock = manualClock();
  const { address } = await server((stream) => stream.end());
  const to = transport(address, { clock });
  expect(to.connecting?.()).toEqual({ roundTrips: 1 });
  await all(to);
  expect(to.connecting?.()).toBeUndefined();
  await clock.advance(700);
  expect(to.connecting?.()).toEqual({ roundTrips: 0, idleMs: 700 });
  await to.close();
  expect(transport("https://edge:8001").connecting?.()).toEqual({ roundTrips: 4 });
});

/** The first numbers of all answers, and the reason of what ended them. */
async function all(to: Transport, call: Partial<Call> = {}, seen: unknown[] = []): Promise<unknown[]> {
  try {
    const { status, body, messages } = await ask(to, call);
    if (!messages) {
      const [bytes] = body.kind === "parts" ? body.parts : [];
      return [status, JSON.parse(new TextDecoder().decode(bytes)) as unknown];
    }
    for await (const one of messages) seen.push(first(one));
  } catch (thrown) {
    seen.push((thrown as LongshoreError).reason);
  }
  return seen;
}

const first = ({ outputs }: InferReplyMessage): unknown => outputs[0]?.bytes[0];

const answer = (value: number, bytes = 1): Reply => ({
  inferResponse: {
    modelName: "a model",
    outputs: [{ name: "y", datatype: "UINT8", shape: [BigInt(bytes)] }],
    rawOutputContents: [new Uint8Array(bytes).fill(value)],
  },
});

it("sends the request as another decoder reads it, and gives all answers in their order", async () => {
  let came: ModelInferRequest | undefined;
  let told = new Metadata();
  const { address } = await server((stream, request) => {
    [came, told] = [request, stream.metadata];
    for (let value = 0; value < 50; value++) stream.write(answer(value, 1 + value * 1000));
    stream.end();
  });
  const deadlineMs = systemClock().nowMs() + 20_000;
  expect(await all(transport(address), { deadlineMs })).toEqual(
    Array.from({ length: 50 }, (_, value) => value),
  );
  expect(came).toMatchObject({ modelName: "a model", modelVersion: "3", id: "one" });
  expect(came?.inputs.map(({ name, shape }) => [name, shape])).toEqual([
    ["x", [1n, 3n]],
    ["long", [40_000n]],
  ]);
  expect(came?.rawInputContents.map((bytes) => Buffer.from(bytes).toString("hex"))).toEqual(
    asked.inputs.map(({ bytes }) => Buffer.from(bytes).toString("hex")),
  );
  expect(came?.outputs.map(({ name }) => name)).toEqual(["y"]);
  expect(came?.parameters["count"]?.parameterChoice).toEqual({ case: "int64Param", value: 3n });
  expect(told.get("traceparent")).toEqual(["00-t"]);
  // Triton 2.51 crashes on errors of models that it is to tell so.
  expect(told.get("triton_grpc_error")).toEqual([]);
});

it("gives no answer if the server gives none, and leaves out replies that only mark the end", async () => {
  const { address } = await server((stream) => {
    stream.write({ inferResponse: { modelName: "a model" } });
    stream.end();
  });
  expect(await all(transport(address))).toEqual([]);
});

it("gives the server's error before the first answer as a reply, and later as an error", async () => {
  const trailers = new Metadata();
  trailers.set("grpc-retry-pushback-ms", "250");
  let before = true;
  const { address } = await server((stream) => {
    if (!before) stream.write(answer(1));
    stream.emit("error", { code: 8, details: "too busy: 100 %", metadata: trailers });
  });
  const to = transport(address);
  expect(await all(to)).toEqual([429, { error: "too busy: 100 %", retryAfterMs: 250 }]);
  before = false;
  expect(await all(to)).toEqual([1, "rejected"]);
});

it.each([
  ["protobuf", "endpoint-load-metrics-bin", Buffer.from([9, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f]), 0.5],
  ["text", "endpoint-load-metrics", "TEXT cpu_utilization=0.25", 0.25],
  ["bytes that are no report", "endpoint-load-metrics-bin", Buffer.from([9, 0, 0]), undefined],
] as const)("tells the load that comes behind the answers, as %s", async (_, name, value, cpuRatio) => {
  const trailers = new Metadata();
  trailers.set(name, value);
  const { address } = await server((stream) => {
    stream.write(answer(1));
    stream.write(answer(2));
    stream.end(trailers);
  });
  const response = await ask(transport(address));
  const load = () => readLoadHeaders(response.trailers?.() ?? {}, 3);
  const seen: unknown[] = [];
  for await (const one of response.messages ?? []) {
    seen.push(first(one));
    if (seen.length === 1) expect(load()).toBeUndefined();
  }
  expect(seen).toEqual([1, 2]);
  expect(load()?.cpuRatio).toBe(cpuRatio);
});

it("takes an error in words for one", async () => {
  let before = true;
  const { address } = await server((stream) => {
    if (!before) stream.write(answer(1));
    stream.write({ errorMessage: "no such thing", inferResponse: { modelName: "a model" } });
    stream.end();
  });
  const to = transport(address);
  expect(await all(to)).toEqual([500, { error: "no such thing" }]);
  before = false;
  expect(await all(to)).toEqual([1, "run-failed"]);
});

it("ends the call at the server when its own ends, or its reader leaves", async () => {
  let left = 0;
  let both = (): void => undefined;
  const told = new Promise<void>((resolve) => (both = resolve));
  const { address } = await server((stream) => {
    stream.on("cancelled", () => ++left === 2 && both());
    stream.write(answer(1));
    stream.write(answer(2));
  });
  const to = transport(address);
  const ends = new AbortController();
  const seen: unknown[] = [];
  const reading = all(to, { abort: ends.signal }, seen);
  await expect.poll(() => seen.length).toBe(2);
  ends.abort(new LongshoreError("cancelled", "execute", "enough"));
  expect(await reading).toEqual([1, 2, "cancelled"]);
  for await (const _one of (await ask(to)).messages ?? []) break;
  await told;
});

it("holds the server back while nobody reads", async () => {
  let written = 0;
  const { address } = await server(async (stream) => {
    for (; written < 100; written++) if (!stream.write(answer(written, 1 << 20))) await once(stream, "drain");
    stream.end();
  });
  const { messages } = await ask(transport(address));
  const reader = messages?.[Symbol.asyncIterator]();
  expect((await reader?.next())?.value).toBeDefined();
  let before = -1;
  await expect
    .poll(() => [before, (before = written)], { interval: 200, timeout: 60_000 })
    .toSatisfy(([one, other]) => one === other);
  expect(written).toBeLessThan(100);
  let count = 1;
  while (!(await reader?.next())?.done) count++;
  expect(count).toBe(100);
});

it("says that nobody listens, that what listens does not speak gRPC, and that nothing comes", async () => {
  const gone = await server(() => undefined);
  gone.close();
  expect(await all(transport(gone.address))).toEqual(["unreachable"]);
  const plain: PlainServer = createServer((_, response) => response.end("hello")).listen(0, "127.0.0.1");
  await once(plain, "listening");
  open.push(() => void plain.close());
  const port = (plain.address() as AddressInfo).port;
  expect(await all(transport(`http://127.0.0.1:${port}`))).toEqual(["no-answer"]);
  const silent = await server(() => undefined);
  expect(await all(transport(silent.address, { idleTimeoutMs: 100 }))).toEqual(["no-answer"]);
});

it.each<[string, Reply]>([
  ["bytes that are no message", Uint8Array.of(0x12, 0xff, 1)],
  [
    "fewer bytes than the shape takes",
    {
      inferResponse: {
        outputs: [{ name: "y", datatype: "FP32", shape: [4n] }],
        rawOutputContents: [Uint8Array.of(1)],
      },
    },
  ],
  ["more bytes than are read", answer(1, 5000)],
])("takes %s for a bad reply", async (_, reply) => {
  const { address } = await server((stream) => {
    stream.write(reply);
    stream.end();
  });
  const limits = { ...defaultWireLimits, maxBodyBytes: 4096 };
  expect(await all(transport(address, { limits }))).toEqual(["bad-reply"]);
});

it("cuts answers off with their server, and finds it again", async () => {
  const serve = (stream: Stream): void => {
    stream.write(answer(1));
    if (!cuts) stream.end();
  };
  let cuts = true;
  const one = await server(serve);
  const to = transport(one.address);
  const seen: unknown[] = [];
  const reading = all(to, {}, seen);
  await expect.poll(() => seen.length).toBe(1);
  one.close();
  expect(await reading).toEqual([1, "no-answer"]);
  expect(await all(to)).toEqual(["unreachable"]);
  cuts = false;
  await server(serve, one.port);
  expect(await all(to)).toEqual([1]);
});

/** A relay before a server that can stop: it then reads and writes nothing, and neither end is told. */
async function relay(port: number) {
  const carried: Socket[] = [];
  const own = createRelay((near) => {
    const far = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      carried.push(from);
      from
        .on("error", () => to.destroy())
        .on("close", () => to.destroy())
        .pipe(to);
    }
  }).listen(0, "127.0.0.1");
  await once(own, "listening");
  open.push(() => {
    own.close();
    for (const one of carried) one.destroy();
  });
  const stop = (): void => {
    for (const one of carried) one.unpipe().pause();
  };
  return { address: `http://127.0.0.1:${(own.address() as AddressInfo).port}`, carried, stop };
}

it("opens another connection after a server went without a word, and gives the first one up", async () => {
  const clock = manualClock();
  const { port } = await server((stream) => {
    stream.write(answer(1));
    stream.end();
  });
  const { address, carried, stop } = await relay(port);
  const to = transport(address, { clock });
  expect(await all(to)).toEqual([1]);
  stop();
  const ends = new AbortController();
  let unanswered: Promise<unknown> = Promise.resolve();
  await new Promise<void>((resolve) => {
    unanswered = ask(to, { abort: ends.signal }, resolve);
  });
  await settle();
  ends.abort(new LongshoreError("cancelled", "execute", "it took too long"));
  await expect(unanswered).rejects.toMatchObject({ reason: "cancelled" });
  await clock.advance(1000);
  expect(await all(to)).toEqual([1]);
  expect(carried).toHaveLength(4);
  await clock.advance(4000);
  // Read on, it has come to its end.
  await expect.poll(() => carried[0]?.resume().destroyed).toBe(true);
  expect(await all(to)).toEqual([1]);
  expect(carried).toHaveLength(4);
});

it("keeps the connection to a server that is left and still listens", async () => {
  const clock = manualClock();
  const { port } = await server((stream) => {
    stream.write(answer(1));
  });
  const { address, carried } = await relay(port);
  const to = transport(address, { clock });
  for (let round = 0; round < 3; round++) {
    for await (const _one of (await ask(to)).messages ?? []) break;
    // All timers but that of the silence of calls, which looks after all of them.
    await expect.poll(() => clock.armed()).toBeLessThan(2);
    await clock.advance(5000);
  }
  expect(carried).toHaveLength(2);
});

it("leaves many calls in a row without a ping, which servers in C++ end the connection for", async () => {
  const clock = manualClock();
  let pings = 0;
  let connections = 0;
  const own = createHttp2Server()
    .on("session", (session) => {
      connections++;
      session.on("ping", () => pings++);
      open.push(() => session.destroy());
    })
    .on("stream", (stream) => void stream.on("error", () => undefined).resume())
    .listen(0, "127.0.0.1");
  await once(own, "listening");
  open.push(() => void own.close());
  const to = transport(`http://127.0.0.1:${(own.address() as AddressInfo).port}`, { clock });
  for (let round = 0; round < 8; round++) {
    const ends = new AbortController();
    let unanswered: Promise<unknown> = Promise.resolve();
    await new Promise<void>((resolve) => {
      unanswered = ask(to, { abort: ends.signal }, resolve);
    });
    await settle();
    ends.abort(new LongshoreError("cancelled", "execute", "it took too long"));
    await expect(unanswered).rejects.toMatchObject({ reason: "cancelled" });
    await expect.poll(() => clock.armed()).toBeLessThan(2);
  }
  expect({ pings, connections }).toEqual({ pings: 0, connections: 1 });
});

it.each(["ftp://host", "http://host:1/path", "host:8001", ""])("refuses the address '%s'", (address) => {
  expect(() => grpcTransport({ address, clock: systemClock() })).toThrow(LongshoreError);
});
