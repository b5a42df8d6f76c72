import { describe, expect, it } from "vitest";
import {
  bytesTensor,
  type Call,
  codecSet,
  defaultWireLimits,
  emptyBody,
  float32Tensor,
  float32View,
  fp16Codec,
  type LongshoreEvent,
  LongshoreError,
  numericTensor,
  type Peer,
  rawCodec,
  readBody,
  seededRandom,
  tensorsOf,
  textElements,
  type WireBody,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  housekeepingCall,
  nextStep,
  readInferReplyInSteps,
  headerLengthOf,
  writeInferRequest,
} from "@longshore/core/internal";
import { type DoubleModel, doubleDescription, doubleEndpoint, manualClock, settle } from "@longshore/testkit";
import { createLife } from "../life/index.ts";
import { createTelemetry } from "../telemetry/index.ts";
import { loopbackIdentity } from "../identify/index.ts";
import { withCors } from "../listen/cors.ts";
import { createHandler } from "./handler.ts";
import type { HandlerParts } from "./parts.ts";
import type { ServedRepository } from "./served-repository.ts";

const here: Peer = { address: "127.0.0.1", loopback: true };
const elsewhere: Peer = { address: "192.0.2.7", loopback: false };
const call: Call = housekeepingCall("test");
const readReply = (body: Uint8Array, headerLength: number | undefined) =>
  readInferReplyInSteps(body, headerLength, defaultWireLimits, settle);

const doubling: DoubleModel = {
  description: doubleDescription({
    name: "double",
    labels: { y: ["cat", "dog", "owl"] },
    variants: [
      { name: "default", body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 },
      { name: "small", body: { kind: "graph", file: "small.onnx" }, agreementRatio: 0.99 },
    ],
  }),
  run: (inputs) => {
    const input = inputs.get("x") ?? float32Tensor("x", [0], new Float32Array(0));
    return tensorsOf(
      float32Tensor(
        "y",
        input.spec.shape,
        float32View(input).map((value) => value * 2),
      ),
    );
  },
};

const upper: DoubleModel = {
  description: doubleDescription({
    name: "upper",
    version: "3",
    inputs: [{ name: "text", datatype: "BYTES", shape: [1] }],
    outputs: [{ name: "text", datatype: "BYTES", shape: [1] }],
  }),
  run: (inputs) =>
    tensorsOf(
      bytesTensor(
        "text",
        textElements(inputs.get("text")!).map((text) => text.toUpperCase()),
      ),
    ),
};

const batched: DoubleModel = {
  ...doubling,
  description: doubleDescription({
    name: "batched",
    batching: { maxBatchSize: 8, preferredSizes: [4], maxQueueDelayMs: 2 },
    labels: { y: ["cat", "dog", "owl"] },
  }),
};

function parts(...list: readonly Uint8Array[]): WireBody {
  return { kind: "parts", parts: list };
}

const json = (value: unknown): WireBody =>
  parts(new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value)));

function ask(method: WireRequest["method"], path: string, change: Partial<WireRequest> = {}): WireRequest {
  return { method, path, headers: {}, body: emptyBody, peer: here, ...change };
}

const xJson = { inputs: [{ name: "x", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] }] };

/** A JSON reply, with the fields that tests look into. */
interface TextReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {
    readonly error?: string;
    readonly reason?: string;
    readonly extensions?: unknown;
    readonly outputs?: readonly object[];
    readonly parameters?: { readonly longshore_account?: string };
    readonly model_stats?: readonly {
      readonly inference_stats: Record<string, { readonly count: number }>;
    }[];
  };
}

function server(change: Partial<HandlerParts> = {}) {
  const clock = manualClock();
  const double = doubleEndpoint([doubling, upper, batched], { id: "server" });
  const events: LongshoreEvent[] = [];
  const handler = createHandler({
    endpoint: double,
    codecs: codecSet(rawCodec, fp16Codec),
    clock,
    observer: { record: (event) => void (event.kind === "failure" && events.push(event)) },
    ...change,
  });
  const send = (request: WireRequest, base = call): Promise<WireResponse> => handler(request, base);
  const text = async (request: WireRequest): Promise<TextReply> => {
    const { status, body, headers } = await send(request);
    const bytes = await readBody(body, { maxBytes: 1e7 });
    return { status, headers, body: JSON.parse(new TextDecoder().decode(bytes)) as TextReply["body"] };
  };
  return { handler, send, text, double, clock, events };
}

