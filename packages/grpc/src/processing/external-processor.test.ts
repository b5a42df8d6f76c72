import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { housekeepingCall } from "@longshore/core/internal";
import { virtualClock } from "@longshore/lab";
import { expect, it } from "vitest";
import { ProcessingRequestSchema, ProcessingResponseSchema } from "../proto/ext_proc_pb.ts";
import {
  type Decided,
  externalProcessor,
  type ProcessedReply,
  type Processing,
} from "./external-processor.ts";

type Message = MessageInitShape<typeof ProcessingRequestSchema>;

const raw = (text: string): Uint8Array => new TextEncoder().encode(text);

const requestHeaders: Message = {
  request: {
    case: "requestHeaders",
    value: {
      headers: {
        headers: [
          { key: ":path", rawValue: raw("/v2/models/m/infer") },
          { key: "x-a", value: "old" },
          { key: "x-a", rawValue: raw("new") },
        ],
      },
    },
  },
  metadataContext: { filterMetadata: { "envoy.lb.subset_hint": { hint: ["10.0.0.1:80"] } } },
};

const responseHeaders: Message = {
  request: {
    case: "responseHeaders",
    value: { headers: { headers: [{ key: ":status", rawValue: raw("200") }] } },
  },
  attributes: { "envoy.filters.http.ext_proc": { "upstream.address": "10.0.0.1:80", "response.flags": 0 } },
};

const body = (bytes: Uint8Array, endOfStream = false): Message => ({
  request: { case: "requestBody", value: { body: bytes, endOfStream } },
});

/** One call with these messages, and what came of it. */
async function process(
  messages: readonly (Message | Uint8Array)[],
  given?: Processing,
  headers: Readonly<Record<string, string>> = {},
) {
  const seen: unknown[] = [];
  const logged: boolean[] = [];
  const replies: ProcessedReply[] = [];
  const ended: boolean[] = [];
  const routed: Processing = {
    kind: "routed",
    headers: { "x-to": "10.0.0.1:80" },
    metadata: { "envoy.lb": { to: "10.0.0.1:80" } },
    replied: (reply) => {
      replies.push(reply);
    },
    ended: (broke) => void ended.push(broke),
  };
  const clock = virtualClock();
  const service = externalProcessor({
    clock,
    silentMs: 1000,
    processor: {
      process: async (request) => {
        seen.push({ headers: { ...request.headers }, metadata: request.metadata });
        logged.push(request.isLogged);
        return given ?? routed;
      },
    },
  });
  const left = [...messages];
  const answers: Uint8Array[] = [];
  const run = service.methods["Process"]!({
    headers,
    peer: { address: "127.0.0.1", loopback: true },
    call: housekeepingCall("c"),
    draining: new AbortController().signal,
    next: async () => {
      const one = left.shift();
      if (one === undefined) return undefined;
      if (one instanceof Uint8Array) return one;
      return toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, one));
    },
    send: async (message) => void answers.push(message),
  });
  const failed = await run.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  const responses = answers.map((one) => fromBinary(ProcessingResponseSchema, one));
  return { seen, logged, replies, ended, responses, failed };
}

it("routes by headers, requests no body, and reports the reply", async () => {
  const { seen, replies, ended, responses, failed } = await process([requestHeaders, responseHeaders]);
  expect(failed).toBeUndefined();
  expect(seen).toEqual([
    {
      headers: { ":path": "/v2/models/m/infer", "x-a": "old, new" },
      metadata: { "envoy.lb.subset_hint": { hint: ["10.0.0.1:80"] } },
    },
  ]);
  expect(replies).toMatchObject([
    {
      headers: { ":status": "200" },
      attributes: { "upstream.address": "10.0.0.1:80", "response.flags": "0" },
    },
  ]);
  expect(ended).toEqual([false]);
  const [first, second] = responses;
  expect(first?.modeOverride).toMatchObject({
    requestBodyMode: 0,
    responseBodyMode: 0,
    responseHeaderMode: 1,
  });
  expect(first?.dynamicMetadata).toEqual({ "envoy.lb": { to: "10.0.0.1:80" } });
  const set = first?.response.case === "requestHeaders" && first.response.value.response?.headerMutation;
  expect(set).toMatchObject({ setHeaders: [{ header: { key: "x-to" }, appendAction: 2 }] });
  expect(second?.response.case).toBe("responseHeaders");
});

it("ends the call with the answer to the reply's headers where the proxy sends headers only", async () => {
  const first: Message = {
    ...requestHeaders,
    protocolConfig: { requestBodyMode: 0, responseBodyMode: 0 },
  };
  const { responses, ended, replies, failed } = await process([first, responseHeaders, responseHeaders]);
  expect(failed).toBeUndefined();
  expect(responses.map(({ response }) => response.case)).toEqual(["requestHeaders", "responseHeaders"]);
  expect(responses[0]?.modeOverride).toBeUndefined();
  expect([replies.length, ended]).toEqual([1, [false]]);
});

