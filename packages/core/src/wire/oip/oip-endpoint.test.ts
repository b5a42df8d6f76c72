import { describe, expect, it } from "vitest";
import { createHandler } from "@longshore/server";
import {
  type DoubleModel,
  doubleDescription,
  doubleEndpoint,
  doubleInfo,
  manualClock,
  memoryTransport,
} from "@longshore/testkit";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import { codecSet, fp16Codec, rawCodec } from "../../words/codec/index.ts";
import { certain, meanOf } from "../../words/estimate/index.ts";
import type { LinkLearner } from "../transport/index.ts";
import type { Profile, Segment } from "../../words/model/index.ts";
import { createTableCrc32, writeInferReply, type WireTensor } from "../protocol/index.ts";
import {
  bytesOf,
  bytesTensor,
  float32Tensor,
  float32View,
  type Tensors,
  tensorsOf,
} from "../../words/tensor/index.ts";
import type { EndpointInfo, InferenceRequest, MissingEndpoint, Offer } from "../endpoint/index.ts";
import { bodyLength, readBody } from "../body/index.ts";
import { wrapEndpoint } from "../endpoint/index.ts";
import type { Handler, WireRequest, WireResponse } from "../transport/index.ts";
import { oipEndpoint } from "./create-oip-endpoint.ts";
import type { OipEndpointParts } from "./parts.ts";

const call = housekeepingCall("test");
const codecs = codecSet(rawCodec, fp16Codec);
const digest = `sha256:${"0".repeat(64)}`;
const whole: Segment = {
  model: "double",
  version: "1",
  digest,
  variant: "default",
  from: "start",
  to: "end",
};
const x = (rows = 1): Tensors =>
  tensorsOf(
    float32Tensor(
      "x",
      [rows, 3],
      Float32Array.from({ length: rows * 3 }, (_, index) => index),
    ),
  );
const request = (change: Partial<InferenceRequest> = {}): InferenceRequest => ({
  segment: whole,
  inputs: x(),
  codecs: {},
  ...change,
});

const doubling = {
  description: doubleDescription({ name: "double" }),
  run: (inputs: Tensors): Tensors => {
    const input = inputs.get("x")!;
    return tensorsOf(
      float32Tensor(
        "y",
        input.spec.shape,
        float32View(input).map((value) => value * 2),
      ),
    );
  },
};

function connect(handler: Handler, change: Partial<OipEndpointParts> = {}, info: Partial<EndpointInfo> = {}) {
  const clock = change.clock ?? manualClock();
  return oipEndpoint({
    info: { ...doubleInfo, id: "edge", ...info },
    transport: memoryTransport(handler, { clock }),
    codecs,
    clock,
    random: seededRandom(1),
    observer: silentObserver,
    ...change,
  });
}

function serve(models: readonly DoubleModel[] = [doubling]) {
  const clock = manualClock();
  const double = doubleEndpoint(models, { id: "server" });
  const handler = createHandler({ endpoint: double, codecs, clock, observer: silentObserver });
  return { double, handler, clock };
}

describe("polling a server for its load", () => {
  it("sends an empty probe, and returns the load that the reply reports", async () => {
    const { double, clock } = serve();
    const load = () => ({ atMs: 0, cpuRatio: 0.5, inFlight: 3, queueMs: 41 });
    const handler = createHandler({ endpoint: double, codecs, clock, observer: silentObserver, load });
    expect(await connect(handler, { clock }).capabilities.probe?.(0, call)).toMatchObject({
      inFlight: 3,
      queueMs: 41,
    });
    const silent = createHandler({ endpoint: double, codecs, clock, observer: silentObserver });
    expect(await connect(silent, { clock }).capabilities.probe?.(0, call)).toBeUndefined();
  });
});

