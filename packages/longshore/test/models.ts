import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type GraphBuilder, graphBuilder, writeModel } from "@longshore/graph";

/** Writes a version of a model of `x` and `y`, four numbers each, to a folder of models; `body` gives the name of `y`. */
export async function writeVersion(
  folder: string,
  model: string,
  version: string,
  body: (build: GraphBuilder, x: string) => string,
): Promise<void> {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 4]);
  build.output(body(build, x), "FP32", [1, 4]);
  await mkdir(join(folder, model, version), { recursive: true });
  await writeFile(join(folder, model, version, "model.onnx"), writeModel(build.model({ name: model })));
}

/** Writes `double`, which gives twice its input. */
export function writeDouble(folder: string): Promise<void> {
  return writeVersion(folder, "double", "1", (build, x) => build.node("Add", [x, x], { outputs: ["y"] }));
}

/** Writes `total`, which adds each `x` of a sequence to its state: a step that was lost or made twice shows in all after it. */
export async function writeTotal(folder: string): Promise<void> {
  await mkdir(join(folder, "total", "1"), { recursive: true });
  const sum = graphBuilder();
  const total = sum.node("Add", [sum.input("x", "FP32", [1, 1]), sum.input("s", "FP32", [1, 1])], {
    outputs: ["total"],
  });
  sum.output(total, "FP32", [1, 1]);
  sum.output(sum.node("Identity", [total], { outputs: ["next"] }), "FP32", [1, 1]);
  await writeFile(join(folder, "total", "1", "model.onnx"), writeModel(sum.model({ name: "total" })));
  await writeFile(
    join(folder, "total", "model.yaml"),
    "sequence: { maxIdleMs: 600000, states: [{ input: s, output: next, datatype: FP32, shape: [1, 1] }] }\n",
  );
}
