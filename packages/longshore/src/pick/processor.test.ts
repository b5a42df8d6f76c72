import { virtualClock } from "@longshore/lab";
import { type Call, type EndpointInfo, LongshoreError, type Reason } from "@longshore/core";
import {
  type EndpointPicker,
  housekeepingCall,
  type PickedReply,
  type PickRequest,
} from "@longshore/core/internal";
import type { LoggedRequest, ProcessedReply, ProcessedRequest } from "@longshore/grpc";
import { expect, it } from "vitest";
import { createAddresses, grpcHostAndPort } from "./addresses.ts";
import { loggedRequests } from "./logged-requests.ts";
import { pickProcessor, subsetOf } from "./processor.ts";

const info = (id: string, address: string): EndpointInfo => ({
  id,
  address,
  tier: "edge",
  zone: "eu",
  trust: "listed",
  codecs: [],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
});

const endpoints = [info("a", "http://10.0.0.1:80"), info("b", "http://10.0.0.2:81")];

/** A picker that knows the endpoints and finds all well. */
const unbusy: Omit<EndpointPicker, "pick"> = {
  endpoints,
  inFlight: 0,
  paused: 0,
  learn: async () => 0,
  reaches: async () => true,
  close: async () => undefined,
  changes: 1,
  well: async (among) => endpoints.filter(({ id }) => among?.has(id) !== false),
};

const peer = { address: "127.0.0.1", loopback: true };

/** A processor over a picker that records its calls. */
function processor(refuse?: Error) {
  const asked: { readonly request: PickRequest; readonly call: Call }[] = [];
  const told: unknown[] = [];
  const clock = virtualClock();
  const picker: EndpointPicker = {
    ...unbusy,
    pick: async (request, call) => {
      asked.push({ request, call });
      if (refuse) throw refuse;
      return {
        endpoints: endpoints.filter(({ id }) => request.among?.has(id) !== false),
        answered: (reply: PickedReply) => void told.push({ ...reply, headers: {} }),
        failed: (error: LongshoreError) => void told.push(error.reason),
        dropped: () => void told.push("dropped"),
      };
    },
  };
  const logged = loggedRequests("ab", clock);
  const made = pickProcessor({
    picker,
    logged,
    addresses: createAddresses(clock),
    grpcAddresses: createAddresses(clock, undefined, (one) => grpcHostAndPort(one, 9001)),
    clock,
    unstatedRules: { dataClass: "unknown", leastTrust: "none" },
  });
  const process = (
    path: string,
    headers: Readonly<Record<string, string>> = {},
    metadata: ProcessedRequest["metadata"] = {},
    method = "POST",
    isLogged = false,
  ) =>
    made.process(
      { headers: { ":method": method, ":path": path, ...headers }, metadata, peer, isLogged },
      housekeepingCall("c"),
    );
  return { process, asked, told, logged, clock };
}

const infer = "/v2/models/ocr/versions/3/infer?x=1";

it("picks by model, version and length, and gives the list as header and metadata", async () => {
  const { process, asked } = processor();
  const list = "10.0.0.1:80,10.0.0.2:81";
  expect(await process(infer, { "content-length": "1234" })).toMatchObject({
    kind: "routed",
    headers: { "x-gateway-destination-endpoint": list },
    metadata: { "envoy.lb": { "x-gateway-destination-endpoint": list } },
  });
  expect(asked[0]?.request).toMatchObject({ model: "ocr", version: "3", bytes: 1234, evenLate: false });
  expect(asked[0]?.call.rules).toEqual({ dataClass: "unknown", leastTrust: "none" });
});