describe("having a part loaded beforehand", () => {
  const part: Segment = { ...whole, from: "c1" };

  it("requests the very part, and passes on why it cannot be loaded", async () => {
    const { double, clock } = serve();
    const asked: Segment[] = [];
    const prepare = async (segment: Segment): Promise<void> => {
      asked.push(segment);
      if (segment.from === "c2") throw new LongshoreError("unknown-cut", "resolve", "there is no c2");
    };
    const endpoint = wrapEndpoint(double, { capabilities: { prepare } });
    const handler = createHandler({ endpoint, codecs, clock, observer: silentObserver });
    const edge = connect(handler, { clock });
    await edge.capabilities.prepare?.(part, call);
    expect(asked).toEqual([part]);
    await expect(edge.capabilities.prepare?.({ ...part, from: "c2" }, call)).rejects.toMatchObject({
      reason: "unknown-cut",
    });
    await expect(
      edge.capabilities.prepare?.({ ...part, digest: `sha256:${"9".repeat(64)}` }, call),
    ).rejects.toMatchObject({
      reason: "unknown-version",
    });
    expect(asked).toHaveLength(2);
  });

  it("fails at an endpoint that cannot load in advance, and is never sent to a foreign one", async () => {
    const { handler, clock } = serve();
    await expect(connect(handler, { clock }).capabilities.prepare?.(part, call)).rejects.toMatchObject({
      reason: "unsupported",
    });
    const untouched: Handler = () => Promise.reject(new Error("the foreign server was asked"));
    const foreign = connect(untouched, { clock }, { offers: false });
    await expect(foreign.capabilities.prepare?.(part, call)).rejects.toMatchObject({ reason: "unsupported" });
  });
});

describe("requests forwarded for tenants", () => {
  const sequence = { id: "7", step: 0, end: false, wantState: false };
  const forward = async (
    tenant: string,
    change: Partial<OipEndpointParts> = {},
    info: Partial<EndpointInfo> = {},
  ) => {
    const { double, handler } = serve();
    const headers: Readonly<Record<string, string>>[] = [];
    const watched: Handler = (asked, ...rest) => {
      headers.push(asked.headers);
      return handler(asked, ...rest);
    };
    const edge = connect(watched, change, info);
    await edge.infer(request({ sequence }), { ...call, tenant, rights: ["infer", "segment:infer"] });
    return { id: double.requests.at(-1)?.request.sequence?.id, headers: headers.at(-1) };
  };

  it("carries the rights of its sender, and the tenant only where this endpoint speaks for it", async () => {
    const own = await forward("acme");
    expect(own.headers).toMatchObject({ "longshore-rights": "infer,segment:infer" });
    expect(own.headers).not.toHaveProperty("longshore-tenant");
    const told = await forward("acme", { forwardsTenants: true });
    expect(told.headers).toMatchObject({
      "longshore-rights": "infer,segment:infer",
      "longshore-tenant": "acme",
    });
    const foreign = await forward("acme", { forwardsTenants: true }, { offers: false });
    expect(foreign.headers).not.toHaveProperty("longshore-tenant");
  });

  it("never brings sequences of two tenants together under one id", async () => {
    expect((await forward("acme")).id).toBe("acme/7");
    expect((await forward("beta")).id).toBe("beta/7");
    expect((await forward("acme", { forwardsTenants: true })).id).toBe("7");
    expect((await forward("local")).id).toBe("7");
  });

  it("never get a tenant at a plain server, even if it is configured to speak for one", async () => {
    expect((await forward("acme", { forwardsTenants: true }, { offers: false })).id).toBe("acme/7");
  });
});

