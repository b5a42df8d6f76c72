import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, open, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { graphBuilder, readModel, writeModel } from "@longshore/graph";
import { afterAll, beforeAll, expect, it } from "vitest";
import { folderStore } from "@longshore/nodejs";
import { command } from "../../test/command.ts";
import { wholeModels } from "./whole-models.ts";

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

it.runIf(process.platform === "linux")(
  "weights that are no file of the folder are refused by name, without waiting for them",
  async () => {
    const version = join(folder, "hostile");
    await mkdir(version);
    const store = wholeModels(folderStore(version));
    const refusal = async (location: string): Promise<unknown> => {
      await writeFile(join(version, "model.onnx"), outside(location).model);
      return store.read("model.onnx").then(
        () => "it was read",
        (thrown: unknown) => thrown,
      );
    };
    // It has no writer: opening it as a file would wait for ever.
    execFileSync("sh", ["-c", 'mkfifo "$0"', join(version, "pipe.bin")]);
    await symlink("/dev/zero", join(version, "device.bin"));
    await symlink("/proc/self/environ", join(version, "environment.bin"));
    await symlink(join(version, "pipe.bin"), join(version, "to-pipe.bin"));
    await symlink("..", join(version, "up"));
    await writeFile(join(folder, "w.bin"), outside("w.bin").weights);
    const sparse = await open(join(version, "sparse.bin"), "w");
    await sparse.truncate(2 ** 41);
    await sparse.close();
    for (const name of ["pipe.bin", "to-pipe.bin"]) {
      expect(await refusal(name), name).toMatchObject({
        reason: "invalid-model",
        message: expect.stringContaining(`weights in "${name}", which does not lie beside it`) as string,
      });
    }
    for (const name of ["device.bin", "environment.bin", "up/w.bin"]) {
      expect(await refusal(name), name).toMatchObject({
        reason: "not-permitted",
        message: expect.stringContaining(
          `'${name}' is a symbolic link that leads out of the repository`,
        ) as string,
      });
    }
    expect(await refusal(".")).toMatchObject({
      reason: "not-permitted",
      message: "'.' is not a path inside the repository",
    });
    for (const name of ["/proc/self/mem", "/dev/zero", "../w.bin"]) {
      const refused = await refusal(name);
      expect(refused, name).toMatchObject({
        reason: expect.stringMatching(/invalid-model|not-permitted/) as string,
        message: expect.stringContaining(name.replace(/^\W+/, "")) as string,
      });
    }
    expect(await refusal("sparse.bin")).toMatchObject({
      reason: "memory-limit",
      message: expect.stringContaining("'sparse.bin' has 2199023255552 bytes") as string,
    });
  },
);