it("learns the end of a request from the proxy's log", async () => {
  const { process, told, logged, clock } = processor();
  const begin = async (): Promise<string> => {
    const routed = await process(infer, {}, {}, "POST", true);
    if (!("metadata" in routed)) throw new Error(routed.kind);
    const { request } = routed.metadata["longshore.pick"] as { request: string };
    return request;
  };
  const via = { details: "via_upstream", cancelled: false, headers: {}, tookMs: 12 };
  const log = async (change: Partial<LoggedRequest>): Promise<void> => {
    const entry = { metadata: { request: await begin() }, status: 200, upstream: "10.0.0.2:81", ...via };
    logged.logged({ ...entry, ...change });
  };
  await log({});
  // The server had answered before the client left.
  await log({ cancelled: true, details: "downstream_remote_disconnect" });
  await log({ cancelled: true, details: "downstream_remote_disconnect", status: 0, tookMs: undefined });
  await log({ status: 503, details: "upstream_reset_before_response_started{connection_termination}" });
  await log({ status: 504, details: "response_timeout" });
  const answered = { status: 200, endpoint: "b", tookMs: 12, headers: {} };
  const ends = [answered, answered, "dropped", "unreachable", "no-answer"];
  expect(told).toEqual(ends);
  // The proxy closes its call, and no entry comes.
  const lost = await process(infer, {}, {}, "POST", true);
  if (lost.kind !== "routed") throw new Error(lost.kind);
  lost.ended(true);
  expect(told).toEqual(ends);
  await clock.advance(2000);
  expect(told).toEqual([...ends, "dropped"]);
});

it("takes rules, deadline, objective and fairness from the headers", async () => {
  const { process, asked } = processor();
  await process(infer, {
    "longshore-rules": "class=internal;trust=operated;zones=eu",
    "longshore-deadline": "250",
    "x-gateway-inference-objective": "cost",
    "x-gateway-inference-fairness-id": "team-1",
    "x-llm-d-slo-ttft-ms": "9",
  });
  expect(asked[0]?.call).toMatchObject({
    rules: { dataClass: "internal", leastTrust: "operated", zones: ["eu"] },
    deadlineMs: 250,
    goal: "cost",
    tenant: "fairness:team-1",
  });
  expect(asked[0]?.request.evenLate).toBe(false);
  // Names of others' objectives are ignored here; their time is an objective and not a limit.
  await process(infer, { "x-gateway-inference-objective": "critical", "x-llm-d-slo-ttft-ms": "9" });
  expect(asked[1]?.call).toMatchObject({ deadlineMs: 9 });
  expect(asked[1]?.call.goal).toBeUndefined();
  expect(asked[1]?.request.evenLate).toBe(true);
});

it("reads the subset as a list and as a text, and an unreadable one as none", () => {
  const of = (hint: unknown) => {
    const found = subsetOf({
      "envoy.lb.subset_hint": { "x-gateway-destination-endpoint-subset": hint as string },
    });
    return found && [...found];
  };
  expect(of(["10.0.0.1:80", "10.0.0.2:81"])).toEqual(["10.0.0.1:80", "10.0.0.2:81"]);
  expect(of("10.0.0.1:80, 10.0.0.2:81")).toEqual(["10.0.0.1:80", "10.0.0.2:81"]);
  expect(of("")).toEqual([]);
  expect(of([1, {}])).toEqual([]);
  expect(subsetOf({})).toBeUndefined();
});

it("chooses among the subset only", async () => {
  const { process } = processor();
  const hint = { "envoy.lb.subset_hint": { "x-gateway-destination-endpoint-subset": ["10.0.0.2:81"] } };
  expect(await process(infer, {}, hint)).toMatchObject({
    headers: { "x-gateway-destination-endpoint": "10.0.0.2:81" },
  });
  const none = { "envoy.lb.subset_hint": { "x-gateway-destination-endpoint-subset": [] } };
  expect(await process("/v2/health/ready", {}, none, "GET")).toMatchObject({ kind: "answered", status: 503 });
});

