import { float32Tensor, float32View, give, LongshoreError, type Tensor, tensorsOf } from "@longshore/core";
import { childCall, housekeepingCall } from "@longshore/core/internal";
import type { InferenceSession, Runtime } from "@longshore/engine";
import { artifactOf, onnxFile } from "@longshore/testkit";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { onnxRuntime } from "./onnx-runtime.ts";
import { pageBytes } from "./shared-page.ts";

/*
 * Small runs share a page, repeated ones are not described again, large ones use a buffer that comes back, given ones move: the
 * data of one run must never be seen by the next.
 */

const call = housekeepingCall("run order");
const pageElements = pageBytes / 4;

let runtime: Runtime;
let session: InferenceSession;
beforeAll(async () => {
  runtime = onnxRuntime();
  const vector = (name: string): { name: string; datatype: "FP32"; shape: string[] } => ({
    name,
    datatype: "FP32",
    shape: [`size of ${name}`],
  });
  const model = onnxFile({
    inputs: [vector("a"), vector("b")],
    outputs: [vector("sum"), vector("difference")],
    nodes: [
      { op: "Add", inputs: ["a", "b"], outputs: ["sum"] },
      { op: "Sub", inputs: ["a", "b"], outputs: ["difference"] },
    ],
  });
  session = await runtime.load(await artifactOf(model), {}, call);
});
afterAll(() => runtime.close());

interface Run {
  readonly size: number;
  readonly fits: boolean;
  readonly givenA: boolean;
  readonly swapped: boolean;
  readonly fetches: readonly string[];
  readonly start: number;
}

const run: fc.Arbitrary<Run> = fc.record({
  size: fc.constantFrom(0, 1, 7, 7, 7, 300, pageElements / 2, pageElements, pageElements + 1, 20_000),
  fits: fc.integer({ min: 0, max: 9 }).map((roll) => roll > 0),
  givenA: fc.boolean(),
  swapped: fc.boolean(),
  fetches: fc.constantFrom(["sum"], ["difference"], ["sum", "difference"], ["difference", "sum"], []),
  start: fc.integer({ min: -1000, max: 1000 }),
});

function vector(name: string, size: number, start: number): Tensor {
  return float32Tensor(
    name,
    [size],
    Float32Array.from({ length: size }, (_, index) => start + (index % 1000)),
  );
}

async function check({ size, givenA, swapped, fetches, start, ...rest }: Run): Promise<void> {
  // One element fits any number of them.
  const fits = rest.fits || size === 1;
  const a = vector("a", size, start);
  const b = vector("b", fits ? size : size + 2, 2 * start);
  const expected = new Map([
    ["sum", float32View(a).map((value, index) => value + (float32View(b)[index] ?? NaN))],
    ["difference", float32View(a).map((value, index) => value - (float32View(b)[index] ?? NaN))],
  ]);
  const feeds = givenA ? [give(a), b] : [a, b];
  const outputs = session.run(tensorsOf(...(swapped ? feeds.reverse() : feeds)), fetches, call);
  if (!fits) {
    await expect(outputs).rejects.toMatchObject({ reason: "run-failed" });
    return;
  }
  const tensors = await outputs;
  expect([...tensors.keys()].sort()).toEqual(
    fetches.length > 0 ? [...fetches].sort() : ["difference", "sum"],
  );
  for (const [name, tensor] of tensors) {
    expect(tensor.spec).toEqual({ name, datatype: "FP32", shape: [size] });
    // Compared as bytes: element by element is what takes the time in this test.
    expect(Buffer.compare(tensor.bytes, new Uint8Array(expected.get(name)?.buffer ?? []))).toBe(0);
  }
}

describe("runs of one session", () => {
  it("give the results of their own inputs, after any earlier run", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(run, { minLength: 1, maxLength: 12 }), async (runs) => {
        for (const one of runs) await check(one);
      }),
      { numRuns: 60 },
    );
  });

  it("give the results of their own inputs after a run that failed", async () => {
    const plain = { givenA: false, swapped: false, fetches: ["sum"], start: 5 };
    for (const [size, fits] of [
      [7, true],
      [7, false],
      [7, true],
      [20_000, false],
      [20_000, true],
      [7, true],
    ] as const) {
      await check({ ...plain, size, fits });
    }
  });

  it("give the results of their own inputs when many wait at once", async () => {
    const plain = { fits: true, givenA: false, swapped: false, fetches: ["sum"] };
    await Promise.all([7, 7, 9000, 7, 20_000, 300, 7].map((size, start) => check({ ...plain, size, start })));
  });
});

it("report whether a run began, or was given up while its inputs were copied", async () => {
  const size = 4 * 2 ** 20;
  const feeds = tensorsOf(vector("a", size, 1), vector("b", size, 2));
  const { call: own, cancel } = childCall(call);
  const left = session.run(feeds, ["sum"], own);
  cancel(new LongshoreError("cancelled", "execute", "gone"));
  await expect(left).rejects.toMatchObject({ reason: "cancelled" });
  await session.idle();
  expect(session.begun).toBe(false);
  await session.run(feeds, ["sum"], call);
  expect(session.begun).toBe(true);
});