it("keeps the call of a proxy that logs its replies until the proxy closes it", async () => {
  const first: Message = { ...requestHeaders, protocolConfig: { requestBodyMode: 0, responseBodyMode: 0 } };
  const proxy = { "longshore-replies": "logged" };
  const { responses, logged, replies, ended, failed } = await process([first], undefined, proxy);
  expect(failed).toBeUndefined();
  expect(responses.map(({ response }) => response.case)).toEqual(["requestHeaders"]);
  expect([logged, replies, ended]).toEqual([[true], [], [false]]);
  // A reply that has trailers.
  const trailers: Message = { request: { case: "responseTrailers", value: {} } };
  const withTrailers = await process([first, trailers], undefined, proxy);
  expect(withTrailers.responses.map(({ response }) => response.case)).toEqual([
    "requestHeaders",
    "responseTrailers",
  ]);
  expect([withTrailers.replies, withTrailers.ended]).toEqual([[], [false]]);
  // A proxy that sends more than headers reports the reply itself, whatever it says.
  const streamed: Message = {
    ...requestHeaders,
    protocolConfig: { requestBodyMode: 1, responseBodyMode: 0 },
  };
  expect((await process([streamed], undefined, proxy)).logged).toEqual([false]);
});

it("answers instead of the proxy and ends the call", async () => {
  const { responses, ended, seen } = await process([requestHeaders, responseHeaders], {
    kind: "answered",
    status: 503,
    headers: { "content-type": "application/json" },
    body: raw("{}"),
    details: "no-endpoint",
  });
  expect(responses).toHaveLength(1);
  expect(responses[0]?.response).toMatchObject({
    case: "immediateResponse",
    value: { status: { code: 503 } },
  });
  expect(ended).toEqual([]);
  expect(seen).toHaveLength(1);
});

it("sends every byte of a body back in full duplex, in pieces that may be sent, and the last one once", async () => {
  const bytes = new Uint8Array(130_000).map((_, at) => at % 251);
  const { responses, failed } = await process([
    { ...requestHeaders, protocolConfig: { requestBodyMode: 4 } },
    body(bytes.subarray(0, 100)),
    body(bytes.subarray(100), true),
    body(bytes.subarray(100), true),
    { request: { case: "requestTrailers", value: {} } },
  ]);
  expect(failed).toBeUndefined();
  // Envoy refuses bodies that come back after the mode has changed.
  expect(responses[0]?.modeOverride).toBeUndefined();
  const back: Uint8Array[] = [];
  const ends: boolean[] = [];
  for (const { response } of responses) {
    if (response.case !== "requestBody") continue;
    const mutation = response.value.response?.bodyMutation?.mutation;
    if (mutation?.case !== "streamedResponse") throw new Error("no piece");
    back.push(mutation.value.body);
    ends.push(mutation.value.endOfStream);
  }
  expect(Buffer.concat(back).equals(bytes)).toBe(true);
  expect(Math.max(...back.map(({ byteLength }) => byteLength))).toBeLessThanOrEqual(65_536);
  expect(ends).toEqual([false, false, false, true]);
  expect(responses.at(-1)?.response.case).toBe("requestTrailers");
});

/** A decision that needs three bytes of the body. */
function undecided(then: Decided): Processing & { readonly heads: string[] } {
  const heads: string[] = [];
  return {
    kind: "undecided",
    mostBytes: 8,
    heads,
    decide(head, whole) {
      heads.push(`${new TextDecoder().decode(head)}${whole ? "." : ""}`);
      return whole || head.byteLength >= 3 ? then : undefined;
    },
  };
}

const later: Decided = {
  kind: "routed",
  headers: { "x-to": "a" },
  metadata: {},
  replied: () => undefined,
  ended: () => undefined,
};

it("waits for the beginning of a body in full duplex, then answers the headers, then sends the body back", async () => {
  const first: Message = { ...requestHeaders, protocolConfig: { requestBodyMode: 4 } };
  const given = undecided(later);
  const { responses, failed } = await process(
    [first, body(raw("ab")), body(raw("cd")), body(raw("e"), true)],
    given,
  );
  expect(failed).toBeUndefined();
  expect(given.heads).toEqual(["ab", "abcd"]);
  expect(responses.map(({ response }) => response.case)).toEqual(["requestHeaders", "requestBody", "requestBody", "requestBody"]); // prettier-ignore
  const whole = undecided(later);
  await process([first, body(raw("a")), { request: { case: "requestTrailers", value: {} } }], whole);
  expect(whole.heads).toEqual(["a", "a."]);
});

it("routes a buffered body with its headers, and refuses after either", async () => {
  const first: Message = { ...requestHeaders, protocolConfig: { requestBodyMode: 3 } };
  const given = undecided(later);
  const { responses } = await process([first, body(raw("a"), true)], given);
  expect(given.heads).toEqual(["a."]);
  expect(responses[0]?.response).toMatchObject({ case: "requestHeaders", value: {} });
  const [, second] = responses;
  const value = second?.response.case === "requestBody" ? second.response.value.response : undefined;
  expect(value?.headerMutation?.setHeaders).toHaveLength(1);
  expect(value?.bodyMutation).toBeUndefined();
  const answered: Decided = {
    kind: "answered",
    status: 200,
    headers: {},
    body: raw("no"),
    details: "no",
    grpcStatus: 7,
  };
  const refused = await process([first, body(raw("a"), true)], undecided(answered));
  expect(refused.responses[1]?.response).toMatchObject({
    case: "immediateResponse",
    value: { grpcStatus: { status: 7 } },
  });
  // A proxy that sends no body has nothing to wait for.
  const none = undecided(answered);
  await process([{ ...requestHeaders, protocolConfig: {} }], none);
  expect(none.heads).toEqual(["."]);
});

