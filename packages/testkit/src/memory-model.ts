import { type Call, type Cut, LongshoreError, type Tensors, type TensorSpec } from "@longshore/core";
import type { Artifact, ModelSource } from "@longshore/engine";
import { sha256Of } from "./memory-store.ts";

/** A part of a memory model that runs without stopping; between two of them lies a legal cut. */
export interface MemoryStage {
  readonly takes: readonly string[];
  readonly gives: readonly TensorSpec[];
  /** Virtual run time. */
  readonly runMs: number | ((feeds: Tensors) => number);
  run(feeds: Tensors): Tensors;
}

/** A model made of functions, which stands for an ONNX file: its "file" is a line of JSON that names it. */
export interface MemoryModel {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly string[];
  readonly stages: readonly MemoryStage[];
  readonly weightBytes?: number;
}

/** Memory models by name. */
export type MemoryModels = Readonly<Record<string, MemoryModel>>;

/** Which stages of which model a file holds. */
export interface MemoryFile {
  readonly memoryModel: string;
  readonly from: number;
  readonly to: number;
}

/** A model of one function, without inner cuts. */
export function oneStage(
  inputs: readonly TensorSpec[],
  outputs: readonly TensorSpec[],
  runMs: MemoryStage["runMs"],
  run: MemoryStage["run"],
): MemoryModel {
  return {
    inputs,
    outputs: outputs.map(({ name }) => name),
    stages: [{ takes: inputs.map(({ name }) => name), gives: outputs, runMs, run }],
  };
}

/** The "file" of a memory model. */
export function memoryFile(name: string, from = 0, to = -1): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ memoryModel: name, from, to }));
}

/** An artifact on some bytes. */
export async function artifactOf(bytes: Uint8Array): Promise<Artifact> {
  return {
    digest: await sha256Of(bytes),
    byteLength: bytes.byteLength,
    bytes: () => Promise.resolve(bytes.slice()),
  };
}

/** Which model a file names; `invalid-model` when it is not a memory model. */
export function readMemoryFile(
  bytes: Uint8Array,
  models: MemoryModels,
): { readonly file: MemoryFile; readonly model: MemoryModel } {
  try {
    const file = JSON.parse(new TextDecoder().decode(bytes)) as MemoryFile;
    const model = models[file.memoryModel];
    if (model) return { file: { ...file, to: file.to < 0 ? model.stages.length : file.to }, model };
  } catch {
    // Falls through: bytes that are no JSON are as wrong as an undeclared name.
  }
  throw new LongshoreError(
    "invalid-model",
    "resolve",
    "the file is not a memory model that this test declares",
  );
}

/** Tensors alive after `stage` stages: made before, needed after, or an output. */
export function aliveAfter(model: MemoryModel, stage: number): readonly TensorSpec[] {
  const made = [...model.inputs, ...model.stages.slice(0, stage).flatMap(({ gives }) => gives)];
  const needed = new Set([...model.outputs, ...model.stages.slice(stage).flatMap(({ takes }) => takes)]);
  return made.filter(({ name }) => needed.has(name));
}

/** The values that stages between two cuts pass on: alive at the end, and not yet at the beginning. */
export function madeBetween(model: MemoryModel, from: number, to: number): readonly TensorSpec[] {
  const before = new Set(aliveAfter(model, from).map(({ name }) => name));
  const made = aliveAfter(model, to).filter(({ name }) => !before.has(name));
  const wanted = (name: string): number => (model.outputs.includes(name) ? model.outputs.indexOf(name) : -1);
  return [...made].sort((a, b) => wanted(a.name) - wanted(b.name));
}

/** Reads and cuts memory models, as `@longshore/graph` does ONNX files. Cuts are `c1`, `c2`, ... */
export function memorySource(models: MemoryModels): ModelSource & { readonly extracted: readonly string[] } {
  const extracted: string[] = [];
  const open = async (artifact: Artifact, call: Call): Promise<ReturnType<typeof readMemoryFile>> =>
    readMemoryFile(await artifact.bytes(call), models);
  return {
    extracted,
    async inspect(artifact, call) {
      const { model, file } = await open(artifact, call);
      return {
        inputs: aliveAfter(model, file.from),
        outputs: madeBetween(model, file.from, file.to),
        weightBytes: model.weightBytes ?? 1000,
      };
    },
    async cuts(artifact, call) {
      const { model } = await open(artifact, call);
      return model.stages.slice(1).map((_, index): Cut => ({
        id: `c${index + 1}`,
        crossing: aliveAfter(model, index + 1),
        reveals: "features",
      }));
    },
    async extract(artifact, from, to, call) {
      const { model, file } = await open(artifact, call);
      const position = (cut: string): number => {
        if (cut === "start") return 0;
        if (cut === "end") return model.stages.length;
        const index = Number(/^c(\d+)$/.exec(cut)?.[1] ?? NaN);
        if (index > 0 && index < model.stages.length) return index;
        throw new LongshoreError("unknown-cut", "resolve", `there is no cut ${cut}`);
      };
      extracted.push(`${file.memoryModel}:${from}..${to}`);
      return artifactOf(memoryFile(file.memoryModel, position(from), position(to)));
    },
  };
}
