import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  float32Tensor,
  float32View,
  numericTensor,
  type Random,
  seededRandom,
  type Tensors,
} from "@longshore/core";
import { graphBuilder, writeModel } from "@longshore/graph";
import { sampleInputs, sampleRepository } from "@longshore/samples";
import type { Inputs } from "longshore";
import { runningTotal, runningTotalConfig } from "../load/models.ts";

/** A model with state whose frames tell whether a step was lost, doubled or made from a wrong state. */
export interface Judge {
  readonly model: (typeof judgeNames)[number];
  readonly frames: readonly Inputs[];
  /** The numbers of an answer. */
  read(outputs: Tensors): readonly number[];
}

const frameCount = 87;

/** Silero's voice activity detection over a recording: 54 of 87 frames are speech with their state, 17 without. */
function voiceActivity(repository: string): Judge {
  cpSync(join(sampleRepository(), "vad"), join(repository, "vad"), { recursive: true });
  const recording = sampleInputs().find(({ path }) => path.endsWith("goforward.raw"));
  if (!recording) throw new Error("the sample recording is not there");
  const raw = readFileSync(recording.path);
  const samples = Float32Array.from(
    new Int16Array(raw.buffer, raw.byteOffset, raw.byteLength >> 1),
    (one) => one / 32_768,
  );
  const frames = Array.from({ length: frameCount }, (_, index): Inputs => {
    const frame = new Float32Array(576);
    frame.set(samples.subarray(Math.max(0, index * 512 - 64), index * 512 + 512), index === 0 ? 64 : 0);
    return {
      input: float32Tensor("input", [1, 576], frame),
      sr: numericTensor("sr", "INT64", [], BigInt64Array.of(16_000n)),
    };
  });
  return { model: "vad", frames, read: numbersOf("output") };
}

const numbersOf =
  (name: string) =>
  (outputs: Tensors): readonly number[] => {
    const tensor = outputs.get(name);
    return tensor ? [...float32View(tensor)] : [];
  };

const width = 16;
const hidden = 24;

/** A long short-term memory with weights of chance, whose state remembers every frame. */
function memory(repository: string, random: Random): Judge {
  const build = graphBuilder();
  const some = (count: number, scale: number): Float32Array =>
    Float32Array.from({ length: count }, () => (random.next() * 2 - 1) * scale);
  const weights = [
    build.weights("w", "FP32", [1, 4 * hidden, width], some(4 * hidden * width, 0.4)),
    build.weights("r", "FP32", [1, 4 * hidden, hidden], some(4 * hidden * hidden, 0.4)),
    build.weights("b", "FP32", [1, 8 * hidden], some(8 * hidden, 0.2)),
  ];
  const x = build.input("x", "FP32", [1, 1, width]);
  const state = [build.input("h", "FP32", [1, 1, hidden]), build.input("c", "FP32", [1, 1, hidden])];
  build.node("LSTM", [x, ...weights, "", ...state], {
    attributes: { hidden_size: { int: hidden } },
    outputs: ["all", "hNext", "cNext"],
  });
  build.output(build.node("Identity", ["hNext"], { outputs: ["y"] }), "FP32", [1, 1, hidden]);
  build.output("hNext", "FP32", [1, 1, hidden]);
  build.output("cNext", "FP32", [1, 1, hidden]);
  const states = `[{ input: h, output: hNext, datatype: FP32, shape: [1, 1, ${hidden}] }, { input: c, output: cNext, datatype: FP32, shape: [1, 1, ${hidden}] }]`;
  put(
    repository,
    "memory",
    writeModel(build.model({ name: "memory", opset: 17 })),
    `name: memory\nsequence:\n  maxIdleMs: 60000\n  states: ${states}\n`,
  );
  const frames = Array.from({ length: frameCount }, (): Inputs => ({
    x: float32Tensor("x", [1, 1, width], some(width, 1)),
  }));
  return { model: "memory", frames, read: numbersOf("y") };
}

/** A running total of whole numbers: a step that was made twice shows as such. */
function total(repository: string): Judge {
  put(repository, "total", runningTotal(), runningTotalConfig);
  const frames = Array.from({ length: frameCount }, (_, index): Inputs => ({
    x: float32Tensor("x", [1, 1], Float32Array.of(1 + ((index * 37) % 91))),
  }));
  return { model: "total", frames, read: numbersOf("total") };
}

function put(repository: string, name: string, model: Uint8Array, config: string): void {
  mkdirSync(join(repository, name, "1"), { recursive: true });
  writeFileSync(join(repository, name, "1", "model.onnx"), model);
  writeFileSync(join(repository, name, "model.yaml"), config);
}

/** Models of the judges. */
export const judgeNames = ["vad", "memory", "total"] as const;

/** Writes the models of all judges into a repository. */
export function judges(repository: string, seed: number): readonly Judge[] {
  return [voiceActivity(repository), memory(repository, seededRandom(seed)), total(repository)];
}