describe("endpoint over the protocol", () => {
  it("runs a whole model and reports where, the bytes sent and the server's load", async () => {
    const { double, handler } = serve();
    const edge = connect(handler);
    const response = await edge.infer(request(), call);
    expect([...float32View(response.outputs.get("y")!)]).toEqual([0, 2, 4]);
    expect(response.account).toMatchObject({ endpoint: "edge", zone: "eu/store-7", segment: whole });
    expect(response.account.sentBytes).toBeGreaterThan(12);
    expect(response.account.stages.map(({ stage }) => stage)).toEqual(["run", "network"]);
    expect(response.load).toMatchObject({ cpuRatio: 0.25, inFlight: 1, queueMs: 2.5 });
    expect(double.requests[0]?.call.path).toEqual(["server"]);
  });

  it("brings deadline, rules, path and trace along, and inputs in their codecs", async () => {
    const { double, handler } = serve();
    const edge = connect(handler);
    const travelling: Call = {
      ...call,
      deadlineMs: 500,
      rules: { dataClass: "faces", leastTrust: "operated", zones: ["eu"] },
      path: ["till"],
      trace: { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled: true },
    };
    const response = await edge.infer(request({ codecs: { x: "fp16" } }), travelling);
    expect([...float32View(response.outputs.get("y")!)]).toEqual([0, 2, 4]);
    expect(response.account.stages[0]?.stage).toBe("encode");
    const seen = double.requests.at(0)!.call;
    expect(seen.rules).toEqual(travelling.rules);
    expect(seen.deadlineMs).toBe(500);
    expect(seen.path).toEqual(["till", "server"]);
    // The same trace, inside a span of this endpoint's own.
    expect(seen.trace).toMatchObject({ traceId: travelling.trace!.traceId, sampled: true });
    expect(seen.trace!.spanId).not.toBe(travelling.trace!.spanId);
  });

  it("runs a segment and a variant at their own addresses", async () => {
    const description = doubleDescription({
      name: "double",
      variants: [
        { name: "default", body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 },
        { name: "small", body: { kind: "graph", file: "small.onnx" }, agreementRatio: 0.99 },
      ],
    });
    const { double, handler } = serve([{ description, run: doubling.run }]);
    const edge = connect(handler);
    await edge.infer(request({ segment: { ...whole, variant: "small" } }), call);
    await edge.infer(request({ segment: { ...whole, variant: "small", from: "c1" } }), call);
    expect(double.requests.map(({ request: { segment } }) => segment)).toEqual([
      { ...whole, variant: "small" },
      { ...whole, variant: "small", from: "c1" },
    ]);
  });

  it("carries state there and back, and the confidence", async () => {
    const { double, handler } = serve([
      {
        description: doubling.description,
        run: async (inputs) => ({
          outputs: doubling.run(inputs),
          confidenceRatio: 0.75,
          state: tensorsOf(float32Tensor("h", [1], Float32Array.of(42))),
        }),
      },
    ]);
    const edge = connect(handler);
    const state = tensorsOf(float32Tensor("h", [1], Float32Array.of(41)));
    const sequence = { id: "seq", step: 3, end: false, state, wantState: true };
    const response = await edge.infer(request({ sequence }), call);
    expect(double.requests[0]?.request.sequence).toMatchObject({
      id: "seq",
      step: 3,
      end: false,
      wantState: true,
    });
    expect([...float32View(double.requests.at(0)!.request.sequence!.state!.get("h")!)]).toEqual([41]);
    expect([...float32View(response.state!.get("h")!)]).toEqual([42]);
    expect([...response.outputs.keys()]).toEqual(["y"]);
    expect(response.confidenceRatio).toBe(0.75);
  });

  it("describes models with their profile, and knows which models the server does not serve", async () => {
    const profile: Profile = {
      schemaVersion: 1,
      model: "double",
      version: "1",
      digest,
      measuredOn: { runtime: "onnxruntime", threads: 1, description: "a test" },
      variants: [
        {
          variant: "default",
          agreementRatio: 1,
          buckets: [
            {
              upTo: { bytes: Infinity },
              typical: { bytes: 12 },
              runs: 7,
              legalCuts: 2,
              cuts: [
                {
                  cut: { id: "start", crossing: doubling.description.inputs, reveals: "input" },
                  headMs: [0],
                  tailMs: [1, 2],
                  headMemoryBytes: 0,
                  codings: [],
                },
              ],
            },
          ],
        },
      ],
    };
    const { handler } = serve([{ ...doubling, profile }]);
    const edge = connect(handler);
    expect(await edge.describe("double", undefined, call)).toEqual({
      description: doubling.description,
      profile,
    });
    expect(await edge.describe("nothing", undefined, call)).toBeUndefined();
    expect(await edge.describe("double", "9", call)).toBeUndefined();
  });

  it("believes only the part of an offer that the directory allows", async () => {
    const offer: Offer = {
      segment: whole,
      path: ["server", "cloud"],
      zones: ["eu/store-7", "us"],
      trust: "vouched",
      completionMs: certain(12, { observedAtMs: -50, origin: "measured" }),
      queueMs: 2,
      energyMillijoules: 5,
      costMicros: 7,
      agreementRatio: 1,
      upTo: { bytes: Infinity },
      codecs: ["raw"],
      expiresAtMs: 1000,
      origin: "promised",
    };
    const { handler } = serve([{ ...doubling, offers: [offer] }]);
    const clock = manualClock(70_000);
    const edge = connect(handler, { clock }, { zone: "eu/de", trust: "listed" });
    const [told] = await edge.offers({ model: "double" }, call);
    expect(told).toEqual({
      ...offer,
      path: ["edge", "cloud"],
      ownName: "server",
      zones: ["eu/de", "eu/store-7", "us"],
      trust: "listed",
      completionMs: certain(12, { observedAtMs: 69_950, origin: "told" }),
      expiresAtMs: 71_000,
    });
    expect(await edge.offers({ model: "nothing" }, call)).toEqual([]);
  });

  it("tells the endpoints that a server's last offers missed, with the zones and trust of the whole path", async () => {
    const { double, clock } = serve();
    const missing: MissingEndpoint[] = [{ zones: ["eu/store-7", "us"], trust: "operated" }];
    const endpoint = wrapEndpoint(double, { capabilities: { missing: () => missing } });
    const handler = createHandler({ endpoint, codecs, clock, observer: silentObserver });
    const edge = connect(handler, { clock }, { zone: "eu/de", trust: "listed" });
    const query = { model: "double", version: "1" };
    expect(edge.capabilities.missing?.(query, call)).toEqual([]);
    await edge.offers(query, call);
    expect(edge.capabilities.missing?.(query, call)).toEqual([
      { zones: ["eu/de", "eu/store-7", "us"], trust: "listed" },
    ]);
    missing.length = 0;
    await edge.offers(query, call);
    expect(edge.capabilities.missing?.(query, call)).toEqual([]);
  });

  it("gives the server's own reason, stage and advice when to come back", async () => {
    const { handler } = serve([
      {
        description: doubling.description,
        run: () => {
          throw new LongshoreError("queue-full", "queue", "8 requests wait", { retryAfterMs: 250 });
        },
      },
    ]);
    await expect(connect(handler).infer(request(), call)).rejects.toMatchObject({
      reason: "queue-full",
      stage: "queue",
      retryAfterMs: 250,
      message: expect.stringContaining("8 requests wait") as string,
    });
    await expect(
      connect(handler).infer(request({ segment: { ...whole, model: "nothing" } }), call),
    ).rejects.toMatchObject({ reason: "unknown-model" });
    await expect(
      connect(handler).infer(request({ segment: { ...whole, version: "9" } }), call),
    ).rejects.toMatchObject({ reason: "unknown-version" });
    await expect(
      connect(handler).infer(request({ segment: { ...whole, variant: "huge" } }), call),
    ).rejects.toMatchObject({ reason: "unknown-variant" });
    await expect(
      connect(handler).infer(request({ segment: { ...whole, digest: "sha256:other" } }), call),
    ).rejects.toMatchObject({ reason: "unknown-version" });
  });

  it("takes a refusal with a flipped bit for a damaged reply, not for what it seems to say", async () => {
    const { handler } = serve([
      {
        description: doubling.description,
        run: () => {
          throw new LongshoreError("starting", "resolve", "its models are being loaded");
        },
      },
    ]);
    const crc32 = createTableCrc32();
    for (const [part, what] of [
      ["being", "the text"],
      ['"reason"', "the JSON"],
    ] as const) {
      const damaging: Handler = async (asked, base) => {
        const response = await handler(asked, base);
        const bytes = await readBody(response.body, { maxBytes: 10_000 });
        const at = new TextDecoder().decode(bytes).indexOf(part);
        const flipped = bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
        return { ...response, body: { kind: "parts", parts: [flipped] } };
      };
      const asked = connect(damaging, { crc32 }).infer(request(), call);
      await expect(asked, what).rejects.toMatchObject({ reason: "checksum-mismatch", retryable: true });
    }
    const whole = connect(handler, { crc32 }).infer(request(), call);
    await expect(whole).rejects.toMatchObject({ reason: "starting" });
  });

  it("a request does not come back to where it has been", async () => {
    const { handler } = serve();
    await expect(connect(handler).infer(request(), { ...call, path: ["server"] })).rejects.toMatchObject({
      reason: "rejected",
      retryable: true,
    });
  });

  it("ends at the deadline, although the server never answers, and leaves no timer", async () => {
    const clock = manualClock();
    const edge = connect(() => new Promise<WireResponse>(() => undefined), { clock });
    const waiting = edge.infer(request(), { ...call, deadlineMs: 100 });
    const outcome = expect(waiting).rejects.toMatchObject({ reason: "deadline-exceeded" });
    await clock.advance(100);
    await outcome;
    expect(clock.armed()).toBe(0);
    await clock.advance(1);
    await expect(edge.infer(request(), { ...call, deadlineMs: 50 })).rejects.toMatchObject({
      reason: "deadline-exceeded",
    });
  });

  it("waits for requests under way when it is closed, and is unreachable after that", async () => {
    const { handler } = serve();
    const edge = connect(handler);
    const under = edge.infer(request(), call);
    await edge.close();
    await expect(under).resolves.toBeDefined();
    await expect(edge.infer(request(), call)).rejects.toMatchObject({ reason: "unreachable" });
    await expect(edge.describe("double", undefined, call)).rejects.toMatchObject({ reason: "unreachable" });
    await edge.close();
  });

  it("reports sent, acknowledged and received bytes to link and caller", async () => {
    const { handler } = serve();
    const notes: string[] = [];
    const link: LinkLearner = {
      transferMs: () => certain(0),
      roundTripMs: () => certain(0),
      probeBytes: () => 0,
      roundTripSeen: () => void notes.push("round trip"),
      sendStarted: (bytes, direction) => {
        notes.push(`${direction} ${bytes > 300_000 ? "long" : bytes}`);
        let most = 0;
        return {
          progressed: (total) => {
            expect(total).toBeGreaterThan(most);
            most = total;
          },
          remainingMs: () => certain(7),
          ended: (_now, complete) =>
            void notes.push(`${direction} ended ${complete} after ${most > 300_000}`),
        };
      },
    };
    const edge = connect(handler, { link });
    await edge.infer(request(), call);
    expect(notes).toEqual(["round trip"]);
    const acknowledged: number[] = [];
    await edge.infer(request({ inputs: x(30_000) }), call, {
      acknowledged: (bytes) => acknowledged.push(bytes),
      onItsWay: ({ remainingMs }) => void notes.push(`${meanOf(remainingMs(0))} ms left`),
    });
    expect(notes.splice(2, 1)).toEqual(["7 ms left"]);
    expect(notes.slice(1)).toEqual([
      "up long",
      "up ended true after true",
      "down long",
      "down ended true after true",
    ]);
    expect(acknowledged.length).toBeGreaterThanOrEqual(5);
    expect([...acknowledged].sort((a, b) => a - b)).toEqual(acknowledged);
    // A train fills whole packets with its head, which is part of the bytes that the link learns.
    notes.length = 0;
    const read: number[] = [];
    const seen: Handler = (...asked) => (read.push(bodyLength(asked[0].body) ?? 0), handler(...asked));
    const measured = connect(seen, { link });
    await measured.capabilities.probe?.(2920, call);
    expect([read, notes]).toEqual([[2520], ["up 2920", "up ended true after false"]]);
  });
});