describe("routes of the protocol", () => {
  it("tells that it lives and is ready", async () => {
    const { text } = server();
    expect(await text(ask("GET", "/v2/health/live"))).toMatchObject({ status: 200, body: { live: true } });
    expect(await text(ask("GET", "/v2/health/ready"))).toMatchObject({ status: 200, body: { ready: true } });
    const starting = server({ life: createLife() });
    expect((await starting.send(ask("GET", "/v2/health/ready"))).status).toBe(503);
    expect((await starting.send(ask("GET", "/v2/health/live"))).status).toBe(200);
  });

  it("takes bytes that only measure the link, up to a limit", async () => {
    const { send } = server();
    const probe = (bytes: number): Promise<WireResponse> =>
      send(ask("POST", "/v2/probe", { body: { kind: "parts", parts: [new Uint8Array(bytes)] } }));
    expect(await probe(58_400)).toMatchObject({ status: 200, body: { parts: [new Uint8Array()] } });
    expect((await probe(200_000)).status).toBe(413);
  });

  it("does not count the time that the bytes of a probe are under way as its own", async () => {
    const { send, clock } = server();
    const body: WireBody = {
      kind: "stream",
      byteLength: 2920,
      async *read() {
        yield new Uint8Array(1460);
        await clock.advance(300);
        yield new Uint8Array(1460);
      },
    };
    const { headers } = await send(ask("POST", "/v2/probe", { body }));
    expect(Number(headers["longshore-took"])).toBe(0);
  });

  it("describes itself, with and without the slash", async () => {
    const { text } = server({ name: "edge", version: "7.0.0" });
    for (const path of ["/v2", "/v2/"]) {
      const { body } = await text(ask("GET", path));
      expect(body).toMatchObject({ name: "edge", version: "7.0.0" });
      expect(body.extensions).toEqual(
        expect.arrayContaining(["binary_tensor_data", "statistics", "sequence", "longshore"]),
      );
    }
  });

  it("describes models: metadata, configuration in Triton's shape, readiness", async () => {
    const { text } = server();
    expect((await text(ask("GET", "/v2/models/double/versions/1"))).body).toEqual({
      name: "double",
      versions: ["1"],
      platform: "onnxruntime_onnx",
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, 3] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [-1, 3] }],
    });
    expect((await text(ask("GET", "/v2/models/batched/config"))).body).toMatchObject({
      name: "batched",
      max_batch_size: 8,
      input: [{ name: "x", data_type: "TYPE_FP32", dims: [3] }],
      output: [{ name: "y", data_type: "TYPE_FP32", dims: [3] }],
      dynamic_batching: { preferred_batch_size: [4], max_queue_delay_microseconds: 2000 },
    });
    expect((await text(ask("GET", "/v2/models/upper/config"))).body).toMatchObject({
      max_batch_size: 0,
      input: [{ name: "text", data_type: "TYPE_STRING", dims: [1] }],
    });
    expect((await text(ask("GET", "/v2/models/upper/ready"))).body).toEqual({ name: "upper", ready: true });
  });

  const failures: readonly [string, WireRequest, number, string][] = [
    ["an unknown model", ask("GET", "/v2/models/none"), 404, "unknown-model"],
    ["an unknown version", ask("GET", "/v2/models/double/versions/9"), 404, "unknown-version"],
    ["an unknown path", ask("GET", "/v2/none"), 404, "unknown-route"],
    ["a wrong verb", ask("PUT", "/v2/models/double"), 405, "wrong-method"],
    ["a name with a way up", ask("GET", "/v2/models/..%2f..%2fetc"), 404, "unknown-model"],
    ["broken JSON", ask("POST", "/v2/models/double/infer", { body: json("{") }), 400, "invalid-input"],
    ["no body", ask("POST", "/v2/models/double/infer"), 400, "invalid-input"],
    [
      "an unknown input",
      ask("POST", "/v2/models/double/infer", { body: json({ inputs: [{ ...xJson.inputs[0], name: "z" }] }) }),
      400,
      "invalid-input",
    ],
    ["a missing input", ask("POST", "/v2/models/double/infer", { body: json({ inputs: [] }) }), 400, "invalid-input"], // prettier-ignore
    [
      "one input too many",
      ask("POST", "/v2/models/double/infer", {
        body: json({ inputs: [...xJson.inputs, { ...xJson.inputs[0], name: "z" }] }),
      }),
      400,
      "invalid-input",
    ],
    [
      "a wrong datatype",
      ask("POST", "/v2/models/double/infer", {
        body: json({ inputs: [{ ...xJson.inputs[0], datatype: "INT32" }] }),
      }),
      400,
      "invalid-input",
    ],
    [
      "a wrong shape",
      ask("POST", "/v2/models/double/infer", {
        body: json({ inputs: [{ ...xJson.inputs[0], shape: [3] }] }),
      }),
      400,
      "invalid-input",
    ],
    [
      "an unknown output",
      ask("POST", "/v2/models/double/infer", { body: json({ ...xJson, outputs: [{ name: "z" }] }) }),
      400,
      "invalid-input",
    ],
    [
      "an unknown variant",
      ask("POST", "/v2/models/double/versions/1/variants/huge/infer", { body: json(xJson) }),
      404,
      "unknown-variant",
    ],
    [
      "a deadline in the past",
      ask("POST", "/v2/models/double/infer", { body: json(xJson), headers: { "longshore-deadline": "0" } }),
      504,
      "deadline-past",
    ],
    [
      "another digest",
      ask("POST", "/v2/models/double/infer", {
        body: json(xJson),
        headers: { "longshore-digest": "sha256:x" },
      }),
      404,
      "unknown-version",
    ],
    [
      "a rule that is not known here",
      ask("POST", "/v2/models/double/infer", { body: json(xJson), headers: { "longshore-rules": "x=y" } }),
      403,
      "policy-denied",
    ],
    [
      "a request that went in a circle",
      ask("POST", "/v2/models/double/infer", {
        body: json(xJson),
        headers: { "longshore-path": "a,server" },
      }),
      503,
      "rejected",
    ],
    [
      "a sequence that starts in the middle",
      ask("POST", "/v2/models/double/infer", {
        body: json({ ...xJson, parameters: { sequence_id: 5, sequence_start: true, longshore_step: 2 } }),
      }),
      409,
      "sequence-step",
    ],
    [
      "a sequence id of very many characters",
      ask("POST", "/v2/models/double/infer", {
        body: json({ ...xJson, parameters: { sequence_id: "x".repeat(257) } }),
      }),
      400,
      "invalid-input",
    ],
    ["a query that is no number", ask("GET", "/v2/models/double/offers?bytes=x"), 400, "invalid-input"],
    ["a query that is no flag", ask("GET", "/v2/models/double/offers?offers=no"), 400, "invalid-input"],
    ["a query of two minds", ask("GET", "/v2/models/double/offers?size=1&size=2"), 400, "invalid-input"],
  ];
  it.each(failures)(
    "answers %s with an error that can be acted on",
    async (_name, request, status, reason) => {
      const { text, events } = server();
      const reply = await text(request);
      expect(reply).toMatchObject({ status, body: { reason } });
      expect(typeof reply.body.error).toBe("string");
      expect(reply.body.error).not.toMatch(/\bat .*\.ts|node_modules|(?:^|\s)\/[a-z]+\//);
      expect(events).toMatchObject([{ kind: "failure", reason }]);
    },
  );

  it("tells the operator whose request failed, where that is known, and of which model", async () => {
    const rights = new Set(["infer"] as const);
    const { text, events } = server({
      identify({ headers: { authorization } }) {
        if (authorization === "none") throw new LongshoreError("unauthenticated", "identify", "made up");
        return { tenant: "acme", rights };
      },
    });
    for (const authorization of ["key", "none"])
      await text(ask("POST", "/v2/models/nothing/infer", { body: json(xJson), headers: { authorization } }));
    await text(ask("GET", "/nothing"));
    const told = { kind: "failure", atMs: 0, callId: call.id, message: expect.any(String) as string };
    expect(events).toEqual([
      { ...told, stage: "resolve", reason: "unknown-model", tenant: "acme", model: "nothing" },
      { ...told, stage: "identify", reason: "unauthenticated" },
      { ...told, stage: "admission", reason: "unknown-route", tenant: "acme" },
    ]);
  });

  it("keeps to itself what an internal error says", async () => {
    const broken: DoubleModel = {
      description: doubleDescription({ name: "broken" }),
      run: () => {
        throw new Error("ENOENT: /var/lib/models/secret.onnx");
      },
    };
    const { text, events } = server({ endpoint: doubleEndpoint([broken]) });
    const reply = await text(ask("POST", "/v2/models/broken/infer", { body: json(xJson) }));
    expect(reply).toMatchObject({ status: 500, body: { reason: "internal" } });
    expect(JSON.stringify(reply.body)).not.toContain("secret");
    expect(reply.body.error).toContain(call.id);
    expect(events[0]).toMatchObject({ message: expect.stringContaining("secret") as string });
  });

  it("gives back the reason, the stage and when to come again", async () => {
    const full: DoubleModel = {
      description: doubleDescription({ name: "full" }),
      run: () => {
        throw new LongshoreError("queue-full", "queue", "full", { retryAfterMs: 1500 });
      },
    };
    const { text } = server({ endpoint: doubleEndpoint([full]) });
    const reply = await text(ask("POST", "/v2/models/full/infer", { body: json(xJson) }));
    expect(reply).toMatchObject({
      status: 503,
      headers: { "retry-after": "2" },
      body: { reason: "queue-full", stage: "queue", retryAfterMs: 1500 },
    });
  });
});

