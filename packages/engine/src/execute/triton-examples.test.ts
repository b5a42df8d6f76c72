import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  bytesTensor,
  float32Tensor,
  float32View,
  numericTensor,
  seededRandom,
  type SequencePosition,
  silentObserver,
  type Tensor,
  type Tensors,
  tensorsOf,
  textElements,
} from "@longshore/core";
import { int32View } from "@longshore/core/internal";
import { housekeepingCall, nextStep } from "@longshore/core/internal";
import { onnxSource } from "@longshore/graph";
import { onnxRuntime, sha256, systemClock } from "@longshore/nodejs";
import { memoryStore, tritonModels } from "@longshore/testkit";
import { createEngine, type Engine } from "./engine.ts";
import { inlineLane } from "../lane/inline-lane.ts";

/** The models of Triton's client examples, in the real runtime. */
const call = housekeepingCall("triton");
const clock = systemClock();
const runtime = onnxRuntime();
let engine: Engine;

beforeAll(() => {
  engine = createEngine({
    info: {
      id: "here",
      tier: "edge",
      zone: "local",
      trust: "operated",
      codecs: [],
      state: "movable",
      offers: true,
      rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 6 },
    },
    store: memoryStore(tritonModels()),
    source: onnxSource(),
    runtimes: [runtime],
    transforms: new Map(),
    lane: inlineLane(new Map(), clock),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
    sha256,
  });
});
afterAll(async () => {
  await engine.close();
  await runtime.close();
});

async function infer(model: string, inputs: Tensors, sequence?: SequencePosition): Promise<Tensors> {
  const { outputs } = await engine.infer(
    {
      segment: { model, version: "", digest: "", variant: "", from: "start", to: "end" },
      inputs,
      codecs: {},
      ...(sequence ? { sequence } : {}),
    },
    call,
  );
  return outputs;
}

const output = (outputs: Tensors, name: string): Tensor => {
  const tensor = outputs.get(name);
  if (!tensor) throw new Error(`there is no ${name}`);
  return tensor;
};

const upTo16 = Array.from({ length: 16 }, (_, index) => index);