describe("endpoint before a server that answers rubbish or lies", () => {
  const y = (change: Partial<WireTensor> = {}): WireTensor => ({
    name: "y",
    datatype: "FP32",
    shape: [1, 3],
    parameters: {},
    bytes: bytesOf(new Float32Array(3)),
    ...change,
  });
  const reply = (outputs: readonly WireTensor[], parameters = {}): WireResponse => {
    const message = writeInferReply(
      { modelName: "double", modelVersion: "1", parameters, outputs },
      () => true,
    );
    return { status: 200, headers: message.headers, body: { kind: "parts", parts: message.parts } };
  };
  const text = (body: string, headers = {}, status = 200): WireResponse => ({
    status,
    headers,
    body: { kind: "parts", parts: [new TextEncoder().encode(body)] },
  });
  /** Describes the model truly, then answers inference with `lie`. */
  const liar = (lie: WireResponse): Handler => {
    const { handler } = serve();
    return (asked: WireRequest, base) =>
      asked.method === "GET" ? handler(asked, base) : Promise.resolve(lie);
  };

  const lies: readonly [string, WireResponse][] = [
    ["text that is no JSON", text("<html>hello</html>")],
    ["an empty body", text("")],
    ["JSON that is no reply", text("[1,2]")],
    ["no outputs", text('{"model_name":"double","outputs":[]}')],
    ["another output", reply([y({ name: "z" })])],
    ["another datatype", reply([y({ datatype: "INT32" })])],
    ["another shape", reply([y({ shape: [3] })])],
    ["a size that does not fit the shape", text(JSON.stringify({ model_name: "double", outputs: [{ name: "y", datatype: "FP32", shape: [1, 3], data: [1] }] }))], // prettier-ignore
    ["a header length beyond the body", text("{}", { "inference-header-content-length": "99" })],
    ["an account that is none", reply([y()], { longshore_account: "{}" })],
    ["an account that is no JSON", reply([y()], { longshore_account: "x" })],
    ["a codec that nobody knows", reply([y({ parameters: { codec: "zip" } })])],
    ["a redirect", text("", { location: "http://169.254.169.254/" }, 302)],
    ["success of another kind", text("", {}, 204)],
    [
      "a length that is a lie",
      {
        status: 200,
        headers: {},
        body: {
          kind: "stream",
          byteLength: 10,
          async *read() {
            yield new Uint8Array(20);
          },
        },
      },
    ],
    [
      "more than a reply may have",
      {
        status: 200,
        headers: {},
        body: {
          kind: "stream",
          byteLength: undefined,
          async *read() {
            for (let part = 0; part < 100; part++) yield new Uint8Array(2 ** 20);
          },
        },
      },
    ],
  ];
  it.each(lies)("makes %s a bad reply", async (_name, lie) => {
    const edge = connect(liar(lie));
    await edge.describe("double", undefined, call);
    await expect(edge.infer(request(), call)).rejects.toMatchObject({ reason: "bad-reply", retryable: true });
  });

  it("treats a declared scalar as one, and accepts any shape for an unknown rank", async () => {
    const scalar = { name: "y", datatype: "FP32", shape: [] } as const;
    const gives = async (
      outputs: readonly (typeof scalar & { readonly openRank?: boolean })[],
      shape: number[],
    ) => {
      const { handler } = serve([
        { ...doubling, description: doubleDescription({ name: "double", outputs }) },
      ]);
      const lie = reply([
        y({ shape, bytes: new Uint8Array(4 * shape.reduce((all, size) => all * size, 1)) }),
      ]);
      const edge = connect((asked, base) =>
        asked.method === "GET" ? handler(asked, base) : Promise.resolve(lie),
      );
      await edge.describe("double", undefined, call);
      return (await edge.infer(request(), call)).outputs.get("y")?.spec.shape;
    };
    expect(await gives([scalar], [])).toEqual([]);
    for (const shape of [[1], [2, 3]]) {
      await expect(gives([scalar], shape)).rejects.toMatchObject({
        reason: "bad-reply",
        message: expect.stringContaining("the model gives []") as string,
      });
      expect(await gives([{ ...scalar, openRank: true }], shape)).toEqual(shape);
    }
  });

  it("turns a malformed description or offers into a bad reply", async () => {
    const rubbish = connect(async () => text("{}"));
    await expect(rubbish.describe("double", undefined, call)).rejects.toMatchObject({ reason: "bad-reply" });
    await expect(rubbish.offers({ model: "double" }, call)).rejects.toMatchObject({ reason: "bad-reply" });
    const future = connect(async () => text('{"schemaVersion":2,"description":{}}'));
    await expect(future.describe("double", undefined, call)).rejects.toMatchObject({ reason: "bad-reply" });
  });

  it("takes an answer without the state that was wished for: there is none, or it stays where it is", async () => {
    const edge = connect(liar(reply([y()])));
    const sequence = { id: "s", step: 0, end: false, wantState: true };
    const { outputs, state } = await edge.infer(request({ sequence }), call);
    expect([...outputs.keys()]).toEqual(["y"]);
    expect(state).toBeUndefined();
  });

  it("refuses an answer of another body of the model", async () => {
    const { handler } = serve();
    const lying: Handler = async (asked, base) => {
      const { "longshore-digest": _planned, ...headers } = asked.headers;
      return handler({ ...asked, headers }, base);
    };
    await expect(
      connect(lying).infer(request({ segment: { ...whole, digest: "sha256:other" } }), call),
    ).rejects.toMatchObject({ reason: "bad-reply" });
  });

  const statuses: readonly [number, string][] = [
    [400, "invalid-input"],
    [401, "unauthenticated"],
    [403, "not-permitted"],
    [404, "unknown-model"],
    [405, "wrong-method"],
    [413, "body-too-large"],
    [429, "rejected"],
    [500, "run-failed"],
    [501, "unsupported"],
    [502, "unreachable"],
    [503, "rejected"],
    [504, "no-answer"],
  ];
  it.each(statuses)("reads a bare status %i as %s", async (status, reason) => {
    const edge = connect(async () => text("<html>proxy</html>", { "retry-after": "3" }, status));
    await expect(edge.infer(request(), call)).rejects.toMatchObject({ reason, retryAfterMs: 3000 });
  });

  it("accepts no reason from outside the closed list", async () => {
    const edge = connect(async () => text('{"error":"no","reason":"toString","stage":"__proto__"}', {}, 500));
    await expect(edge.infer(request(), call)).rejects.toMatchObject({
      reason: "run-failed",
      stage: "transport",
    });
  });
});

