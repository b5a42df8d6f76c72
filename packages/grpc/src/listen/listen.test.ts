import { gzipSync } from "node:zlib";
import type { TlsOptions } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  emptyBody,
  type Handler,
  LongshoreError,
  type LongshoreEvent,
  seededRandom,
  type Tensors,
  type WireRequest,
} from "@longshore/core";
import { type InferReplyMessage, internalErrorText } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { createTelemetry } from "@longshore/server";
import { doubleDescription, type DoubleModel } from "@longshore/testkit";
import { testAuthority } from "@longshore/testkit/certificates";
import { type ChannelCredentials, compressionAlgorithms, credentials, status as codes } from "@grpc/grpc-js";
import { connect, doubling, failure, gather, metadata, put, raw, valuesOf } from "../../test/client.ts";
import { closeAll, doubleModel, listenOn, mixedModel, openServer } from "../../test/open-server.ts";
import * as proto from "../proto/inference_pb.ts";
import { HealthCheckRequestSchema, HealthCheckResponseSchema } from "../proto/health_pb.ts";

const clients: { close(): void }[] = [];
afterEach(async () => {
  for (const one of clients.splice(0)) one.close();
  await closeAll();
});

/** How connections are made and read. */
interface Wire {
  readonly http?: "node";
  readonly tls?: TlsOptions;
  readonly credentials?: ChannelCredentials;
}

const plain: Wire = {};

async function encrypted(): Promise<Wire> {
  const ours = await testAuthority("ours");
  const { certificatePem, keyPem } = await ours.issue({
    name: "server",
    hosts: ["localhost"],
    addresses: ["127.0.0.1"],
  });
  return {
    tls: { cert: certificatePem, key: keyPem },
    credentials: credentials.createSsl(Buffer.from(ours.certificatePem)),
  };
}

let wire: Wire = plain;

function dial(address: string) {
  const client = connect(address, wire.credentials);
  clients.push(client);
  return client;
}

const optionsOf = (options: Parameters<typeof openServer>[1]) => ({
  ...options,
  ...(wire.tls ? { tls: wire.tls } : {}),
  ...(wire.http ? { http: wire.http } : {}),
});

const listenHere = (handler: Handler, options: Parameters<typeof openServer>[1] = {}) =>
  listenOn(handler, optionsOf(options));

async function connected(...[models, options, change]: Parameters<typeof openServer>) {
  const opened = await openServer(models, optionsOf(options), change);
  return { ...opened, ...dial(opened.address) };
}

/** A model that answers on command. */
function slowModel(name = "slow") {
  const waiting: (() => void)[] = [];
  const began: (() => void)[] = [];
  const aborted: unknown[] = [];
  const model: DoubleModel = {
    ...doubleModel,
    description: doubleDescription({ ...doubleModel.description, name }),
    run: (inputs, request, call) =>
      new Promise<Tensors>((resolve, reject) => {
        // The double's own model answers at once, with tensors.
        waiting.push(() => resolve(doubleModel.run(inputs, request, call) as Tensors));
        call.abort.addEventListener("abort", () => {
          aborted.push(call.abort.reason);
          reject(call.abort.reason as Error);
        });
        for (const one of began.splice(0)) one();
      }),
  };
  const begun = (): Promise<void> =>
    waiting.length > 0 ? Promise.resolve() : new Promise((resolve) => began.push(resolve));
  return { model, waiting, begun, aborted };
}

function encodedDoubling(modelName: string): Uint8Array {
  const name = Buffer.from(modelName);
  const input = Buffer.from("\n\u0001x\u0012\u0004FP32\u001a\u0002\u0001\u0001", "latin1");
  return Buffer.concat([
    Buffer.from([0x0a, name.length]),
    name,
    Buffer.from([0x2a, input.length]),
    input,
    Buffer.from([0x3a, 4]),
    raw([1]),
  ]);
}

