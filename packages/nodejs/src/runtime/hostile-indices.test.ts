import { float32View, LongshoreError, numericTensor, type Tensors, tensorsOf } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";
import { artifactOf, type FixtureNode, type FixtureTensor, onnxFile } from "@longshore/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { childRuntime } from "./child-runtime.ts";

/**
 * Operators that index with a tensor of the caller: a runtime once gave memory of its process for negative indices. For any
 * indices, the result is an error or numbers of the data.
 */
const call = housekeepingCall("indices");
const data = Float32Array.of(1001, 1002, 1003, 1004, 1005, 1006);
const updates = Float32Array.of(2001, 2002, 2003, 2004, 2005, 2006);

interface Case {
  readonly node: Omit<FixtureNode, "outputs">;
  /** Of the indices. */
  readonly shape: readonly number[];
  /** Indices that are good. */
  readonly good: readonly bigint[];
}

const whole = (int: number): { readonly int: number } => ({ int });
const cases: Readonly<Record<string, Case>> = {
  ArrayFeatureExtractor: {
    node: { op: "ArrayFeatureExtractor", domain: "ai.onnx.ml", inputs: ["data", "at"] },
    shape: [2],
    good: [0n, 1n],
  },
  Gather: { node: { op: "Gather", inputs: ["data", "at"] }, shape: [2], good: [0n, 1n] },
  GatherElements: {
    node: { op: "GatherElements", inputs: ["data", "at"], attributes: { axis: whole(1) } },
    shape: [1, 2],
    good: [0n, 1n],
  },
  GatherND: { node: { op: "GatherND", inputs: ["data", "at"] }, shape: [1, 2], good: [0n, 1n] },
  ScatterElements: {
    node: { op: "ScatterElements", inputs: ["data", "at", "updates"], attributes: { axis: whole(1) } },
    shape: [2, 3],
    good: [0n, 1n, 2n, 0n, 1n, 2n],
  },
  ScatterND: { node: { op: "ScatterND", inputs: ["data", "at", "row"] }, shape: [1, 1], good: [0n] },
  SliceStarts: { node: { op: "Slice", inputs: ["data", "at", "ends"] }, shape: [1], good: [0n] },
  SliceSteps: {
    node: { op: "Slice", inputs: ["data", "starts", "ends", "starts", "at"] },
    shape: [1],
    good: [1n],
  },
  TopK: { node: { op: "TopK", inputs: ["data", "at"] }, shape: [1], good: [1n] },
  Expand: { node: { op: "Expand", inputs: ["data", "at"] }, shape: [2], good: [2n, 3n] },
};

const least = -(2n ** 63n);
const bad: readonly bigint[] = [
  -1n,
  -2n,
  -3n,
  -4n,
  2n,
  3n,
  6n,
  2n ** 31n,
  -(2n ** 31n),
  2n ** 40n,
  2n ** 63n - 1n,
  least,
];

function modelOf({ node }: Case): Uint8Array {
  const int64 = (name: string, value: bigint): FixtureTensor => ({
    name,
    datatype: "INT64",
    shape: [1],
    bytes: new Uint8Array(BigInt64Array.of(value).buffer),
  });
  const weights: readonly FixtureTensor[] = [
    { name: "updates", datatype: "FP32", shape: [2, 3], bytes: new Uint8Array(updates.buffer) },
    { name: "row", datatype: "FP32", shape: [1, 3], bytes: new Uint8Array(updates.buffer, 0, 12) },
    int64("starts", 0n),
    int64("ends", 1n),
  ];
  return onnxFile(
    {
      inputs: [
        { name: "data", datatype: "FP32", shape: [2, 3] },
        { name: "at", datatype: "INT64" },
      ],
      outputs: [{ name: "y", datatype: "FP32" }],
      weights: weights.filter(({ name }) => node.inputs.includes(name)),
      nodes: [{ ...node, outputs: node.op === "TopK" ? ["y", "where"] : ["y"] }],
    },
    13,
  );
}
const fed = ({ shape }: Case, at: readonly bigint[]): Tensors =>
  tensorsOf(
    numericTensor("data", "FP32", [2, 3], data),
    numericTensor("at", "INT64", shape, BigInt64Array.from(at)),
  );

describe("indices that a caller says", () => {
  let runtime: Runtime;
  beforeAll(() => {
    runtime = childRuntime({ memoryBytes: 512 * 2 ** 20 });
  });
  afterAll(() => runtime.close());

  it.each(Object.entries(cases))("%s", async (name, one) => {
    const session = await runtime.load(await artifactOf(modelOf(one)), {}, call);
    const good = [0, ...data, ...updates];
    const run = async (at: readonly bigint[]): Promise<string | readonly number[]> => {
      try {
        const y = (await session.run(fed(one, at), ["y"], call)).get("y");
        return y ? [...float32View(y)] : [];
      } catch (thrown) {
        if (!LongshoreError.is(thrown)) throw thrown;
        return `${thrown.reason}: ${thrown.message}`;
      }
    };
    const seen: string[] = [];
    for (const value of bad) {
      for (const replaced of one.good.keys()) {
        const came = await run(one.good.map((ok, index) => (index === replaced ? value : ok)));
        if (typeof came !== "string")
          for (const number of came) expect(good, `${name} of ${value}`).toContain(number);
        else seen.push(came);
      }
    }
    for (const message of seen) expect(message).toMatch(/^(run-failed|memory-limit): /);
    expect(await run(one.good)).not.toEqual(expect.any(String));
    await session.release();
  });
});