describe("inference", () => {
  it("answers JSON with JSON and echoes the id, also an empty one", async () => {
    const { text } = server();
    const reply = await text(ask("POST", "/v2/models/double/infer", { body: json({ id: "", ...xJson }) }));
    expect(reply.headers["content-type"]).toBe("application/json");
    expect(reply.headers["inference-header-content-length"]).toBeUndefined();
    expect(reply.body).toEqual({
      model_name: "double",
      model_version: "1",
      id: "",
      outputs: [{ name: "y", datatype: "FP32", shape: [1, 3], data: [2, 4, 6] }],
    });
  });

  it("answers binary where the request, or one output, asks for it", async () => {
    const { send } = server();
    const bodies = [
      { ...xJson, parameters: { binary_data_output: true } },
      { ...xJson, outputs: [{ name: "y", parameters: { binary_data: true } }] },
    ];
    for (const body of bodies) {
      const { headers, body: bytes } = await send(
        ask("POST", "/v2/models/double/infer", { body: json(body) }),
      );
      const reply = await readReply(await readBody(bytes, { maxBytes: 1e6 }), headerLengthOf(headers));
      expect(headers["inference-header-content-length"]).toMatch(/^\d+$/);
      expect(new Float32Array(reply.outputs.at(0)!.bytes.slice().buffer)).toEqual(Float32Array.of(2, 4, 6));
    }
    const { headers } = await send(
      ask("POST", "/v2/models/double/infer", {
        body: json({
          ...xJson,
          parameters: { binary_data_output: true },
          outputs: [{ name: "y", parameters: { binary_data: false } }],
        }),
      }),
    );
    expect(headers["inference-header-content-length"]).toBeUndefined();
  });

  it("takes raw requests: FP32 whose length tells the shape, and one BYTES element", async () => {
    const { send, double } = server();
    const raw = { "inference-header-content-length": "0" };
    const values = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
    const reply = await send(ask("POST", "/v2/models/double/infer", { headers: raw, body: parts(values) }));
    const bytes = await readBody(reply.body, { maxBytes: 1e6 });
    const read = await readReply(bytes, headerLengthOf(reply.headers));
    expect(read.outputs[0]?.shape).toEqual([2, 3]);
    const hello = new TextEncoder().encode("grüße");
    await send(ask("POST", "/v2/models/upper/infer", { headers: raw, body: parts(hello) }));
    expect(textElements(double.requests.at(-1)!.inputs.get("text")!)).toEqual(["grüße"]);
    const odd = await send(
      ask("POST", "/v2/models/double/infer", { headers: raw, body: parts(values.subarray(1)) }),
    );
    expect(odd.status).toBe(400);
  });

  it("ranks classes with labels, per row where the model has a batch axis", async () => {
    const { text } = server();
    const outputs = [{ name: "y", parameters: { classification: 2 } }];
    const plain = await text(ask("POST", "/v2/models/double/infer", { body: json({ ...xJson, outputs }) }));
    expect(plain.body.outputs).toEqual([
      { name: "y", datatype: "BYTES", shape: [2], data: ["6.000000:2:owl", "4.000000:1:dog"] },
    ]);
    const rows = { inputs: [{ ...xJson.inputs[0], shape: [2, 3], data: [3, 2, 1, 1, 1, 5] }] };
    const batch = await text(ask("POST", "/v2/models/batched/infer", { body: json({ ...rows, outputs }) }));
    expect(batch.body.outputs!.at(0)).toMatchObject({
      shape: [2, 2],
      data: ["6.000000:0:cat", "4.000000:1:dog", "10.000000:2:owl", "2.000000:0:cat"],
    });
  });

  it("tells load and time on every reply, ORCA's report in the requested format, and the account on request", async () => {
    const { text, send } = server({ load: () => ({ atMs: 0, cpuRatio: 0.5, inFlight: 2, queueMs: 1 }) });
    const reply = await text(
      ask("POST", "/v2/models/double/infer", {
        body: json(xJson),
        headers: { "endpoint-load-metrics-format": "json", "longshore-account": "1" },
      }),
    );
    expect(reply.headers["longshore-load"]).toBe("cpu=0.25;in-flight=1;queue-ms=2.5");
    expect(reply.headers["longshore-took"]).toBe("0.000");
    expect(JSON.parse((reply.headers["endpoint-load-metrics"] ?? "").slice("JSON ".length))).toEqual({
      cpu_utilization: 0.25,
      rps_fractional: 1,
      named_metrics: { in_flight: 1, queue_ms: 2.5 },
    });
    expect(JSON.parse(reply.body.parameters!.longshore_account!)).toMatchObject({
      endpoint: "server",
      segment: { model: "double", variant: "default", from: "start", to: "end" },
    });
    const other = await send(ask("GET", "/v2/none", { headers: { "endpoint-load-metrics-format": "text" } }));
    expect(other.headers["longshore-load"]).toBe("cpu=0.5;in-flight=2;queue-ms=1");
    expect(other.headers["endpoint-load-metrics"]).toMatch(/^TEXT cpu_utilization=0.5,/);
  });

  it("says that a step is the next one for clients that do not count, and believes those that do", async () => {
    const { send, double } = server();
    const step = (parameters: object): Promise<WireResponse> =>
      send(ask("POST", "/v2/models/double/infer", { body: json({ ...xJson, parameters }) }));
    await step({ sequence_id: 7, sequence_start: true });
    await step({ sequence_id: 7 });
    await step({ sequence_id: 7, sequence_end: true });
    await step({ sequence_id: "cam", longshore_step: 12, longshore_want_state: true });
    await step({ sequence_id: 0 });
    expect(double.requests.map(({ request }) => request.sequence)).toEqual([
      { id: "7", step: 0, end: false, wantState: false },
      { id: "7", step: nextStep, end: false, wantState: false },
      { id: "7", step: nextStep, end: true, wantState: false },
      { id: "cam", step: 12, end: false, wantState: true },
      undefined,
    ]);
  });

  it("keeps all digits of ids of 64 bits, as numbers and as text, and takes no others", async () => {
    const { send, double } = server();
    const step = (id: string): Promise<WireResponse> => {
      const parameters = `"parameters":{"sequence_id":${id},"sequence_start":true}`;
      return send(
        ask("POST", "/v2/models/double/infer", {
          body: json(`{${parameters},${JSON.stringify(xJson).slice(1)}`),
        }),
      );
    };
    for (const id of ["18446744073709551615", "9007199254740993", '"9007199254740993"', "9007199254740991"]) {
      expect((await step(id)).status, id).toBe(200);
    }
    expect(double.requests.map(({ request }) => request.sequence?.id)).toEqual([
      "18446744073709551615",
      "9007199254740993",
      "9007199254740993",
      "9007199254740991",
    ]);
    for (const id of ["18446744073709551616", "1e19", "-1", "-9007199254740993", "1.5", "true"]) {
      expect((await step(id)).status, id).toBe(400);
    }
  });

  it("gives requests without rules a class that no policy knows, unless the operator says otherwise", async () => {
    const { send, double } = server();
    await send(ask("POST", "/v2/models/double/infer", { body: json(xJson) }));
    expect(double.requests.at(0)?.call.rules).toEqual({ dataClass: "unknown", leastTrust: "none" });
    const open = server({ unstatedRules: { dataClass: "public", leastTrust: "listed" } });
    await open.send(ask("POST", "/v2/models/double/infer", { body: json(xJson) }));
    expect(open.double.requests.at(0)?.call.rules).toEqual({ dataClass: "public", leastTrust: "listed" });
  });

  it("decodes coded inputs, and acknowledges a long body in the requested steps", async () => {
    const { handler, double } = server();
    const x = float32Tensor("x", [20_000, 3], new Float32Array(60_000).fill(0.5));
    const coded = await fp16Codec.encode(x, call);
    const message = writeInferRequest(
      {
        parameters: {},
        inputs: [
          {
            name: "x",
            datatype: "FP32",
            shape: x.spec.shape,
            parameters: { ...coded.parameters, codec: "fp16" },
            bytes: coded.bytes,
          },
        ],
        binaryOutputs: true,
      },
      "binary",
    );
    const whole = await readBody({ kind: "parts", parts: message.parts }, { maxBytes: 1e6 });
    const chunks = Array.from({ length: 13 }, (_, index) =>
      whole.subarray(index * 10_000, (index + 1) * 10_000),
    );
    const seen: number[] = [];
    const headers = { ...message.headers, "longshore-acknowledge": "25000" };
    await handler(
      ask("POST", "/v2/models/double/infer", { headers, body: parts(...chunks) }),
      call,
      (bytes) => seen.push(bytes),
    );
    expect(seen).toEqual([30_000, 60_000, 90_000, 120_000, whole.byteLength]);
    expect(float32View(double.requests.at(0)!.inputs.get("x")!)[59_999]).toBe(0.5);
  });

  it("refuses a body that is larger than allowed by its announced length, without reading a byte of it", async () => {
    const { text } = server();
    let read = false;
    const body: WireBody = {
      kind: "stream",
      byteLength: 2 ** 40,
      async *read() {
        read = true;
        yield new Uint8Array(1);
      },
    };
    const reply = await text(ask("POST", "/v2/models/double/infer", { body }));
    expect(reply).toMatchObject({ status: 413, body: { reason: "body-too-large" } });
    expect(read).toBe(false);
  });

  it("checks all that headers and path can tell before it reads the body", async () => {
    const body: WireBody = {
      kind: "stream",
      byteLength: 10,
      async *read() {
        yield await Promise.reject<Uint8Array>(new Error("the body was read"));
      },
    };
    const life = createLife(3000);
    const { text } = server({ life });
    const path = "/v2/models/double/infer";
    for (const request of [
      ask("POST", "/v2/models/none/infer", { body }),
      ask("POST", path, { body, headers: { "longshore-deadline": "-1" } }),
      ask("POST", path, { body, headers: { "longshore-digest": "other" } }),
      ask("POST", "/v2/models/double/versions/1/variants/default/segments/c1..end/infer", {
        body,
        peer: elsewhere,
      }),
    ]) {
      expect((await text(request)).body.reason).not.toBe("internal");
    }
    void life.drain();
    expect(await text(ask("POST", path, { body }))).toMatchObject({
      status: 503,
      headers: { "retry-after": "3" },
      body: { reason: "shutting-down", stage: "admission" },
    });
  });

  it("keeps all bodies together within the budget", async () => {
    const { text, send } = server({ maxBufferedBytes: 1000 });
    let release = (): void => undefined;
    const slow: WireBody = {
      kind: "stream",
      byteLength: 900,
      async *read() {
        await new Promise<void>((resolve) => (release = resolve));
        yield new Uint8Array(900);
      },
    };
    const first = send(ask("POST", "/v2/models/double/infer", { body: slow }));
    await new Promise((resolve) => setImmediate(resolve));
    const body = json({ ...xJson, id: "x".repeat(200) });
    expect(await text(ask("POST", "/v2/models/double/infer", { body }))).toMatchObject({
      status: 503,
      body: { reason: "rejected" },
    });
    release();
    await first;
    expect((await text(ask("POST", "/v2/models/double/infer", { body }))).status).toBe(200);
  });

  it("gives back the memory of a body whose checksum or acknowledgement header makes no sense", async () => {
    const double = doubleEndpoint([doubling], { id: "server" });
    const endpoint = { ...double, capabilities: { ...double.capabilities, sendsOn: true as const } };
    const { handler, text } = server({ endpoint, maxBufferedBytes: 150_000 });
    const padded = json(JSON.stringify(xJson) + " ".repeat(50_000));
    const long: WireBody = {
      kind: "stream",
      byteLength: 70_000,
      async *read() {
        yield new Uint8Array(70_000);
      },
    };
    const bad = [{ "longshore-crc32": "none of ours" }, { "longshore-acknowledge": "some" }];
    const requests = bad.flatMap((headers) => [
      { headers, body: padded },
      { headers: { ...headers, "inference-header-content-length": "80" }, body: long },
    ]);
    for (const request of requests) {
      const incoming = ask("POST", "/v2/models/double/infer", request);
      expect((await handler(incoming, call, () => undefined)).status).toBe(400);
    }
    expect((await text(ask("POST", "/v2/models/double/infer", { body: padded }))).status).toBe(200);
  });

  it("counts a body that is read whole after all beside what is kept of it", async () => {
    const shape = [25_000];
    const description = doubleDescription({
      name: "double",
      inputs: [{ name: "x", datatype: "FP32", shape }],
      outputs: [{ name: "y", datatype: "FP32", shape }],
    });
    const double = doubleEndpoint([{ ...doubling, description }], { id: "server" });
    const endpoint = { ...double, capabilities: { ...double.capabilities, sendsOn: true as const } };
    const message = writeInferRequest(
      {
        parameters: {},
        inputs: [{ name: "x", datatype: "FP32", shape, parameters: {}, bytes: new Uint8Array(100_000) }],
        // An answer in JSON is made here.
        binaryOutputs: false,
      },
      "binary",
    );
    const { headers, parts: all } = message;
    const byteLength = all.reduce((sum, part) => sum + part.byteLength, 0);
    const outcome = async (change: Partial<HandlerParts>): Promise<unknown> => {
      const body: WireBody = {
        kind: "stream",
        byteLength,
        read: async function* () {
          yield* all;
        },
      };
      const { text } = server({ endpoint, ...change });
      const { body: told } = await text(ask("POST", "/v2/models/double/infer", { headers, body }));
      return told.reason;
    };
    expect(await outcome({ maxBufferedBytes: 2 * byteLength - 1 })).toBe("rejected");
    expect(await outcome({ maxBufferedBytes: 2 * byteLength })).toBeUndefined();
    expect(await outcome({ maxBufferedBytes: byteLength + 999, maxKeptBytes: 1000 })).toBe("rejected");
    expect(await outcome({ maxBufferedBytes: byteLength + 1000, maxKeptBytes: 1000 })).toBeUndefined();
  });

  it("is not kept from others by senders that announce much and send little", async () => {
    const { text, send } = server({ maxBufferedBytes: 2 ** 25 });
    const releases: (() => void)[] = [];
    const slow = (byteLength: number | undefined): WireBody => ({
      kind: "stream",
      byteLength,
      async *read() {
        yield new Uint8Array(1);
        await new Promise<void>((resolve) => releases.push(resolve));
      },
    });
    const slowOnes = [2 ** 25, undefined, 2 ** 24, undefined].map((byteLength) =>
      send(ask("POST", "/v2/models/double/infer", { body: slow(byteLength) })),
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(releases).toHaveLength(4);
    expect((await text(ask("POST", "/v2/models/double/infer", { body: json(xJson) }))).status).toBe(200);
    const large: WireBody = { kind: "parts", parts: [new Uint8Array(2 ** 25)] };
    expect(await text(ask("POST", "/v2/models/double/infer", { body: large }))).toMatchObject({
      body: { reason: "rejected" },
    });
    for (const release of releases) release();
    expect((await Promise.all(slowOnes)).map(({ status }) => status)).toEqual([400, 400, 400, 400]);
  });

  it("does not read on for a sender that has left", async () => {
    const abort = new AbortController();
    let turns = 0;
    const clock: HandlerParts["clock"] = {
      ...manualClock(),
      timer(delayMs, fire) {
        if (delayMs === 0) {
          turns += 1;
          abort.abort();
        }
        const soon = setImmediate(fire);
        return { [Symbol.dispose]: () => clearImmediate(soon) };
      },
    };
    const telemetry = createTelemetry({ clock: manualClock(), random: seededRandom(1) });
    const { handler } = server({ clock, telemetry });
    const data = Array.from({ length: 400_000 }, () => 1);
    const body = json({ inputs: [{ name: "x", datatype: "FP32", shape: [1, data.length], data }] });
    const asked = ask("POST", "/v2/models/double/infer", { body });
    expect((await handler(asked, { ...call, abort: abort.signal })).status).toBe(499);
    expect(turns).toBe(1);
  });

  it("tells the caller's end from other failures", async () => {
    const abort = new AbortController();
    const { handler } = server({
      endpoint: doubleEndpoint([
        {
          ...doubling,
          run: () => {
            abort.abort(new LongshoreError("cancelled", "transport", "gone"));
            throw new Error("interrupted");
          },
        },
      ]),
    });
    const reply = await handler(ask("POST", "/v2/models/double/infer", { body: json(xJson) }), {
      ...call,
      abort: abort.signal,
    });
    expect(reply.status).toBe(499);
  });
});

describe("rights", () => {
  const segment = "/v2/models/double/versions/1/variants/default/segments/c1..end/infer";
  const head = "/v2/models/double/versions/1/variants/default/head/c1";
  const repository: ServedRepository = {
    index: async () => [
      { name: "double", version: "1", state: "READY", reason: "" },
      { name: "late", version: "1", state: "UNAVAILABLE", reason: "unloaded" },
    ],
    load: async () => undefined,
    unload: async () => undefined,
    head: async ({ to }) => (to === "c1" ? { digest: "sha256:abc", bytes: Uint8Array.of(1, 2) } : undefined),
  };

  it("gives the rest of a head to a client that has some of it", async () => {
    const { send } = server({ repository });
    const reply = await send(ask("GET", head, { headers: { range: "bytes=1-" } }));
    const { "content-range": range, "longshore-digest": digest } = reply.headers;
    expect([reply.status, range, digest]).toEqual([206, "bytes 1-1/2", "sha256:abc"]);
    expect(reply.body).toEqual({ kind: "parts", parts: [Uint8Array.of(2)] });
    const beyond = await send(ask("GET", head, { headers: { range: "bytes=2-" } }));
    expect([beyond.status, beyond.headers["content-range"]]).toEqual([416, "bytes */2"]);
  });

  it("gives segments, heads, management and metrics to this machine only", async () => {
    const double = doubleEndpoint([doubling, upper, batched], { id: "server" });
    const endpoint = { ...double, capabilities: { prepare: () => Promise.resolve() } };
    const { text, send } = server({ endpoint, repository, modelControl: true });
    const body = json(xJson);
    const all = [
      ask("POST", segment, { body }),
      ask("POST", segment.replace("/infer", "/prepare")),
      ask("GET", head),
      ask("POST", "/v2/repository/models/double/unload"),
      ask("GET", "/metrics"),
    ];
    for (const request of all) {
      expect((await send(request)).status, request.path).toBe(200);
      const strangers = [
        { ...request, peer: elsewhere },
        { ...request, headers: { origin: "https://evil.example" } },
        { ...request, headers: { host: "evil.example:8000" } },
        { ...request, headers: { "x-forwarded-for": "192.0.2.7" } },
        { method: request.method, path: request.path, headers: {}, body: request.body },
      ];
      for (const stranger of strangers) {
        expect(await text(stranger)).toMatchObject({ status: 403, body: { reason: "not-permitted" } });
      }
    }
    expect((await send(ask("POST", "/v2/models/double/infer", { body, peer: elsewhere }))).status).toBe(200);
    const variant = "/v2/models/double/versions/1/variants/small/infer";
    expect((await send(ask("POST", variant, { body, peer: elsewhere }))).status).toBe(200);
  });

  it("says so if it cannot load a part in advance", async () => {
    const { text } = server();
    expect(await text(ask("POST", segment.replace("/infer", "/prepare")))).toMatchObject({
      status: 501,
      body: { reason: "unsupported", error: expect.stringContaining("cannot load double in advance") },
    });
  });

  it("serves heads by their digest", async () => {
    const { send, text } = server({ repository });
    const reply = await send(ask("GET", head));
    expect(reply.headers).toMatchObject({ "longshore-digest": "sha256:abc", etag: '"sha256:abc"' });
    expect(await text(ask("GET", head.replace("c1", "c9")))).toMatchObject({
      body: { reason: "unknown-cut" },
    });
  });

  it("lists the repository, and loads nothing unless the operator allows it", async () => {
    const { text } = server({ repository });
    expect((await text(ask("POST", "/v2/repository/index"))).body).toHaveLength(2);
    expect((await text(ask("POST", "/v2/repository/index", { body: json({ ready: true }) }))).body).toEqual([
      { name: "double", version: "1", state: "READY", reason: "" },
    ]);
    const load = ask("POST", "/v2/repository/models/double/load");
    expect(await text(load)).toMatchObject({ status: 403, body: { reason: "not-permitted" } });
    const open = server({ repository, modelControl: true });
    expect((await open.text(load)).status).toBe(200);
    const withFile = { ...load, body: json({ parameters: { "file:1/model.onnx": "AAAA" } }) };
    expect(await open.text(withFile)).toMatchObject({ status: 403, body: { reason: "not-permitted" } });
  });
});

describe("statistics and metrics", () => {
  it("have Triton's keys from the start, and grow with what was answered and what failed", async () => {
    const clock = manualClock();
    const telemetry = createTelemetry({ clock, random: seededRandom(1) });
    const { observer } = telemetry;
    const { text, send } = server({ clock, telemetry, observer });
    const stats = async () => (await text(ask("GET", "/v2/models/double/stats"))).body.model_stats!.at(0)!;
    const before = await stats();
    expect(Object.keys(before.inference_stats)).toEqual([
      "success",
      "fail",
      "queue",
      "compute_input",
      "compute_infer",
      "compute_output",
      "cache_hit",
      "cache_miss",
    ]);
    expect(before.inference_stats["queue"]?.count).toBe(0);
    await send(ask("POST", "/v2/models/double/infer", { body: json(xJson) }));
    await send(ask("POST", "/v2/models/double/infer", { body: json("{") }));
    const batch = { atMs: 0, model: "double", version: "1", size: 4 };
    observer.record({ kind: "batch-run", ...batch, tookMs: 2, inputMs: 0.5 });
    observer.record({ kind: "batch-parted", ...batch, tookMs: 0.25 });
    observer.record({ kind: "batch-run", ...batch, version: "2", tookMs: 7 });
    for (const bytes of [1000, 500, -500]) {
      observer.record({ kind: "graph-memory", atMs: 0, model: "double", version: "1", bytes });
    }
    const after = await stats();
    expect(after).toMatchObject({
      version: "1",
      inference_count: 1,
      execution_count: 1,
      inference_stats: {
        success: { count: 1 },
        fail: { count: 1 },
        queue: { count: 1 },
        compute_infer: { ns: 1e6 },
      },
      batch_stats: [
        {
          batch_size: 4,
          compute_input: { count: 1, ns: 0.5e6 },
          compute_infer: { count: 1, ns: 1.5e6 },
          compute_output: { count: 1, ns: 0.25e6 },
        },
      ],
      memory_usage: [{ type: "CPU", id: 0, byte_size: 1000 }],
    });
    // How many rows a request has is its sender's choice.
    for (let size = 5; size < 3000; size++) observer.record({ kind: "batch-run", ...batch, size, tookMs: 1 });
    const sizes = ((await stats()) as { readonly batch_stats?: readonly unknown[] }).batch_stats;
    expect(sizes).toHaveLength(1024);
    const metrics = await send(ask("GET", "/metrics"));
    const page = new TextDecoder().decode(await readBody(metrics.body, { maxBytes: 1e6 }));
    expect(page).toContain('nv_inference_request_success{model="double",version="1"} 1');
    expect(page).toContain('nv_inference_request_failure{model="double",version="1",reason="OTHER"} 1');
    expect(page).toContain('longshore_replies_total{status="400"} 1');
  });
});

describe("web pages", () => {
  const origin = "https://app.example";
  it("of allowed origins get marks on replies and preflights; others get none", async () => {
    const { handler } = server();
    const cors = withCors(handler, { origins: [origin] });
    const preflight = await cors(
      ask("OPTIONS", "/v2/models/double/infer", {
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "longshore-rules",
        },
      }),
      call,
    );
    expect(preflight).toMatchObject({
      status: 204,
      headers: { "access-control-allow-origin": origin, "access-control-allow-headers": "longshore-rules" },
    });
    const infer = ask("POST", "/v2/models/double/infer", { body: json(xJson), headers: { origin } });
    const reply = await cors(infer, call);
    expect(reply.status).toBe(200);
    for (const name of ["inference-header-content-length", "content-encoding"])
      expect(reply.headers["access-control-expose-headers"]).toContain(name);
    expect(reply.headers["access-control-allow-credentials"]).toBeUndefined();
    const other = await cors({ ...infer, headers: { origin: "https://evil.example" } }, call);
    expect(other.headers["access-control-allow-origin"]).toBeUndefined();
    expect([reply.headers["vary"], other.headers["vary"]]).toEqual(["origin", "origin"]);
  });

  it("of other origins cannot run anything, but pages behind a proxy and with credentials can", async () => {
    const { handler } = server({ pages: [origin] });
    const infer = ask("POST", "/v2/models/double/infer", { body: json(xJson) });
    const statusOf = async (headers: Readonly<Record<string, string>>): Promise<number> =>
      (await handler({ ...infer, headers: { host: "10.0.0.5:8000", ...headers } }, call)).status;
    const evil = { origin: "https://evil.example" };
    expect(await statusOf({ ...evil, "sec-fetch-site": "cross-site" })).toBe(403);
    expect(await statusOf(evil)).toBe(403);
    expect(await statusOf({ origin: "null" })).toBe(403);
    expect(await statusOf({})).toBe(200);
    expect(await statusOf({ origin })).toBe(200);
    expect(await statusOf({ origin: "http://10.0.0.5:8000" })).toBe(200);
    expect(await statusOf({ ...evil, "sec-fetch-site": "same-origin" })).toBe(200);
    expect(await statusOf({ ...evil, "x-forwarded-for": "10.0.0.9" })).toBe(200);
    expect(await statusOf({ ...evil, authorization: "Bearer key" })).toBe(200);
    const refused = await handler({ ...infer, headers: evil }, call);
    const text = new TextDecoder().decode(await readBody(refused.body, { maxBytes: 1e6 }));
    expect(JSON.parse(text)).toMatchObject({
      reason: "not-permitted",
      error: expect.stringContaining("web pages of this origin may not use this server") as string,
    });
  });

  it("get no marks on ports that are for management or metrics alone", async () => {
    const { handler } = server();
    const cors = withCors(handler, { origins: "*" });
    const page = { headers: { origin }, surfaces: ["observe"] } as const;
    const reply = await cors({ ...ask("GET", "/metrics"), ...page }, call);
    expect(reply.headers["access-control-allow-origin"]).toBeUndefined();
  });

  it("of allowed origins have no rights of programs on this machine", async () => {
    const { handler } = server({ identify: loopbackIdentity() });
    const cors = withCors(handler, { origins: [origin] });
    const index = ask("POST", "/v2/repository/index", { body: json({}) });
    const peer = { address: "127.0.0.1", loopback: true };
    expect((await cors({ ...index, peer, headers: { host: "127.0.0.1:8000" } }, call)).status).not.toBe(403);
    expect((await cors({ ...index, peer, headers: { host: "127.0.0.1:8000", origin } }, call)).status).toBe(
      403,
    );
  });

  it("have no rights of programs on this machine for images and scripts, which carry no origin", async () => {
    const { handler } = server({ identify: loopbackIdentity() });
    const peer = { address: "127.0.0.1", loopback: true };
    const statusOf = async (site: string): Promise<number> => {
      const headers = { host: "127.0.0.1:8000", "sec-fetch-site": site };
      return (await handler({ ...ask("GET", "/metrics", { headers }), peer }, call)).status;
    };
    for (const site of ["cross-site", "same-site", "same-origin"]) expect(await statusOf(site)).toBe(403);
    expect(await statusOf("none")).toBe(200);
  });
});