it("bears headers and subsets of a megabyte", async () => {
  const { process } = processor();
  const long = "x".repeat(2 ** 20);
  const status = async (...request: Parameters<typeof process>) => {
    const answer = await process(...request);
    return answer.kind === "answered" ? answer.status : "routed";
  };
  expect(await status(`/v2/models/${long}/infer`)).toBe(404);
  expect(await status(infer, { "longshore-deadline": long })).toBe(400);
  expect(await status(infer, { "x-gateway-inference-fairness-id": long, "content-length": long })).toBe(
    "routed",
  );
  const many = Array.from({ length: 100_000 }, (_, at) => `10.9.${at >> 8}.${at & 255}:80`);
  const key = "x-gateway-destination-endpoint-subset";
  for (const subset of [many.join(","), many])
    expect(await status(infer, {}, { "envoy.lb.subset_hint": { [key]: subset } })).not.toBe(500);
  const last = { "envoy.lb.subset_hint": { [key]: [...many, "10.0.0.2:81"] } };
  expect(await process(infer, {}, last)).toMatchObject({
    headers: { "x-gateway-destination-endpoint": "10.0.0.2:81" },
  });
});

it("refuses with status, reason and Retry-After as JSON", async () => {
  const cases = [
    [new LongshoreError("no-endpoint", "plan", "none", { retryAfterMs: 1500 }), 503, "2"],
    [new LongshoreError("rejected", "admission", "full", { retryAfterMs: 200 }), 429, "1"],
    [new LongshoreError("rejected", "admission", "full"), 429, "1"],
    [new LongshoreError("policy-denied", "plan", "zone"), 403, undefined],
    [new LongshoreError("unknown-model", "resolve", "no ocr"), 404, undefined],
  ] as const;
  for (const [error, status, wait] of cases) {
    const answer = await processor(error).process(infer);
    if (answer.kind !== "answered") throw new Error("routed");
    expect(answer.status).toBe(status);
    expect(answer.headers["retry-after"]).toBe(wait);
    expect(JSON.parse(new TextDecoder().decode(answer.body))).toMatchObject({ reason: error.reason });
  }
});

it("says nothing of errors that are not ours", async () => {
  const { process } = processor(new TypeError("/secret/path"));
  const answer = await process(infer);
  if (answer.kind !== "answered") throw new Error("routed");
  expect(answer.status).toBe(500);
  expect(new TextDecoder().decode(answer.body)).not.toContain("secret");
});

it("refuses requests that it cannot route: other paths, paths for one server, bad headers", async () => {
  const { process, asked } = processor();
  const status = async (...request: Parameters<typeof process>) => {
    const answer = await process(...request);
    return answer.kind === "answered" ? answer.status : "routed";
  };
  expect(await status("/v1/chat/completions")).toBe(404);
  expect(await status("/v2/repository/models/ocr/load")).toBe(501);
  expect(await status(infer, {}, {}, "DELETE")).toBe(405);
  expect(await status(infer, { "longshore-deadline": "soon" })).toBe(400);
  expect(await status(infer, { "longshore-deadline": "0" })).toBe(504);
  expect(await status(infer, { "longshore-rules": "retention=0" })).toBe(403);
  expect(await status("/v2/models/ocr", {}, {}, "GET")).toBe("routed");
  expect(asked).toEqual([]);
});

it("tells the picker which server answered, the proxy's report of a failure, and that the client has left", async () => {
  const { process, told } = processor();
  const end = async (reply?: Partial<ProcessedReply>): Promise<unknown> => {
    const routed = await process(infer);
    if (routed.kind !== "routed") throw new Error("refused");
    if (reply)
      routed.replied({ headers: { ":status": "200" }, attributes: {}, metadata: {}, trailers: {}, ...reply });
    else routed.ended(true);
    return told.at(-1);
  };
  const by = { "upstream.address": "10.0.0.2:81", "response.code_details": "via_upstream" };
  expect(await end({ attributes: by })).toEqual({ status: 200, headers: {}, endpoint: "b" });
  const served = { "envoy.lb": { "x-gateway-destination-endpoint-served": "10.0.0.1:80" } };
  expect(await end({ attributes: by, metadata: served })).toMatchObject({ endpoint: "a" });
  expect(await end({})).toEqual({ status: 200, headers: {} });
  const reset = "upstream_reset_before_response_started{connection_failure}";
  expect(await end({ attributes: { "response.code_details": reset } })).toBe("unreachable");
  expect(await end({ attributes: { "response.code_details": "upstream_response_timeout" } })).toBe(
    "no-answer",
  );
  expect(await end()).toBe("dropped");
});