describe("endpoint before a plain server", () => {
  /** Speaks the bare protocol in JSON, as MLServer does, and keeps what it was sent. */
  const plain = (): { handler: Handler; seen: { path: string; body: unknown; headers: string[] }[] } => {
    const seen: { path: string; body: unknown; headers: string[] }[] = [];
    const json = (value: unknown, status = 200): WireResponse => ({
      status,
      headers: {
        "content-type": "application/json",
        "endpoint-load-metrics": 'JSON {"cpu_utilization":0.5}',
      },
      body: { kind: "parts", parts: [new TextEncoder().encode(JSON.stringify(value))] },
    });
    const handler: Handler = async ({ path, method, body, headers }) => {
      if (method === "GET") {
        if (path === "/v2/models/tail-of-double") {
          const port = { datatype: "FP32", shape: [-1, 3] };
          return json({
            name: "tail-of-double",
            versions: ["1", "2"],
            platform: "",
            inputs: [{ name: "x", ...port }],
            outputs: [{ name: "y", ...port }],
          });
        }
        return json({ error: "not found" }, 404);
      }
      const bytes = await readBody(body, { maxBytes: 1e6 });
      const parsed = JSON.parse(new TextDecoder().decode(bytes)) as { inputs: { data: number[] }[] };
      seen.push({ path, body: parsed, headers: Object.keys(headers) });
      const data = parsed.inputs.at(0)!.data.map((value) => value * 2);
      return json({
        model_name: "m",
        model_version: null,
        id: null,
        parameters: null,
        outputs: [{ name: "y", datatype: "FP32", shape: [1, 3], data, parameters: null }],
      });
    };
    return { handler, seen };
  };

  it("runs a segment under the name that the server has for it, in JSON, and sends nothing of ours", async () => {
    const { handler, seen } = plain();
    const segment = { ...whole, from: "c1" };
    const info = {
      offers: false,
      serves: [{ segment: { model: "double", from: "c1" }, as: "tail-of-double" }],
    };
    const triton = connect(handler, { wire: "json" }, info);
    const knowledge = await triton.describe("double", undefined, call);
    expect(knowledge?.description).toMatchObject({ name: "double", version: "2", digest: expect.stringMatching(/^foreign:tail-of-double\/2\/[0-9a-f]{16}$/) as string }); // prettier-ignore
    const response = await triton.infer(request({ segment }), call);
    expect([...float32View(response.outputs.get("y")!)]).toEqual([0, 2, 4]);
    expect(response.load?.cpuRatio).toBe(0.5);
    expect(seen).toEqual([
      {
        path: "/v2/models/tail-of-double/infer",
        body: { inputs: [{ name: "x", datatype: "FP32", shape: [1, 3], data: [0, 1, 2] }] },
        headers: ["content-type", "endpoint-load-metrics-format"],
      },
    ]);
    expect(await triton.offers({ model: "double" }, call)).toEqual([]);
  });

  it("refuses requests that a plain server cannot serve, before sending anything", async () => {
    const { handler, seen } = plain();
    const bare = connect(handler, { wire: "json" }, { offers: false });
    await expect(bare.infer(request({ segment: { ...whole, from: "c1" } }), call)).rejects.toMatchObject({
      reason: "unknown-cut",
    });
    await expect(bare.infer(request({ codecs: { x: "fp16" } }), call)).rejects.toMatchObject({
      reason: "unsupported",
    });
    const other = connect(handler, {}, { offers: false, serves: [{ segment: { model: "other" } }] });
    await expect(other.infer(request(), call)).rejects.toMatchObject({ reason: "unknown-model" });
    expect(await other.describe("double", undefined, call)).toBeUndefined();
    const half = float32Tensor("x", [1, 3], new Float32Array(3));
    const fp16 = await fp16Codec.encode(half, call);
    const inputs = tensorsOf({ spec: { ...half.spec, datatype: "FP16" }, bytes: fp16.bytes });
    await expect(bare.infer(request({ inputs }), call)).rejects.toMatchObject({ reason: "unsupported" });
    expect(seen).toEqual([]);
  });

  it("BYTES travel as text in JSON", async () => {
    let sent = "";
    const bare = connect(
      async ({ body }) => {
        sent = new TextDecoder().decode(await readBody(body, { maxBytes: 1e6 }));
        throw new Error("enough");
      },
      { wire: "json" },
      { offers: false },
    );
    const inputs = tensorsOf(bytesTensor("t", ["grüße", ""]));
    await expect(bare.infer(request({ inputs }), call)).rejects.toMatchObject({ reason: "no-answer" });
    expect(JSON.parse(sent)).toEqual({
      inputs: [{ name: "t", datatype: "BYTES", shape: [2], data: ["grüße", ""] }],
    });
  });
});