describe("life", () => {
  it("answers probes by the names that orchestrators use, and is not ready where nothing behind it answers", async () => {
    let available = false;
    const { handler } = server({ available: () => Promise.resolve(available) });
    const statuses = async (): Promise<number[]> => {
      const paths = ["/healthz", "/livez", "/readyz", "/v2/health/ready"];
      return Promise.all(paths.map(async (path) => (await handler(ask("GET", path), call)).status));
    };
    expect(await statuses()).toEqual([200, 200, 503, 503]);
    available = true;
    expect(await statuses()).toEqual([200, 200, 200, 200]);
  });

  it("drains: what was accepted finishes, new work is refused", async () => {
    const life = createLife();
    life.ready();
    const entered = life.enter();
    let drained = false;
    const draining = life.drain().then(() => (drained = true));
    expect(() => life.enter()).toThrow(expect.objectContaining({ reason: "shutting-down" }));
    await Promise.resolve();
    expect(drained).toBe(false);
    entered[Symbol.dispose]();
    entered[Symbol.dispose]();
    await draining;
    expect(life.inFlight).toBe(0);
    await life.drain();
    life.ready();
    expect(life.state).toBe("draining");
  });

  it("is not ready while it drains, so that balancers send it nothing more", async () => {
    const life = createLife();
    life.ready();
    const { text } = server({ life });
    expect((await text(ask("GET", "/v2/health/ready"))).status).toBe(200);
    await life.drain();
    expect((await text(ask("GET", "/v2/health/ready"))).status).toBe(503);
    expect((await text(ask("GET", "/v2/health/live"))).status).toBe(200);
  });
});

describe("ragged outputs", () => {
  it("come with their companion, also when only the tensor is requested", async () => {
    const boxes = numericTensor("y", "UINT8", [3], Uint8Array.of(1, 2, 3));
    const ragged: DoubleModel = {
      description: doubleDescription({ name: "ragged", outputs: [{ name: "y", datatype: "UINT8", shape: [-1, -1], ragged: true }] }), // prettier-ignore
      run: () =>
        tensorsOf({
          spec: { name: "y", datatype: "UINT8", shape: [2, -1], ragged: true },
          bytes: boxes.bytes,
          rows: Int32Array.of(1, 2),
        }),
    };
    const { text } = server({ endpoint: doubleEndpoint([ragged]) });
    const reply = await text(
      ask("POST", "/v2/models/ragged/infer", { body: json({ ...xJson, outputs: [{ name: "y" }] }) }),
    );
    expect(reply.body.outputs).toEqual([
      { name: "y", datatype: "UINT8", shape: [3], data: [1, 2, 3] },
      { name: "y~rows", datatype: "INT32", shape: [2, 1], data: [1, 2] },
    ]);
  });
});