describe("models of Triton's client examples", () => {
  it("simple adds and subtracts", async () => {
    const outputs = await infer(
      "simple",
      tensorsOf(
        numericTensor("INPUT0", "INT32", [1, 16], Int32Array.from(upTo16)),
        numericTensor("INPUT1", "INT32", [1, 16], new Int32Array(16).fill(1)),
      ),
    );
    expect([...int32View(output(outputs, "OUTPUT0"))]).toEqual(upTo16.map((value) => value + 1));
    expect([...int32View(output(outputs, "OUTPUT1"))]).toEqual(upTo16.map((value) => value - 1));
  });

  it("simple_int8 does so in 8 bits", async () => {
    const outputs = await infer(
      "simple_int8",
      tensorsOf(
        numericTensor("INPUT0", "INT8", [1, 16], Int8Array.from(upTo16)),
        numericTensor("INPUT1", "INT8", [1, 16], new Int8Array(16).fill(2)),
      ),
    );
    expect([...new Int8Array(output(outputs, "OUTPUT0").bytes)]).toEqual(upTo16.map((value) => value + 2));
    expect([...new Int8Array(output(outputs, "OUTPUT1").bytes)]).toEqual(upTo16.map((value) => value - 2));
  });

  it("simple_string does so with digits, and simple_identity gives texts back", async () => {
    const texts = (values: readonly number[]): readonly string[] => values.map(String);
    const outputs = await infer(
      "simple_string",
      tensorsOf(
        bytesTensor("INPUT0", texts(upTo16), [1, 16]),
        bytesTensor("INPUT1", texts(upTo16.map(() => 1)), [1, 16]),
      ),
    );
    expect(textElements(output(outputs, "OUTPUT0"))).toEqual(texts(upTo16.map((value) => value + 1)));
    expect(textElements(output(outputs, "OUTPUT1"))).toEqual(texts(upTo16.map((value) => value - 1)));
    const same = await infer("simple_identity", tensorsOf(bytesTensor("INPUT0", ["a", "ä", ""], [1, 3])));
    expect(textElements(output(same, "OUTPUT0"))).toEqual(["a", "ä", ""]);
    const number = float32Tensor("INPUT0", [2, 2], Float32Array.of(1, 2, 3, 4));
    expect([...float32View(output(await infer("identity_fp32", tensorsOf(number)), "OUTPUT0"))]).toEqual([
      1, 2, 3, 4,
    ]);
  });

  /** The requests of the examples: no step numbers, only start and end. */
  async function send(model: string, id: string, values: readonly number[]): Promise<readonly number[]> {
    const answers: number[] = [];
    for (const [index, value] of values.entries()) {
      const outputs = await infer(
        model,
        tensorsOf(numericTensor("INPUT", "INT32", [1, 1], Int32Array.of(value))),
        {
          id,
          step: index === 0 ? 0 : nextStep,
          end: index === values.length - 1,
          wantState: false,
        },
      );
      answers.push(int32View(output(outputs, "OUTPUT"))[0] ?? NaN);
    }
    return answers;
  }
  const values = [11, 7, 5, 3, 2, 0, 1];

  it("simple_sequence counts the start, simple_dyna_sequence adds the id at the end", async () => {
    expect(await send("simple_sequence", "1000", [0, ...values])).toEqual([1, ...values]);
    expect(await send("simple_sequence", "5f0c-uuid", [20, ...values])).toEqual([21, ...values]);
    expect(await send("simple_dyna_sequence", "1001", [100, 2, 1])).toEqual([101, 2, 1002]);
    expect(await send("simple_string_dyna_sequence", "1002", [20, -11, -1])).toEqual([20, 9, 1010]);
    expect(await send("accumulate_int32", "1", [1, 2, 3])).toEqual([1, 3, 6]);
  });

  it("joins sequences in a run, each with its own state, and keeps the order in which requests came", async () => {
    const one = (id: string, step: number, value: number, end = false) =>
      infer("accumulate_int32", tensorsOf(numericTensor("INPUT", "INT32", [1, 1], Int32Array.of(value))), {
        id,
        step,
        end,
        wantState: false,
      }).then((outputs) => int32View(output(outputs, "OUTPUT"))[0]);
    const ids = ["a", "b", "c", "d"];
    // Nobody waits for an answer before the next is sent, as a stream does.
    const all = ids.flatMap((id, index) => [
      one(id, 0, index),
      one(id, nextStep, 10),
      one(id, nextStep, 100, true),
    ]);
    expect(await Promise.all(all)).toEqual(ids.flatMap((_, index) => [index, index + 10, index + 110]));
  });

  it("refuses the same as Triton: no id, several rows, and no start", async () => {
    const two = tensorsOf(numericTensor("INPUT", "INT32", [2, 1], Int32Array.of(1, 2)));
    const single = tensorsOf(numericTensor("INPUT", "INT32", [1, 1], Int32Array.of(1)));
    const at = (step: number): SequencePosition => ({ id: "9", step, end: false, wantState: false });
    await expect(infer("simple_sequence", single)).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringContaining("non-zero or non-empty correlation ID") as string,
    });
    await expect(infer("simple_sequence", two, at(0))).rejects.toMatchObject({ reason: "invalid-input" });
    await expect(infer("simple_sequence", single, { ...at(nextStep), id: "new" })).rejects.toMatchObject({
      reason: "sequence-unknown",
      code: "INVALID_ARGUMENT",
    });
    // A failed request leaves the sequence as it was.
    await infer("accumulate_int32", single, at(0));
    await expect(infer("accumulate_int32", two, at(nextStep))).rejects.toMatchObject({
      reason: "invalid-input",
    });
    const outputs = await infer("accumulate_int32", single, { ...at(nextStep), end: true });
    expect([...int32View(output(outputs, "OUTPUT"))]).toEqual([2]);
  });
});
