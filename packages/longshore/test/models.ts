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
