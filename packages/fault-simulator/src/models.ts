import {
  float32Tensor,
  float32View,
  LongshoreError,
  type Tensors,
  tensorsOf,
  type TensorSpec,
} from "@longshore/core";
import { memoryFile, type MemoryModel, type MemoryModels } from "@longshore/testkit";

/** A run that a machine made of a request's row. */
export interface RowRun {
  readonly machine: string;
  readonly model: string;
  /** The number of the request, which its input carries. */
  readonly tag: number;
}

const fp32 = (name: string, ...shape: number[]): TensorSpec => ({ name, datatype: "FP32", shape });

/** Values of a tensor that a run is fed with. */
function fed(feeds: Tensors, name: string): Float32Array {
  const tensor = feeds.get(name);
  if (!tensor) throw new LongshoreError("run-failed", "execute", `the run got no ${name}`);
  return float32View(tensor);
}

/** Numbers of an input: the request's own number, and what is summed. */
export const inputWidth = 4;

/** The answer of `sum` and `deep` for an input, by the version of the model. */
export function expectedSum(input: readonly number[], version: number): number {
  return input.slice(1).reduce((sum, value) => sum + value, 1000 * version);
}

/** The memory models of one machine. `ran` is called for every row of every run there. */
export function simulatedModels(machine: string, speed: number, ran: (run: RowRun) => void): MemoryModels {
  const note = (model: string, values: Float32Array, width: number): void => {
    for (let at = 0; at < values.length; at += width) {
      const tag = values[at] ?? 0;
      if (tag > 0) ran({ machine, model, tag });
    }
  };

  /** Gives the sum of each row and a number that tells its version. */
  function sum(version: number): MemoryModel {
    return {
      inputs: [fp32("x", -1, inputWidth)],
      outputs: ["y"],
      stages: [
        {
          takes: ["x"],
          gives: [fp32("y", -1, 1)],
          runMs: (feeds) => (8 + 2 * rowsOf(feeds, "x")) / speed,
          run(feeds) {
            const x = fed(feeds, "x");
            note("sum", x, inputWidth);
            return tensorsOf(float32Tensor("y", [x.length / inputWidth, 1], sums(x, 1000 * version)));
          },
        },
      ],
    };
  }

  /** The same in two parts with a cut between them. The crossing is half as large as the input. */
  const deep: MemoryModel = {
    inputs: [fp32("x", -1, inputWidth)],
    outputs: ["y"],
    stages: [
      {
        takes: ["x"],
        gives: [fp32("half", -1, 2)],
        runMs: 10 / speed,
        run(feeds) {
          const x = fed(feeds, "x");
          note("deep head", x, inputWidth);
          const partial = sums(x, 0);
          const half = Float32Array.from({ length: 2 * partial.length }, (_, at) =>
            at % 2 === 0 ? (x[(at / 2) * inputWidth] ?? 0) : (partial[(at - 1) / 2] ?? 0),
          );
          return tensorsOf(float32Tensor("half", [partial.length, 2], half));
        },
      },
      {
        takes: ["half"],
        gives: [fp32("y", -1, 1)],
        runMs: 20 / speed,
        run(feeds) {
          const half = fed(feeds, "half");
          note("deep tail", half, 2);
          const y = Float32Array.from(
            { length: half.length / 2 },
            (_, row) => (half[2 * row + 1] ?? 0) + 1000,
          );
          return tensorsOf(float32Tensor("y", [y.length, 1], y));
        },
      },
    ],
  };

  /** Counts its steps and adds up what they bring: a step that was made twice shows in both. */
  const count: MemoryModel = {
    inputs: [fp32("x", 1, inputWidth), fp32("state", 1, 2)],
    outputs: ["y", "next"],
    stages: [
      {
        takes: ["x", "state"],
        gives: [fp32("y", 1, 2), fp32("next", 1, 2)],
        runMs: 6 / speed,
        run(feeds) {
          const [x, state] = [fed(feeds, "x"), fed(feeds, "state")];
          note("count", x, inputWidth);
          const after = Float32Array.of((state[0] ?? 0) + 1, (state[1] ?? 0) + (x[1] ?? 0));
          return tensorsOf(
            float32Tensor("y", [1, 2], after),
            float32Tensor("next", [1, 2], Float32Array.from(after)),
          );
        },
      },
    ],
  };
  return { "sum-1": sum(1), "sum-2": sum(2), deep, count };
}

function rowsOf(feeds: Tensors, name: string): number {
  return feeds.get(name)?.spec.shape[0] ?? 1;
}

function sums(x: Float32Array, plus: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: x.length / inputWidth }, (_, row) => {
    let total = plus;
    for (let at = 1; at < inputWidth; at++) total += x[row * inputWidth + at] ?? 0;
    return total;
  });
}

/** Names of models that a machine may have. */
export type ModelName = "sum" | "deep" | "count";

/** The files of models in a repository. */
export function repositoryFiles(
  models: readonly ModelName[],
  sumVersions: readonly number[] = [1],
): Record<string, Uint8Array | string> {
  const files: Record<string, Uint8Array | string> = {};
  if (models.includes("sum")) {
    files["sum/model.yaml"] = "batching: { maxBatchSize: 4 }";
    for (const version of sumVersions) files[`sum/${version}/model.onnx`] = memoryFile(`sum-${version}`);
  }
  if (models.includes("deep")) files["deep/1/model.onnx"] = memoryFile("deep");
  if (models.includes("count")) {
    files["count/model.yaml"] =
      "sequence: { states: [{ input: state, output: next, datatype: FP32, shape: [1, 2] }] }";
    files["count/1/model.onnx"] = memoryFile("count");
  }
  return files;
}