const modelInfer = "/inference.GRPCInferenceService/ModelInfer";
const overGrpc = { "content-type": "application/grpc", "grpc-timeout": "200m" };

/** A gRPC message with texts as its first fields, by hand: nothing of the code under test writes it. */
function grpcMessage(fields: Readonly<Record<number, string>>, rest = 0): Buffer {
  const parts = Object.entries(fields).map(([number, text]) =>
    Buffer.concat([Buffer.from([(Number(number) << 3) | 2, text.length]), Buffer.from(text)]),
  );
  const message = Buffer.concat([...parts, Buffer.alloc(rest, 0)]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([prefix, message]);
}

it("takes the model of a call over gRPC from its header, without a body", async () => {
  const { process, asked, told } = processor();
  const named = { ...overGrpc, "longshore-model": "ocr", "longshore-model-version": "3" };
  const routed = await process(modelInfer, named);
  if (routed.kind !== "routed") throw new Error(routed.kind);
  expect(routed.headers["x-gateway-destination-endpoint"]).toBe("10.0.0.1:9001,10.0.0.2:9001");
  expect(asked[0]).toMatchObject({
    request: { model: "ocr", version: "3", bytes: 0 },
    call: { deadlineMs: 200 },
  });
  expect(routed.wantsTrailers).toBe(true);
  const headers = { ":status": "200", "content-type": "application/grpc" };
  const trailers = { "grpc-status": "8", "grpc-retry-pushback-ms": "1500" };
  routed.replied({ headers, attributes: {}, metadata: {}, trailers });
  expect(told).toEqual([{ status: 429, headers: {} }]);
  // The trailers of a stream come when it is closed, which may be hours later.
  const stream = await process("/inference.GRPCInferenceService/ModelStreamInfer", named);
  expect(stream.kind === "routed" && stream.wantsTrailers).toBeFalsy();
});

it("takes the model of a call over gRPC from the beginning of its first message", async () => {
  const { process, asked } = processor();
  const undecided = await process(modelInfer, overGrpc);
  if (undecided.kind !== "undecided") throw new Error(undecided.kind);
  const message = grpcMessage({ 1: "ocr", 2: "3", 3: "id" }, 100);
  // Each piece that is too short waits for more.
  for (const length of [0, 4, 5, 7, 9, 10, 13])
    expect(undecided.decide(message.subarray(0, length), false)).toBeUndefined();
  expect(await undecided.decide(message.subarray(0, 16), false)).toMatchObject({ kind: "routed" });
  expect(asked[0]?.request).toMatchObject({ model: "ocr", version: "3", bytes: message.byteLength - 5 });
});

it("refuses calls over gRPC with a status of gRPC and the reason", async () => {
  const { process } = processor();
  const settled = async (path: string, body?: Buffer, headers: Readonly<Record<string, string>> = {}) => {
    const first = await process(path, { ...overGrpc, ...headers });
    const answer = first.kind === "undecided" ? await first.decide(body ?? Buffer.alloc(0), true) : first;
    if (answer?.kind !== "answered") throw new Error("not refused");
    return [answer.grpcStatus, answer.headers["longshore-reason"]];
  };
  const service = "/inference.GRPCInferenceService";
  expect(await settled(modelInfer)).toEqual([12, "unsupported"]);
  expect(await settled(modelInfer, Buffer.from([1, 0, 0, 0, 1, 0]))).toEqual([12, "unsupported"]);
  expect(await settled(modelInfer, Buffer.from([0, 255, 255, 255, 255, 10, 255]))).toEqual([
    3,
    "invalid-input",
  ]);
  expect(await settled(modelInfer, grpcMessage({ 3: "id" }))).toEqual([3, "invalid-input"]);
  expect(await settled(modelInfer, grpcMessage({ 1: "" }))).toEqual([3, "invalid-input"]);
  expect(await settled(`${service}/RepositoryModelLoad`)).toEqual([12, "unsupported"]);
  expect(await settled("/other.Service/Method")).toEqual([12, "unsupported"]);
  expect(await settled(modelInfer, undefined, { "longshore-model": "ocr", "grpc-timeout": "soon" })).toEqual([3, "invalid-input"]); // prettier-ignore
  const busy = processor(new LongshoreError("rejected", "admission", "full"));
  expect(await busy.process(modelInfer, { ...overGrpc, "longshore-model": "ocr" })).toMatchObject({
    grpcStatus: 8,
    headers: { "longshore-reason": "rejected", "grpc-retry-pushback-ms": "1000" },
  });
});

it("sends a request outside the pool only if no endpoint of the pool may take it, and never beyond a subset", async () => {
  const clock = virtualClock();
  const asked: (readonly string[])[] = [];
  let refusals: Readonly<Record<string, LongshoreError>> = {};
  let spilled = 0;
  const picker: EndpointPicker = {
    ...unbusy,
    pick: async ({ among, evenLate = false }) => {
      const ids = [...(among ?? ["all"])];
      asked.push(evenLate ? [...ids, "late"] : ids);
      const refusal = refusals[evenLate ? "late" : (ids[0] ?? "none")];
      if (refusal) throw refusal;
      return { endpoints: endpoints.filter(({ id }) => ids.includes(id)), answered: () => undefined, failed: () => undefined, dropped: () => undefined }; // prettier-ignore
    },
    well: async (among?: ReadonlySet<string>) => (among?.has("a") === true ? [] : endpoints.slice(1)),
  };
  const { process } = pickProcessor({
    picker,
    addresses: createAddresses(clock),
    isSpill: (id) => id === "b",
    clock,
    unstatedRules: { dataClass: "internal", leastTrust: "none" },
    metrics: {
      decided: () => undefined,
      ended: () => undefined,
      arrived: () => undefined,
      spilled: () => void spilled++,
    },
  });
  const ask = async (
    refused: typeof refusals,
    headers: Readonly<Record<string, string>> = {},
    metadata: ProcessedRequest["metadata"] = {},
    path = infer,
  ) => {
    refusals = refused;
    asked.length = 0;
    const peer = { address: "127.0.0.1", loopback: true };
    const request = {
      headers: { ":method": path === infer ? "POST" : "GET", ":path": path, ...headers },
      metadata,
      peer,
      isLogged: false,
    };
    const answer = await process(request, housekeepingCall("c"));
    if (answer.kind === "undecided") throw new Error("undecided");
    return answer.kind === "routed" ? answer.headers["x-gateway-destination-endpoint"] : answer.details;
  };
  const refusal = (reason: Reason) => new LongshoreError(reason, "plan", "no");
  expect(await ask({})).toBe("10.0.0.1:80");
  expect(asked).toEqual([["a"]]);
  for (const reason of ["rejected", "no-endpoint", "policy-denied"] as const) {
    expect(await ask({ a: refusal(reason) })).toBe("10.0.0.2:81");
  }
  expect(asked).toEqual([["a"], ["b"]]);
  expect(spilled).toBe(3);
  // An invalid request is invalid at every endpoint.
  expect(await ask({ a: refusal("unknown-model") })).toBe("unknown-model");
  expect(await ask({ a: refusal("policy-denied"), b: refusal("rejected") })).toBe("rejected");
  expect(await ask({ a: refusal("rejected"), b: refusal("policy-denied") })).toBe("rejected");
  const subset = { "envoy.lb.subset_hint": { "x-gateway-destination-endpoint-subset": "10.0.0.1:80" } };
  expect(await ask({ a: refusal("rejected") }, {}, subset)).toBe("rejected");
  // A late answer of the pool comes after one in time from outside.
  const objective = { "x-llm-d-slo-ttft-ms": "9" };
  expect(await ask({ a: refusal("rejected"), b: refusal("rejected") }, objective)).toBe("10.0.0.1:80");
  expect(asked).toEqual([["a"], ["b"], ["a", "late"]]);
  expect(await ask({}, {}, {}, "/v2/models/ocr")).toBe("10.0.0.2:81");
  expect(spilled).toBe(3);
});