describe.each([
  ["plain", async () => plain],
  ["with TLS", encrypted],
  ["framed by Node.js", async (): Promise<Wire> => ({ http: "node" })],
] as const)("%s", (_what, open) => {
  beforeAll(async () => {
    wire = await open();
    return () => {
      wire = plain;
    };
  });

  describe("inference", () => {
    it("answers raw contents with raw contents, and keeps id and parameters", async () => {
      const { infer } = await connected();
      const { message, trailers } = await infer(doubling([1, 2, 3], { id: "7" }));
      expect(valuesOf(message)).toEqual([2, 4, 6]);
      expect(message).toMatchObject({ modelName: "double", modelVersion: "1", id: "7" });
      expect(message.outputs[0]).toMatchObject({ name: "y", datatype: "FP32", shape: [1n, 3n] });
      // cpu_utilization of the double's load, as ORCA's protobuf
      const [load] = trailers.get("endpoint-load-metrics-bin");
      expect(Buffer.from(load as Buffer).readDoubleLE(1)).toBe(0.25);
    });

    it("answers typed contents, several inputs and BYTES", async () => {
      const { infer } = await connected();
      const { message } = await infer({
        modelName: "mixed",
        modelVersion: "3",
        inputs: [
          { name: "n", datatype: "INT32", shape: [2n], contents: { intContents: [-1, 41] } },
          {
            name: "words",
            datatype: "BYTES",
            shape: [1n],
            contents: { bytesContents: [Buffer.from("yes")] },
          },
        ],
        outputs: [{ name: "words" }, { name: "n" }],
      });
      expect(message.outputs.map(({ name }) => name)).toEqual(["words", "n"]);
      expect(Buffer.from(message.rawOutputContents[0] ?? []).toString("latin1")).toBe("\u0003\0\0\0YES");
      expect([...new Int32Array(new Uint8Array(message.rawOutputContents[1] ?? []).buffer)]).toEqual([0, 42]);
    });

    it("gives the best classes", async () => {
      const { infer } = await connected();
      const classification = { parameterChoice: { case: "int64Param" as const, value: 2n } };
      const { message } = await infer(
        doubling([1, 3, 2], { outputs: [{ name: "y", parameters: { classification } }] }),
      );
      expect(Buffer.from(message.rawOutputContents[0] ?? []).toString("latin1")).toContain("6.000000:1:dog");
    });

    it.each([1, 16_384, 16_385, 600_000, 5_000_000])("carries a tensor of %i values whole", async (count) => {
      const { infer } = await connected();
      const values = Array.from({ length: count }, (_, index) => index % 1000);
      const { message } = await infer(doubling(values));
      expect(valuesOf(message).length).toBe(count);
      expect(valuesOf(message).every((value, index) => value === (index % 1000) * 2)).toBe(true);
    });

    it("reads a message into memory that the handler gives, which may hold anything", async () => {
      const asked: number[] = [];
      const seen: (readonly [buffer: boolean, offset: number, values: readonly number[]])[] = [];
      const memory = new ArrayBuffer(100_000);
      const { address } = await listenHere(async ({ message }) => {
        const given = (byteLength: number): ArrayBuffer => {
          asked.push(byteLength);
          return new Uint8Array(memory).fill(0xff).buffer.slice(0, byteLength);
        };
        const [input] = (await message?.read(given))?.inputs ?? [];
        if (!input) throw new LongshoreError("internal", "decode", "no input came");
        const { buffer, byteOffset } = input.bytes;
        const values = [...new Float32Array(buffer as ArrayBuffer, byteOffset, 4)];
        seen.push([buffer.byteLength === asked.at(-1), byteOffset % 8, values]);
        return {
          status: 200,
          headers: {},
          body: emptyBody,
          message: { modelName: "double", parameters: {}, outputs: [] },
        };
      });
      const client = dial(address);
      for (const first of [1, 2]) {
        await client.infer(doubling(Array.from({ length: 20_000 }, (_, index) => first + index)));
      }
      expect(asked[0]).toBeGreaterThan(80_000);
      expect(asked[1]).toBe(asked[0]);
      expect(seen).toEqual([
        [true, 0, [1, 2, 3, 4]],
        [true, 0, [2, 3, 4, 5]],
      ]);
    });

    const refused: readonly [string, proto.ModelInferRequest["modelName"], object, number, string][] = [
      ["an unknown model", "none", {}, codes.NOT_FOUND, "unknown-model"],
      ["an unknown version", "double", { modelVersion: "9" }, codes.NOT_FOUND, "unknown-version"],
      ["no model", "", {}, codes.INVALID_ARGUMENT, "invalid-input"],
      ["a name with a way up", "../double", {}, codes.NOT_FOUND, "unknown-model"],
      [
        "a wrong datatype",
        "double",
        {
          inputs: [{ name: "x", datatype: "INT32", shape: [1n, 1n] }],
          rawInputContents: [new Uint8Array(4)],
        },
        codes.INVALID_ARGUMENT,
        "invalid-input",
      ],
      [
        "a negative size",
        "double",
        { inputs: [{ name: "x", datatype: "FP32", shape: [-1n, 1n] }] },
        codes.INVALID_ARGUMENT,
        "invalid-input",
      ],
      ["an unknown output", "double", { outputs: [{ name: "z" }] }, codes.INVALID_ARGUMENT, "invalid-input"],
      ["fewer raw contents than inputs", "mixed", {}, codes.INVALID_ARGUMENT, "body-mismatch"],
    ];
    it.each(refused)(
      "refuses %s with its code and reason",
      async (_what, modelName, change, code, reason) => {
        const { infer } = await connected();
        const two =
          modelName === "mixed"
            ? {
                inputs: [
                  { name: "n", datatype: "INT32", shape: [1n] },
                  { name: "words", datatype: "BYTES", shape: [1n] },
                ],
              }
            : {};
        const error = await failure(infer(doubling([1], { modelName, ...two, ...change })));
        expect(error.code).toBe(code);
        expect(error.metadata.get("longshore-reason")).toEqual([reason]);
      },
    );

    it("refuses messages above the limit by their length, and takes them when it is lifted", async () => {
      const limits = {
        maxBodyBytes: 1000,
        maxJsonBytes: 1000,
        maxTensors: 8,
        maxTexts: 8,
        maxTensorBytes: 1e6,
        maxNameLength: 64,
      };
      const { infer } = await connected(undefined, { limits });
      const error = await failure(infer(doubling(Array.from({ length: 300 }, () => 1))));
      expect([error.code, error.metadata.get("longshore-reason")]).toEqual([
        codes.RESOURCE_EXHAUSTED,
        ["body-too-large"],
      ]);
      const lifted = await connected(undefined, { limits: { ...limits, maxBodyBytes: 2 ** 33 } });
      expect(
        (await lifted.infer(doubling(Array.from({ length: 300 }, () => 1)))).message.outputs,
      ).toHaveLength(1);
    });

    it("refuses more bytes than may be received at one time, and says when to come back", async () => {
      const { infer } = await connected(undefined, { maxBufferedBytes: 100_000 });
      const error = await failure(infer(doubling(Array.from({ length: 50_000 }, () => 1))));
      expect([error.code, error.metadata.get("longshore-reason")]).toEqual([codes.UNAVAILABLE, ["rejected"]]);
      expect(error.metadata.get("grpc-retry-pushback-ms")).toEqual(["1000"]);
    });

    it("tells the endpoint how long a request may wait there, and the sender why it was not taken", async () => {
      const model: DoubleModel = {
        ...doubleModel,
        run(inputs, request, call) {
          if (50 <= (call.mostWaitMs ?? Infinity)) return doubleModel.run(inputs, request, call);
          throw new LongshoreError("busier", "admission", "others came first", { retryAfterMs: 38 });
        },
      };
      const { infer } = await connected([model]);
      const bounded = (text: string) => infer(doubling([1]), metadata({ "longshore-most-wait": text }));
      const busier = await failure(bounded("12"));
      expect([busier.code, busier.metadata.get("longshore-reason")]).toEqual([codes.UNAVAILABLE, ["busier"]]);
      expect(busier.metadata.get("grpc-retry-pushback-ms")).toEqual(["38"]);
      expect((await failure(bounded("-1"))).code).toBe(codes.INVALID_ARGUMENT);
      expect((await bounded("50")).message.outputs).toHaveLength(1);
    });

    it.each([compressionAlgorithms.gzip, compressionAlgorithms.deflate])(
      "takes messages compressed as %i, and compresses replies if configured to",
      async (algorithm) => {
        const { address } = await openServer(undefined, { replyCompression: "gzip" });
        const client = connect(address, undefined, { "grpc.default_compression_algorithm": algorithm });
        clients.push(client);
        const { message } = await client.infer(doubling([1, 2, 3]));
        expect(valuesOf(message)).toEqual([2, 4, 6]);
      },
    );

    it("passes metadata, peer and surfaces to the handler, and the deadline to the call", async () => {
      const seen: { request: WireRequest; leftMs: number }[] = [];
      const handler: Handler = async (request, call) => {
        await request.message?.read();
        seen.push({ request, leftMs: call.deadlineMs });
        return {
          status: 200,
          headers: { "longshore-took": "1" },
          body: emptyBody,
          message: { modelName: "m", parameters: {}, outputs: [] },
        };
      };
      const { address } = await listenHere(handler, { surfaces: ["data"] });
      const client = dial(address);
      const deadline = Date.now() + 60_000;
      const { metadata: told } = await client.infer(
        doubling([1]),
        metadata({ authorization: "Bearer x", "X-Mixed-Case": "y" }),
        { deadline },
      );
      expect(told.get("longshore-took")).toEqual(["1"]);
      expect(seen[0]?.request).toMatchObject({
        method: "POST",
        path: "/v2/models/double/infer",
        headers: { authorization: "Bearer x", "x-mixed-case": "y", host: address },
        peer: { address: "127.0.0.1", loopback: true },
        surfaces: ["data"],
      });
      expect(seen[0]?.leftMs).toBeLessThan(Infinity);
    });

    it("cancels the work when the client cancels, and when its deadline passes", async () => {
      const { model, waiting, begun, aborted } = slowModel();
      const { client, infer } = await connected([doubleModel, model]);
      const call = client.makeUnaryRequest(
        "/inference.GRPCInferenceService/ModelInfer",
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes) => bytes,
        Buffer.from(encodedDoubling("slow")),
        () => undefined,
      );
      await begun();
      call.cancel();
      while (aborted.length === 0) await new Promise((resolve) => setImmediate(resolve));
      expect(aborted[0]).toMatchObject({ reason: "cancelled" });
      // A deadline that passed before the request was there says nothing: then with more time.
      for (let leftMs = 500; waiting.length === 1; leftMs *= 4) {
        const late = await failure(
          infer(doubling([1], { modelName: "slow" }), undefined, { deadline: Date.now() + leftMs }),
        );
        expect(late.code).toBe(codes.DEADLINE_EXCEEDED);
        // The earlier messages have come, too.
        await infer(doubling([1]));
      }
      while (aborted.length === 1) await new Promise((resolve) => setImmediate(resolve));
      expect(["deadline-exceeded", "cancelled"]).toContain((aborted[1] as LongshoreError).reason);
    });
  });

  describe("streams", () => {
    it("answer in the order of requests, with errors among them", async () => {
      const { stream } = await connected();
      const open = stream();
      const all = gather(open);
      for (let index = 0; index < 20; index++) {
        put(open, doubling([index], { id: `${index}`, ...(index % 7 === 3 ? { modelName: "none" } : {}) }));
      }
      open.end();
      const { messages, code } = await all;
      expect(code).toBe(codes.OK);
      expect(messages.map(({ inferResponse }) => inferResponse?.id)).toEqual(
        Array.from({ length: 20 }, (_, index) => `${index}`),
      );
      messages.forEach(({ errorMessage, inferResponse }, index) => {
        if (index % 7 === 3) expect(errorMessage).toContain("none");
        else expect([errorMessage, ...valuesOf(inferResponse)]).toEqual(["", index * 2]);
        expect(inferResponse?.parameters["triton_final_response"]?.parameterChoice.value).toBe(true);
      });
    });

    it("give each request a key of its own, since a key names one request, and the same key in a repeated stream", async () => {
      const { stream, endpoint } = await connected();
      for (let again = 0; again < 2; again++) {
        const open = stream(metadata({ "idempotency-key": "night%204" }));
        const all = gather(open);
        for (let index = 0; index < 3; index++) put(open, doubling([index]));
        open.end();
        expect((await all).messages.map(({ inferResponse }) => valuesOf(inferResponse))).toEqual([
          [0],
          [2],
          [4],
        ]);
      }
      const keys = ["night 4.0", "night 4.1", "night 4.2"];
      expect(endpoint.requests.map(({ call }) => call.idempotencyKey)).toEqual([...keys, ...keys]);
    });

    it("end with the first error's own status for clients that want it", async () => {
      const { stream } = await connected();
      const open = stream(metadata({ triton_grpc_error: "true" }));
      const all = gather(open);
      put(open, doubling([1]));
      put(open, doubling([1], { modelName: "none" }));
      const { messages, code } = await all;
      expect([messages.length, code]).toEqual([1, codes.NOT_FOUND]);
    });

    it("work on requests side by side, but keep a sequence in its order", async () => {
      const { model, waiting, begun } = slowModel();
      const { stream, endpoint } = await connected([model]);
      const open = stream();
      const all = gather(open);
      const sequence_id = { parameterChoice: { case: "int64Param" as const, value: 5n } };
      const flag = { parameterChoice: { case: "boolParam" as const, value: true } };
      put(open, doubling([1], { modelName: "slow", parameters: { sequence_id, sequence_start: flag } }));
      put(open, doubling([2], { modelName: "slow", parameters: { sequence_id } }));
      put(open, doubling([3], { modelName: "slow" }));
      await begun();
      while (waiting.length < 2) await new Promise((resolve) => setImmediate(resolve));
      expect(endpoint.requests.map(({ inputs }) => inputs.get("x")?.bytes.byteLength)).toEqual([4, 4]);
      expect(endpoint.requests.map(({ request }) => request.sequence?.id)).toEqual(["5", undefined]);
      open.end();
      for (const answer of waiting.splice(0)) answer();
      while (waiting.length < 1) await new Promise((resolve) => setImmediate(resolve));
      for (const answer of waiting.splice(0)) answer();
      const { messages } = await all;
      expect(messages.map(({ inferResponse }) => valuesOf(inferResponse)[0])).toEqual([2, 4, 6]);
    });

    const several =
      (answers: readonly InferReplyMessage[], fails: false | "run-failed" | "internal" = false): Handler =>
      async ({ message }) => {
        const { id = "" } = (await message?.read()) ?? {};
        async function* messages(): AsyncIterable<InferReplyMessage> {
          for (const answer of answers) yield { ...answer, id };
          if (fails) throw new LongshoreError(fails, "execute", "it broke midway");
        }
        return { status: 200, headers: {}, body: emptyBody, messages: messages() };
      };
    const answer: InferReplyMessage = { modelName: "double", modelVersion: "1", parameters: {}, outputs: [] };
    const emptyFinal = {
      triton_enable_empty_final_response: { parameterChoice: { case: "boolParam" as const, value: true } },
    };

    it.each([
      ["no answer", 0, false, []],
      ["no answer and the flag", 0, true, [true]],
      ["three answers", 3, false, [false, false, false]],
      ["three answers and the flag", 3, true, [false, false, false, true]],
    ] as const)("give the answers of a decoupled model: %s", async (_what, count, flagged, finals) => {
      const { address } = await listenHere(several(Array.from({ length: count }, () => answer)));
      const client = dial(address);
      const open = client.stream();
      const all = gather(open);
      put(open, doubling([1], { id: "d", parameters: flagged ? emptyFinal : {} }));
      open.end();
      const { messages, code } = await all;
      expect(code).toBe(codes.OK);
      expect(
        messages.map(
          ({ inferResponse }) => inferResponse?.parameters["triton_final_response"]?.parameterChoice.value,
        ),
      ).toEqual(finals);
      expect(messages.every(({ inferResponse }) => inferResponse?.id === "d")).toBe(true);
    });

    it("report the failure of a decoupled model after its answers, and go on", async () => {
      const { address } = await listenHere(several([answer], "run-failed"));
      const client = dial(address);
      const open = client.stream();
      const all = gather(open);
      put(open, doubling([1]));
      put(open, doubling([1]));
      open.end();
      const { messages, code } = await all;
      expect(code).toBe(codes.OK);
      expect(messages.map(({ errorMessage }) => errorMessage).toSorted((a, b) => a.localeCompare(b))).toEqual(
        ["", "", "it broke midway", "it broke midway"],
      );
    });

    it("name the call under which the log says why one of their requests failed, from any source", async () => {
      const events: LongshoreEvent[] = [];
      const observer = { record: (event: LongshoreEvent) => void events.push(event) };
      const run = (): never => {
        throw new TypeError("a path");
      };
      const { address } = await listenHere(several([], "internal"), { observer });
      const { stream } = await connected([{ ...doubleModel, run }], { observer }, { observer });
      for (const asked of [stream, dial(address).stream]) {
        for (const headers of [undefined, metadata({ triton_grpc_error: "true" })]) {
          const open = asked(headers);
          const all = gather(open);
          put(open, doubling([1]));
          open.end();
          const { messages, details } = await all;
          const ids = events.splice(0).flatMap((event) => (event.kind === "failure" ? [event.callId] : []));
          expect(ids).toHaveLength(1);
          expect(headers ? details : messages[0]?.errorMessage).toBe(internalErrorText(ids[0] ?? ""));
        }
      }
    });

    it("are needed for decoupled models: ModelInfer refuses them", async () => {
      const { address } = await listenHere(several([answer]));
      const client = dial(address);
      expect((await failure(client.infer(doubling([1])))).code).toBe(codes.UNIMPLEMENTED);
    });
  });

  describe("health and draining", () => {
    const check = (call: ReturnType<typeof connect>["call"], service: string) =>
      call("/grpc.health.v1.Health/Check", HealthCheckRequestSchema, HealthCheckResponseSchema, { service });

    it("checks report the server's readiness, and know no other services", async () => {
      const { call, life } = await connected();
      expect((await check(call, "")).message.status).toBe(1);
      expect((await check(call, "inference.GRPCInferenceService")).message.status).toBe(1);
      expect((await failure(check(call, "other"))).code).toBe(codes.NOT_FOUND);
      void life.drain();
      expect((await check(call, "")).message.status).toBe(2);
    });

    it("a watcher gets the change, and the call ends", async () => {
      const { watch, listening } = await connected();
      const watching = watch("");
      const all = gather(watching);
      await new Promise((resolve) => watching.once("data", resolve));
      listening.drain();
      const { messages, code } = await all;
      expect(messages.map(({ status }) => status)).toEqual([1, 2]);
      expect(code).toBe(codes.UNAVAILABLE);
    });

    it("work under way is finished, new work is UNAVAILABLE, and streams end when they have answered", async () => {
      const { model, waiting, begun } = slowModel();
      const { infer, stream, listening, life, address } = await connected([model, mixedModel]);
      const running = infer(doubling([4], { modelName: "slow" }));
      await begun();
      const open = stream();
      const all = gather(open);
      put(open, doubling([5], { modelName: "slow", id: "s" }));
      while (waiting.length < 2) await new Promise((resolve) => setImmediate(resolve));
      const drained = life.drain();
      listening.drain();
      const other = dial(address);
      const error = await failure(other.infer(doubling([1], { modelName: "slow" })));
      expect([error.code, error.metadata.get("longshore-reason")]).toEqual([
        codes.UNAVAILABLE,
        ["shutting-down"],
      ]);
      for (const finish of waiting.splice(0)) finish();
      expect(valuesOf((await running).message)).toEqual([8]);
      const { messages, code } = await all;
      expect([messages.map(({ inferResponse }) => valuesOf(inferResponse)), code]).toEqual([
        [[10]],
        codes.UNAVAILABLE,
      ]);
      await drained;
      await listening.close(1000);
    });

    it("a port that is taken is said so", async () => {
      const { listening } = await connected();
      await expect(
        listenOn(async () => ({ status: 200, headers: {}, body: emptyBody }), { port: listening.port }),
      ).rejects.toMatchObject({
        reason: "port-taken",
      });
    });
  });
});

