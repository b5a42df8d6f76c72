import { doubleDescription, doubleEndpoint, type DoubleModel } from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall, LongshoreError } from "../../words/base/index.ts";
import type { Endpoint, InferenceRequest } from "../../wire/endpoint/index.ts";
import { numericTensor, type Tensors, tensorsOf } from "../../words/tensor/index.ts";
import { wholeAnswer, wholeAnswers, type RemotePipeline } from "./around-endpoint.ts";

const spec = (name: string) => ({ name, datatype: "UINT8", shape: [1] }) as const;
const byte = (name: string, value: number) => numericTensor(name, "UINT8", [1], Uint8Array.of(value));
const segment = { version: "1", variant: "default", from: "start", to: "end" };
const call = { ...housekeepingCall("test"), idempotencyKey: "key", mostWaitMs: 5 };

/** A model of another endpoint, with a step here before it. */
const whole: RemotePipeline = {
  segment: { ...segment, model: "find", digest: "sha256:find" },
  steps: [
    { id: "before", run: { transform: "repeat", parameters: {} }, inputs: { values: "x" } },
    {
      id: "look",
      run: { model: "far", elsewhere: { inputs: [spec("in")], outputs: [spec("out")] } },
      inputs: { in: "before.value" },
    },
  ],
  outputs: { y: "look.out" },
  there: [],
};
const { steps } = whole;
const there = {
  segment: { ...whole.segment, from: "before", to: "look" },
  agreementRatio: 1,
  there: { ...segment, model: "far", digest: "foreign:far" },
  step: steps[1]!,
  outputs: [spec("look.out")],
  several: false,
};
const request: InferenceRequest = { segment: whole.segment, inputs: tensorsOf(byte("x", 3)), codecs: {} };

function world(before: () => Promise<Tensors>) {
  const find: DoubleModel = {
    description: doubleDescription({ name: "find", digest: "sha256:find" }),
    run: async (_inputs, asked) => (asked.segment.from === "start" ? before() : tensorsOf(byte("y", 7))),
  };
  const far: DoubleModel = {
    description: doubleDescription({ name: "far", digest: "foreign:far" }),
    run: () => tensorsOf(byte("out", 7)),
  };
  return {
    local: doubleEndpoint([find], { id: "device" }),
    endpoint: doubleEndpoint([far], { id: "there" }),
  };
}

const all: RemotePipeline = { ...whole, there: [there] };

it("asks here without what the request brings for the endpoint that it goes to", async () => {
  const { local, endpoint } = world(async () => tensorsOf(byte("before.value", 1)));
  await wholeAnswer(endpoint, local, all, request, call);
  const brought = (one: typeof endpoint) =>
    one.requests.map(({ call: { mostWaitMs, idempotencyKey } }) => [mostWaitMs, idempotencyKey]);
  expect(brought(endpoint)).toEqual([[5, "key.look.0"]]);
  expect(brought(local)).toEqual([
    [undefined, undefined],
    [undefined, undefined],
  ]);
});

it("says of what fails here that it failed here, and of what fails there nothing", async () => {
  const full = new LongshoreError("queue-full", "queue", "8 wait", { retryAfterMs: 20 });
  const { local, endpoint } = world(() => Promise.reject(full));
  const told = { reason: "queue-full", stage: "queue", message: "8 wait", retryAfterMs: 20 };
  await expect(wholeAnswer(endpoint, local, all, request, call)).rejects.toMatchObject({
    ...told,
    endpoint: "device",
  });
  expect(endpoint.requests).toEqual([]);
  const well = world(async () => tensorsOf(byte("before.value", 1)));
  const refusing: Endpoint = { ...well.endpoint, infer: () => Promise.reject(full) };
  await expect(wholeAnswer(refusing, well.local, all, request, call)).rejects.toBe(full);
});

it("gives each request of a step after several answers a key of its own", async () => {
  const { local, endpoint } = world(async () => tensorsOf(byte("before.value", 1)));
  const several: Endpoint = {
    ...local,
    capabilities: {
      ...local.capabilities,
      async *inferStream(asked, own) {
        for (let nth = 0; nth < (asked.segment.from === "start" ? 3 : 1); nth++)
          yield await local.infer(asked, own);
      },
    },
  };
  let answers = 0;
  for await (const { outputs } of wholeAnswers(endpoint, several, all, request, call))
    answers += outputs.size;
  expect([answers, endpoint.requests.map((one) => one.call.idempotencyKey)]).toEqual([
    3,
    ["key.look.0", "key.look.1", "key.look.2"],
  ]);
});