it("reports the trailers of a reply where they are wanted, and a reply that is headers only at once", async () => {
  const seen: unknown[] = [];
  const wanting: Decided = {
    ...later,
    wantsTrailers: true,
    replied: ({ trailers }) => void seen.push(trailers),
  };
  const trailers: Message = {
    request: {
      case: "responseTrailers",
      value: { trailers: { headers: [{ key: "grpc-status", rawValue: raw("8") }] } },
    },
  };
  const first: Message = { ...requestHeaders, protocolConfig: {} };
  const { responses } = await process([first, responseHeaders, trailers], wanting);
  expect(responses.map(({ response }) => response.case)).toEqual(["requestHeaders", "responseHeaders", "responseTrailers"]); // prettier-ignore
  await process([first, responseHeaders], wanting);
  const only: Message = {
    request: {
      case: "responseHeaders",
      value: { headers: { headers: [{ key: "grpc-status", rawValue: raw("5") }] } },
    },
  };
  await process([first, only], wanting);
  expect(seen).toEqual([{ "grpc-status": "8" }, {}, {}]);
});

it("leaves a body as it is in the other modes", async () => {
  const { responses } = await process([requestHeaders, body(raw("x"), true)]);
  expect(responses[1]?.response).toMatchObject({ case: "requestBody", value: { response: {} } });
  const { response } = responses[1] ?? {};
  expect(response?.case === "requestBody" && response.value.response?.bodyMutation).toBeUndefined();
});

it("lets the reply of a filter before it pass, which has no request here", async () => {
  const { responses, seen, replies, ended, failed } = await process([
    { ...responseHeaders, protocolConfig: {} },
    responseHeaders,
  ]);
  expect(failed).toBeUndefined();
  expect(responses.map(({ response }) => response.case)).toEqual(["responseHeaders"]);
  expect([seen, replies, ended]).toEqual([[], [], []]);
});

it("refuses messages that are out of order, twice, empty or malformed", async () => {
  for (const messages of [
    [responseHeaders, responseHeaders],
    [responseHeaders, requestHeaders],
    [body(raw("x"))],
    [requestHeaders, requestHeaders],
    [requestHeaders, responseHeaders, responseHeaders],
    [{}],
    [requestHeaders, {}],
    [raw("\xff\xff\xff\xff")],
  ]) {
    const { failed, ended, seen } = await process(messages);
    expect(failed).toMatchObject({ reason: "invalid-input" });
    expect(ended).toEqual(seen.length > 0 ? [true] : []);
  }
});

it("ends a call whose proxy says nothing for too long", async () => {
  const clock = virtualClock();
  const ended: boolean[] = [];
  const service = externalProcessor({
    clock,
    silentMs: 1000,
    processor: {
      process: async () => ({
        kind: "routed",
        headers: {},
        metadata: {},
        replied: () => undefined,
        ended: (broke) => void ended.push(broke),
      }),
    },
  });
  const first = toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, requestHeaders));
  const messages: Promise<Uint8Array>[] = [Promise.resolve(first)];
  const run = service.methods["Process"]!({
    headers: {},
    peer: { address: "127.0.0.1", loopback: true },
    call: housekeepingCall("c"),
    draining: new AbortController().signal,
    next: () => messages.shift() ?? new Promise(() => undefined),
    send: async () => undefined,
  });
  const failed = run.catch((thrown: unknown) => thrown);
  await clock.advance(2000);
  expect(await failed).toMatchObject({ reason: "deadline-exceeded" });
  expect(ended).toEqual([true]);
});

it("keeps no piece of a body that it has sent back", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const pieces: WeakRef<Uint8Array>[] = [];
  const count = 20;
  let kept = -1;
  const service = externalProcessor({
    clock: virtualClock(),
    processor: { process: async () => later },
  });
  await service.methods["Process"]!({
    headers: {},
    peer: { address: "127.0.0.1", loopback: true },
    call: housekeepingCall("c"),
    draining: new AbortController().signal,
    next: async () => {
      if (pieces.length > count) {
        await new Promise((resolve) => setImmediate(resolve));
        collect();
        // The last ones may still be in use.
        kept = pieces.slice(0, count - 3).filter((one) => one.deref() !== undefined).length;
        return undefined;
      }
      const message: Message =
        pieces.length === 0
          ? { ...requestHeaders, protocolConfig: { requestBodyMode: 4 } }
          : body(new Uint8Array(1000));
      const bytes = toBinary(ProcessingRequestSchema, create(ProcessingRequestSchema, message));
      pieces.push(new WeakRef(bytes));
      return bytes;
    },
    send: async () => undefined,
  });
  expect(kept).toBe(0);
});