describe("everything else", () => {
  it("health, readiness and metadata", async () => {
    const { ask } = await connected();
    expect(
      (await ask("ServerLive", proto.ServerLiveRequestSchema, proto.ServerLiveResponseSchema, {})).message
        .live,
    ).toBe(true);
    expect(
      (await ask("ServerReady", proto.ServerReadyRequestSchema, proto.ServerReadyResponseSchema, {})).message
        .ready,
    ).toBe(true);
    const ready = async (name: string, version = ""): Promise<boolean> =>
      (
        await ask("ModelReady", proto.ModelReadyRequestSchema, proto.ModelReadyResponseSchema, {
          name,
          version,
        })
      ).message.ready;
    expect([
      await ready("double"),
      await ready("double", "1"),
      await ready("double", "9"),
      await ready("none"),
    ]).toEqual([true, true, false, false]);
    const server = await ask(
      "ServerMetadata",
      proto.ServerMetadataRequestSchema,
      proto.ServerMetadataResponseSchema,
      {},
    );
    expect(server.message.extensions).toContain("binary_tensor_data");
    const model = await ask(
      "ModelMetadata",
      proto.ModelMetadataRequestSchema,
      proto.ModelMetadataResponseSchema,
      { name: "mixed" },
    );
    expect(model.message).toMatchObject({
      name: "mixed",
      versions: ["3"],
      inputs: [{ name: "n", datatype: "INT32", shape: [-1n] }, { name: "words" }],
    });
  });

  it("log why they failed where the handler does not know, and say no more than where that is", async () => {
    const events: LongshoreEvent[] = [];
    const repository = {
      index: async () => [],
      load: async () => undefined,
      unload: async () => undefined,
      configuration: async () => ({ runtime: { secret: 7 } }),
    };
    const observer = { record: (event: LongshoreEvent) => void events.push(event) };
    const { ask } = await connected(undefined, { observer }, { repository });
    const asked = ask("ModelConfig", proto.ModelConfigRequestSchema, proto.ModelConfigResponseSchema, {
      name: "double",
    });
    await expect(asked).rejects.toMatchObject({
      code: 13,
      details: expect.stringMatching(/^the server failed; its log says why under call [0-9a-f]+$/) as string,
    });
    expect(events).toEqual([
      expect.objectContaining({
        kind: "failure",
        reason: "internal",
        message: expect.stringContaining("runtime") as string,
      }),
    ]);
  });

  it("configuration, statistics and index", async () => {
    const telemetry = createTelemetry({ clock: systemClock(), random: seededRandom(1) });
    const { observer } = telemetry;
    const { ask, infer } = await connected(
      undefined,
      {},
      {
        telemetry,
        observer,
        repository: {
          index: async () => [{ name: "double", version: "1", state: "READY", reason: "" }],
          load: async () => undefined,
          unload: async () => undefined,
        },
      },
    );
    await infer(doubling([1]));
    const batch = { atMs: 0, model: "double", version: "1", size: 2 };
    observer.record({ kind: "batch-run", ...batch, tookMs: 3, inputMs: 1 });
    observer.record({ kind: "batch-parted", ...batch, tookMs: 0.5 });
    // Two clocks that were not read at the same time: a time is never negative, which a message could not hold.
    observer.record({ kind: "batch-run", ...batch, size: 3, tookMs: 0.25, inputMs: 0.5 });
    observer.record({ kind: "graph-memory", atMs: 0, model: "double", version: "1", bytes: 64 });
    const config = await ask("ModelConfig", proto.ModelConfigRequestSchema, proto.ModelConfigResponseSchema, {
      name: "double",
    });
    expect(config.message.config).toMatchObject({
      name: "double",
      input: [{ name: "x", dataType: 11, dims: [-1n, -1n] }],
    });
    const stats = await ask(
      "ModelStatistics",
      proto.ModelStatisticsRequestSchema,
      proto.ModelStatisticsResponseSchema,
      { name: "double" },
    );
    expect(stats.message.modelStats[0]).toMatchObject({
      name: "double",
      version: "1",
      inferenceStats: { success: { count: 1n } },
      batchStats: [
        { batchSize: 2n, computeInput: { count: 1n, ns: 1000000n }, computeOutput: { ns: 500000n } },
        { batchSize: 3n, computeInput: { count: 1n, ns: 250000n }, computeInfer: { count: 1n, ns: 0n } },
      ],
      memoryUsage: [{ type: "CPU", id: 0n, byteSize: 64n }],
    });
    const index = await ask(
      "RepositoryIndex",
      proto.RepositoryIndexRequestSchema,
      proto.RepositoryIndexResponseSchema,
      {},
    );
    expect(index.message.models).toMatchObject([{ name: "double", version: "1", state: "READY" }]);
    const named = failure(
      ask("RepositoryIndex", proto.RepositoryIndexRequestSchema, proto.RepositoryIndexResponseSchema, {
        repositoryName: "other",
      }),
    );
    expect((await named).code).toBe(codes.UNIMPLEMENTED);
  });

  it("statistics and index of many models are one message, written in steps", async () => {
    const telemetry = createTelemetry({ clock: systemClock(), random: seededRandom(1) });
    const names = Array.from({ length: 200 }, (_, index) => `m${index}`);
    for (const model of names) {
      telemetry.observer.record({ kind: "inference-began", atMs: 0, callId: model, model, version: "1" });
    }
    const repository = {
      index: async () => names.map((name) => ({ name, version: "1", state: "READY" as const, reason: "" })),
      load: async () => undefined,
      unload: async () => undefined,
    };
    const events: LongshoreEvent[] = [];
    const observer = {
      record(event: LongshoreEvent) {
        events.push(event);
        telemetry.observer.record(event);
      },
    };
    const ended = () => events.flatMap((event) => (event.kind === "exchange-ended" ? [event.status] : []));
    const { ask } = await connected(undefined, {}, { telemetry, observer, repository });
    const stats = await ask(
      "ModelStatistics",
      proto.ModelStatisticsRequestSchema,
      proto.ModelStatisticsResponseSchema,
      {},
    );
    expect(stats.message.modelStats.map(({ name }) => name)).toEqual(names);
    expect(stats.message.modelStats[7]).toMatchObject({
      version: "1",
      inferenceStats: { fail: { count: 0n } },
    });
    expect(ended()).toEqual([200]);
    const index = await ask(
      "RepositoryIndex",
      proto.RepositoryIndexRequestSchema,
      proto.RepositoryIndexResponseSchema,
      {},
    );
    expect(index.message.models.map(({ name, state }) => `${name} ${state}`)).toEqual(
      names.map((name) => `${name} READY`),
    );
    expect(ended()).toEqual([200, 200]);
    // The text that it would be over HTTP is not made.
    const read = () => {
      throw new Error("the body was read");
    };
    const entries = names.map((name) => ({ name, version: "1", state: "READY", reason: undefined }));
    const { address } = await listenHere(async () => ({
      status: 200,
      headers: {},
      body: { kind: "stream", byteLength: undefined, read },
      entries,
    }));
    const listed = await dial(address).ask(
      "RepositoryIndex",
      proto.RepositoryIndexRequestSchema,
      proto.RepositoryIndexResponseSchema,
      {},
    );
    expect(listed.message.models).toHaveLength(200);
  });

  it("loading and unloading say the same as over HTTP", async () => {
    const asked: { path: string; body: string }[] = [];
    const handler: Handler = async ({ path, body }) => {
      const parts: Uint8Array[] = [];
      for await (const part of body.kind === "parts" ? body.parts : body.read()) parts.push(part);
      asked.push({ path, body: Buffer.concat(parts).toString() });
      return { status: 200, headers: {}, body: emptyBody };
    };
    const { address } = await listenOn(handler);
    const { ask, close } = connect(address);
    clients.push({ close });
    const text = (value: string) => ({ parameterChoice: { case: "stringParam" as const, value } });
    const file = { parameterChoice: { case: "bytesParam" as const, value: new Uint8Array(20_000) } };
    // Long enough to be written in pieces, and no whole number of them.
    const bytes = Buffer.from(Array.from({ length: 1_700_001 }, (_, index) => (index * index * 31) >> 3));
    const long = { parameterChoice: { case: "bytesParam" as const, value: new Uint8Array(bytes) } };
    await ask(
      "RepositoryModelLoad",
      proto.RepositoryModelLoadRequestSchema,
      proto.RepositoryModelLoadResponseSchema,
      {
        modelName: "a b",
        parameters: { config: text("{}"), "file:1/model.onnx": file, "file:1/long": long },
      },
    );
    const unload_dependents = { parameterChoice: { case: "boolParam" as const, value: true } };
    await ask(
      "RepositoryModelUnload",
      proto.RepositoryModelUnloadRequestSchema,
      proto.RepositoryModelUnloadResponseSchema,
      { modelName: "a b", parameters: { unload_dependents } },
    );
    expect(asked.map(({ path }) => path)).toEqual([
      "/v2/repository/models/a%20b/load",
      "/v2/repository/models/a%20b/unload",
    ]);
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({
      parameters: {
        config: "{}",
        "file:1/model.onnx": Buffer.alloc(20_000).toString("base64"),
        "file:1/long": bytes.toString("base64"),
      },
    });
    expect(JSON.parse(asked[1]?.body ?? "")).toEqual({ parameters: { unload_dependents: true } });
  });

  it("settings and shared memory go through the routes that HTTP has", async () => {
    const asked: { method: string; path: string; body: string }[] = [];
    const replies: Record<string, unknown> = {
      "/v2/trace/setting": { trace_level: ["OFF"], trace_rate: "1000" },
      "/v2/logging": { log_info: true, log_verbose_level: 2, log_format: "default" },
      "/v2/systemsharedmemory/status": [{ name: "r", key: "/k", offset: 4, byte_size: 64 }],
    };
    const handler: Handler = async ({ method, path, body }) => {
      asked.push({ method, path, body: Buffer.concat(body.kind === "parts" ? body.parts : []).toString() });
      const bytes = new TextEncoder().encode(JSON.stringify(replies[path] ?? {}));
      return { status: 200, headers: {}, body: { kind: "parts", parts: [bytes] } };
    };
    const { address } = await listenOn(handler);
    const { ask, close } = connect(address);
    clients.push({ close });
    const trace = await ask(
      "TraceSetting",
      proto.TraceSettingRequestSchema,
      proto.TraceSettingResponseSchema,
      {
        settings: {
          trace_rate: { value: ["7"] },
          trace_level: { value: ["A", "B"] },
          log_frequency: { value: [] },
        },
      },
    );
    expect(trace.message.settings).toMatchObject({
      trace_level: { value: ["OFF"] },
      trace_rate: { value: ["1000"] },
    });
    const log = await ask("LogSettings", proto.LogSettingsRequestSchema, proto.LogSettingsResponseSchema, {});
    expect(log.message.settings).toMatchObject({
      log_info: { parameterChoice: { value: true } },
      log_verbose_level: { parameterChoice: { value: 2 } },
      log_format: { parameterChoice: { value: "default" } },
    });
    const regions = await ask(
      "SystemSharedMemoryStatus",
      proto.SystemSharedMemoryStatusRequestSchema,
      proto.SystemSharedMemoryStatusResponseSchema,
      {},
    );
    expect(regions.message.regions["r"]).toMatchObject({ key: "/k", offset: 4n, byteSize: 64n });
    await ask(
      "SystemSharedMemoryRegister",
      proto.SystemSharedMemoryRegisterRequestSchema,
      proto.SystemSharedMemoryRegisterResponseSchema,
      { name: "r", key: "/k", offset: 4n, byteSize: 64n },
    );
    await ask(
      "SystemSharedMemoryUnregister",
      proto.SystemSharedMemoryUnregisterRequestSchema,
      proto.SystemSharedMemoryUnregisterResponseSchema,
      { name: "r" },
    );
    await ask(
      "CudaSharedMemoryUnregister",
      proto.CudaSharedMemoryUnregisterRequestSchema,
      proto.CudaSharedMemoryUnregisterResponseSchema,
      {},
    );
    await ask(
      "CudaSharedMemoryRegister",
      proto.CudaSharedMemoryRegisterRequestSchema,
      proto.CudaSharedMemoryRegisterResponseSchema,
      { name: "g", rawHandle: Uint8Array.of(1), byteSize: 8n },
    );
    await ask(
      "CudaSharedMemoryStatus",
      proto.CudaSharedMemoryStatusRequestSchema,
      proto.CudaSharedMemoryStatusResponseSchema,
      { name: "g" },
    );
    expect(asked.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "POST /v2/trace/setting",
      "GET /v2/logging",
      "GET /v2/systemsharedmemory/status",
      "POST /v2/systemsharedmemory/region/r/register",
      "POST /v2/systemsharedmemory/region/r/unregister",
      "POST /v2/cudasharedmemory/unregister",
      "POST /v2/cudasharedmemory/region/g/register",
      "GET /v2/cudasharedmemory/region/g/status",
    ]);
    expect(JSON.parse(asked[0]?.body ?? "")).toEqual({
      trace_rate: "7",
      trace_level: ["A", "B"],
      log_frequency: null,
    });
    expect(JSON.parse(asked[3]?.body ?? "")).toEqual({ key: "/k", offset: 4, byte_size: 64 });
  });

  it("shared memory of GPUs is refused in words, and unregistering an absent region is not", async () => {
    const { ask } = await connected();
    await ask(
      "CudaSharedMemoryUnregister",
      proto.CudaSharedMemoryUnregisterRequestSchema,
      proto.CudaSharedMemoryUnregisterResponseSchema,
      {},
    );
    const error = await failure(
      ask(
        "CudaSharedMemoryRegister",
        proto.CudaSharedMemoryRegisterRequestSchema,
        proto.CudaSharedMemoryRegisterResponseSchema,
        { name: "g", rawHandle: Uint8Array.of(1), byteSize: 8n },
      ),
    );
    expect([codes.UNIMPLEMENTED, codes.UNAVAILABLE]).toContain(error.code);
  });

  it("unknown methods and services are UNIMPLEMENTED", async () => {
    const { call } = await connected();
    for (const path of [
      "/inference.GRPCInferenceService/Nothing",
      "/other.Service/ModelInfer",
      "/inference.GRPCInferenceService/constructor",
    ]) {
      const error = await failure(
        call(path, proto.ServerLiveRequestSchema, proto.ServerLiveResponseSchema, {}),
      );
      expect(error.code).toBe(codes.UNIMPLEMENTED);
    }
  });

  it("a message that is not of its kind is INVALID_ARGUMENT", async () => {
    const { client } = await connected();
    const code = await new Promise((resolve) => {
      const serialize = (): Buffer => gzipSync("x");
      client.makeUnaryRequest(
        "/inference.GRPCInferenceService/ModelMetadata",
        serialize,
        (bytes) => bytes,
        null,
        (error) => resolve(error?.code),
      );
    });
    expect(code).toBe(codes.INVALID_ARGUMENT);
  });
});
