import {
  codecSet,
  type Endpoint,
  float32Tensor,
  float32View,
  type InferenceRequest,
  rawCodec,
  silentObserver,
  type Tensor,
  tensorsOf,
  type WireRequest,
} from "@longshore/core";
import { housekeepingCall, writeInferRequest } from "@longshore/core/internal";
import { doubleDescription, type DoubleEndpoint, doubleEndpoint, manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { createHandler } from "./handler.ts";

/** Elements of a body that is worth keeping. */
const length = 32_768;

const model = {
  description: doubleDescription({
    name: "first",
    inputs: [{ name: "x", datatype: "FP32" as const, shape: [-1] }],
    outputs: [{ name: "y", datatype: "FP32" as const, shape: [1] }],
    sequence: { states: [], maxIdleMs: 1000 },
  }),
  run: (inputs: ReadonlyMap<string, Tensor>) => {
    const input = inputs.get("x");
    if (!input) throw new Error("the double was given no input");
    const [first = 0] = float32View(input);
    if (first < 0) throw new Error("the double was told to fail");
    return tensorsOf(float32Tensor("y", [1], Float32Array.of(first)));
  },
};

/** The inputs as an endpoint has them that moved their memory away, where that was given, and gave it back at once. */
function moved(inputs: InferenceRequest["inputs"]): InferenceRequest["inputs"] {
  const all = new Map(inputs);
  for (const [name, tensor] of inputs) {
    if ("read" in tensor || !tensor.given || !tensor.back) continue;
    const { buffer } = tensor.bytes;
    all.set(name, { ...tensor, bytes: tensor.bytes.slice() });
    // Pooled memory is no shared memory.
    tensor.back(structuredClone(buffer as ArrayBuffer, { transfer: [buffer as ArrayBuffer] }));
  }
  return all;
}

/** A server over a double that keeps every tensor that it was lent, and what it gives for a value. */
function server(
  forgets: boolean,
  moves = false,
): {
  readonly double: DoubleEndpoint;
  ask(value: number, parameters?: Readonly<Record<string, string | number | boolean>>): Promise<number>;
} {
  const double = doubleEndpoint([model]);
  const infer: Endpoint["infer"] = (request, call) =>
    double.infer(moves ? { ...request, inputs: moved(request.inputs) } : request, call);
  const endpoint: Endpoint = forgets
    ? { ...double, infer, capabilities: { ...double.capabilities, forgetsInputs: true } }
    : double;
  const handler = createHandler({
    endpoint,
    codecs: codecSet(rawCodec),
    clock: manualClock(),
    observer: silentObserver,
    identify: ({ headers }) => ({ tenant: headers["tenant"] ?? "", rights: new Set(["infer"] as const) }),
  });
  return {
    double,
    async ask(value, parameters = {}) {
      const values = new Float32Array(length).fill(value);
      const { headers, parts } = writeInferRequest(
        {
          parameters,
          inputs: [
            {
              name: "x",
              datatype: "FP32",
              shape: [length],
              parameters: {},
              bytes: new Uint8Array(values.buffer),
            },
          ],
          binaryOutputs: true,
        },
        "binary",
      );
      const request: WireRequest = {
        method: "POST",
        path: "/v2/models/first/infer",
        headers: { ...headers, tenant: `tenant ${value}` },
        body: { kind: "parts", parts },
      };
      const { status } = await handler(request, housekeepingCall(`call ${value}`));
      return status;
    },
  };
}

/** The bytes that the double still sees of its tensors, in the order in which they came. */
const seen = ({ requests: asked }: DoubleEndpoint): readonly (number | undefined)[] =>
  asked.map(({ inputs }) => {
    const tensor = inputs.get("x");
    if (!tensor || tensor.bytes.byteLength === 0) return undefined;
    const values = float32View(tensor);
    return values.every((value) => value === values[0]) ? values[0] : NaN;
  });

describe("memory of large bodies", () => {
  it("shows the keeper of a tensor no data of the next tenant, and goes back when the endpoint forgets", async () => {
    const { double, ask } = server(true);
    for (const value of [1, 2, 3]) expect(await ask(value)).toBe(200);
    expect(seen(double)).toEqual([undefined, undefined, undefined]);
  });

  it("may be moved by an endpoint that forgets, which gives it back before it answers", async () => {
    const { double, ask } = server(true, true);
    for (const value of [1, 2, 3]) expect(await ask(value)).toBe(200);
    // The endpoint's own copies: what it was lent is right although the memory had gone elsewhere by then.
    expect(seen(double)).toEqual([1, 2, 3]);
  });

  it("is left to an endpoint that says nothing", async () => {
    const { double, ask } = server(false);
    for (const value of [1, 2, 3]) expect(await ask(value)).toBe(200);
    expect(seen(double)).toEqual([1, 2, 3]);
  });

  it("is not used again after a failure, or for a step of a sequence", async () => {
    const { double, ask } = server(true);
    expect(await ask(-1)).toBe(500);
    expect(await ask(5, { sequence_id: 7, sequence_start: true })).toBe(200);
    expect(await ask(6)).toBe(200);
    expect(seen(double)).toEqual([-1, 5, undefined]);
  });
});
