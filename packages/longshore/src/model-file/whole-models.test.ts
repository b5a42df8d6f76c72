import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { graphBuilder, readModel, writeModel } from "@longshore/graph";
import { afterAll, beforeAll, expect, it } from "vitest";
import { command } from "../../test/command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-whole-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** `y = relu(x w) v`, with `w` in a file beside the model. */
function outside(location: string): { readonly model: Uint8Array; readonly weights: Uint8Array } {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["n", 2]);
  const w = build.weights("w", "FP32", [2, 2], Float32Array.of(1, 2, 3, 4));
  const v = build.weights("v", "FP32", [2, 1], Float32Array.of(1, 1));
  const hidden = build.node("Relu", [build.node("MatMul", [x, w])]);
  build.output(build.node("MatMul", [hidden, v], { outputs: ["y"] }), "FP32", ["n", 1]);
  const model = readModel(writeModel(build.model({ name: "outside" })));
  const tensor = model.graph?.initializer.find(({ name }) => name === "w");
  if (!tensor) throw new Error("no weights");
  const weights = tensor.rawData.slice();
  tensor.rawData = new Uint8Array();
  tensor.dataLocation = 1;
  tensor.externalData = [{ $typeName: "onnx.StringStringEntryProto", key: "location", value: location }];
  return { model: writeModel(model), weights };
}

it("a model with weights beside it runs and splits like one with them inside, as a file and in a repository", async () => {
  const { model, weights } = outside("parts/w.bin");
  const version = join(folder, "repository", "beside", "1");
  await mkdir(join(version, "parts"), { recursive: true });
  await writeFile(join(version, "model.onnx"), model);
  await writeFile(join(version, "parts", "w.bin"), weights);
  await writeFile(join(folder, "x.json"), "[[1, 1]]");
  for (const name of [join(version, "model.onnx"), join(folder, "repository", "beside")]) {
    const { code, said } = await command("infer", name, join(folder, "x.json"), "--json");
    expect(code, said).toBe(0);
    expect(JSON.parse(said)).toMatchObject({ outputs: { y: { data: [10] } } });
    const check = await command("split", name, "--verify", "--json");
    expect(check.code, check.said).toBe(0);
    expect(JSON.parse(check.said)).toMatchObject({ equal: true, worst: 0 });
  }
});

it("a classifier that ends in a list of maps answers with the table of its scores", async () => {
  const build = graphBuilder();
  const x = build.input("x", "FP32", ["batch", 2]);
  build.node("LinearClassifier", [x], {
    domain: "ai.onnx.ml",
    attributes: {
      classlabels_strings: { texts: ["cat", "dog"] },
      coefficients: { floats: [1, 0, 0, 1] },
      intercepts: { floats: [0, 0] },
      post_transform: { text: "SOFTMAX" },
    },
    outputs: ["label", "scores"],
  });
  build.node("ZipMap", ["scores"], {
    domain: "ai.onnx.ml",
    attributes: { classlabels_strings: { texts: ["cat", "dog"] } },
    outputs: ["maps"],
  });
  build.output("label", "BYTES", ["batch"]);
  build.output("maps");
  const file = join(folder, "classifier.onnx");
  await writeFile(file, writeModel(build.model({ name: "classifier", domains: { "ai.onnx.ml": 1 } })));
  await writeFile(join(folder, "x.json"), "[[0, 3]]");
  const { code, said } = await command("infer", file, join(folder, "x.json"), "--json");
  expect(code, said).toBe(0);
  const { outputs } = JSON.parse(said) as { outputs: Record<string, { shape: number[]; data: unknown[] }> };
  expect(outputs["label"]?.data).toEqual(["dog"]);
  expect(outputs["maps"]?.shape).toEqual([1, 2]);
  expect(outputs["maps"]?.data[1]).toBeCloseTo(Math.exp(3) / (1 + Math.exp(3)), 5);
});

it("weights that are missing or lie elsewhere are refused, and nothing outside the folder is read", async () => {
  const missing = join(folder, "missing.onnx");
  await writeFile(missing, outside("nowhere.bin").model);
  const absent = await command("infer", missing, "--random");
  expect(absent.code).toBe(2);
  expect(absent.said).toContain('the model keeps weights in "nowhere.bin", which does not lie beside it');
  const away = outside("../secret.bin");
  await mkdir(join(folder, "inner"));
  await writeFile(join(folder, "secret.bin"), away.weights);
  await writeFile(join(folder, "inner", "away.onnx"), away.model);
  const refused = await command("split", join(folder, "inner", "away.onnx"), "--verify");
  expect(refused.code).not.toBe(0);
  expect(refused.said).toContain('weights in "../secret.bin", which does not lie beside it');
});
