import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import type { ServedModel } from "@longshore/conformance";
import { graphBuilder, writeModel } from "@longshore/graph";
import { sampleRepository } from "@longshore/samples";

/** The models that servers are compared on, as files in a folder that is removed at the end. */
export interface BenchModels extends Disposable {
  readonly models: Readonly<Record<ModelName, ServedModel>>;
  readonly folder: string;
}

/** The served models: nothing to compute, a small dense network, and the two convolutional networks of text recognition. */
export type ModelName = "identity" | "dense" | "recognise" | "detect";

function identity(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", 64]);
  build.output(build.node("Identity", [x], { outputs: ["y"] }), "FP32", ["batch", 64]);
  return writeModel(build.model({ name: "identity" }));
}

/** Three layers, 256 - 256 - 256 - 16, with seeded weights. */
function dense(): Uint8Array {
  const random = seededRandom(1);
  const weights = (rows: number, columns: number): Float32Array =>
    Float32Array.from({ length: rows * columns }, () => (random.next() - 0.5) / Math.sqrt(rows));
  const build = graphBuilder();
  let value = build.input("x", "FP32", ["batch", 256]);
  for (const [layer, columns] of [256, 256, 16].entries()) {
    const w = build.weights(`w${layer}`, "FP32", [256, columns], weights(256, columns));
    const b = build.weights(`b${layer}`, "FP32", [columns], weights(1, columns));
    const last = layer === 2;
    const sum = build.node("Gemm", [value, w, b], last ? { outputs: ["y"] } : {});
    value = last ? sum : build.node("Relu", [sum]);
  }
  build.output(value, "FP32", ["batch", 16]);
  return writeModel(build.model({ name: "dense" }));
}

/** Writes the small models and finds the large ones. */
export function benchModels(): BenchModels {
  const folder = mkdtempSync(join(tmpdir(), "longshore-serve-models-"));
  const write = (name: string, bytes: Uint8Array): string => {
    const file = join(folder, `${name}.onnx`);
    writeFileSync(file, bytes);
    return file;
  };
  const sample = (name: string): string => join(sampleRepository(), name, "1", "model.onnx");
  const tensor = (name: string, ...shape: readonly number[]): ServedModel["input"] => ({
    name,
    datatype: "FP32",
    shape,
  });
  return {
    models: {
      identity: {
        name: "identity",
        file: write("identity", identity()),
        input: tensor("x", 1, 64),
        output: tensor("y", 1, 64),
        batch: 64,
      },
      dense: {
        name: "dense",
        file: write("dense", dense()),
        input: tensor("x", 1, 256),
        output: tensor("y", 1, 16),
        batch: 64,
      },
      // Neither gains from batches on a processor: the recogniser needs 16.5 ms alone and 25 ms a row in a batch of 16.
      recognise: {
        name: "recognise",
        file: sample("ocr-recognise"),
        input: tensor("x", 1, 3, 48, 320),
        output: tensor("softmax_11.tmp_0", 1, 40, 6625),
        batch: 1,
      },
      detect: {
        name: "detect",
        file: sample("ocr-detect"),
        input: tensor("x", 1, 3, 640, 640),
        output: tensor("sigmoid_0.tmp_0", 1, 1, 640, 640),
        batch: 1,
      },
    },
    folder,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The elements of a model's one input: noise of a fixed seed, with few digits so that JSON does not suffer from long ones. */
export function inputValues({ input }: ServedModel): Float32Array {
  const random = seededRandom(7);
  const length = input.shape.reduce((product, size) => product * size, 1);
  return Float32Array.from({ length }, () => Math.round((random.next() * 2 - 1) * 100) / 100);
}
