import { describe, expect, it } from "vitest";
import {
  codecSet,
  LongshoreError,
  rawCodec,
  readBody,
  type Segment,
  silentObserver,
  tensorsOf,
  type WireRequest,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import { createHandler } from "./handler.ts";

/** A server whose endpoint admits requests as the test says. */
function server(admit: (segment: Segment, least: number | undefined) => Disposable) {
  const double = doubleEndpoint([
    {
      description: doubleDescription({ name: "double" }),
      run: (inputs) =>
        tensorsOf({ ...inputs.get("x")!, spec: { name: "y", datatype: "FP32", shape: [1, 3] } }),
    },
  ]);
  const handler = createHandler({
    endpoint: {
      ...double,
      capabilities: { ...double.capabilities, admit: (segment, _call, least) => admit(segment, least) },
    },
    codecs: codecSet(rawCodec),
    clock: manualClock(),
    observer: silentObserver,
  });
  let read = false;
  const body = new TextEncoder().encode(
    JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] }] }),
  );
  const ask = async (headers: Record<string, string> = {}, path = "/v2/models/double/infer") => {
    const request: WireRequest = {
      method: "POST",
      path,
      headers,
      peer: { address: "127.0.0.1", loopback: true },
      body: {
        kind: "stream",
        byteLength: body.byteLength,
        async *read() {
          read = true;
          yield body;
        },
      },
    };
    const reply = await handler(request, housekeepingCall("test"));
    const text = new TextDecoder().decode(await readBody(reply.body, { maxBytes: 10_000 }));
    return { status: reply.status, headers: reply.headers, text };
  };
  return { ask, double, wasRead: () => read };
}

const pass = (): Disposable => ({ [Symbol.dispose]: () => undefined });

describe("admission by the server", () => {
  it("answers a refusal with its reason and Retry-After before the body is read", async () => {
    const { ask, wasRead } = server(() => {
      throw new LongshoreError("rejected", "admission", "no time", { retryAfterMs: 1500 });
    });
    const { status, headers, text } = await ask({ "longshore-deadline": "50" });
    expect(status).toBe(503);
    expect(headers["retry-after"]).toBe("2");
    expect(JSON.parse(text)).toMatchObject({ reason: "rejected", stage: "admission", retryAfterMs: 1500 });
    expect(wasRead()).toBe(false);
  });

  it("hands the pass on with the request, and gives it back when the request is over", async () => {
    let open = 0;
    const granted: Disposable = { [Symbol.dispose]: () => void open-- };
    const { ask, double } = server(() => {
      open++;
      return granted;
    });
    expect((await ask()).status).toBe(200);
    expect(double.requests[0]?.request.pass).toBe(granted);
    expect(open).toBe(0);
  });

  it("tells how far another variant may replace the model, unless the request names a variant", async () => {
    const asked: (number | undefined)[] = [];
    const { ask } = server((_segment, least) => {
      asked.push(least);
      return pass();
    });
    const agreement = { "longshore-agreement": "0.95" };
    await ask(agreement);
    await ask(agreement, "/v2/models/double/versions/1/variants/default/infer");
    await ask();
    expect(asked).toEqual([0.95, undefined, undefined]);
    const { status, text } = await ask({ "longshore-agreement": "1.5" });
    expect(status).toBe(400);
    expect(text).toContain("must be from 0 to 1");
  });
});
