import { housekeepingCall } from "@longshore/core/internal";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assembleRepository } from "./assemble.ts";
import { packageFolder } from "./folders.ts";
import { sampleInputs } from "./inputs.ts";
import { samplesManifest } from "./manifest.ts";
import { sampleRepository } from "./repository.ts";
import { sampleEngine, type SampleEngine } from "./sample-engine.ts";

let samples: SampleEngine;
beforeAll(() => {
  samples = sampleEngine();
});
afterAll(() => samples.close());

test("the engine reads every model of the repository", async () => {
  const entries = await samples.engine.index();
  expect(entries.map(({ name, version, state }) => [name, version, state])).toEqual(
    [
      "anomaly",
      "language",
      "language-scores",
      "ocr",
      "ocr-detect",
      "ocr-frame",
      "ocr-language",
      "ocr-orient",
      "ocr-recognise",
      "recommendation",
      "vad",
    ].map((model) => [model, "1", "available"]),
  );
  for (const { name } of entries) {
    const cuts = await samples.engine.cuts(name, undefined, undefined, housekeepingCall("cuts"));
    expect([cuts[0]?.id, cuts.at(-1)?.id]).toEqual(["start", "end"]);
  }
});

test("the anomaly detector has a cut whose crossing is a sixteenth of its input", async () => {
  const cuts = await samples.engine.cuts("anomaly", undefined, undefined, housekeepingCall("cuts"));
  const waist = cuts.find(({ crossing }) => crossing.length === 1 && crossing[0]?.name === "waist");
  expect(waist?.crossing[0]).toMatchObject({ datatype: "FP32" });
  expect(waist?.crossing[0]?.shape.slice(1)).toEqual([16, 512]);
});

test("assembling twice changes nothing, and a damaged or surplus file is put right", () => {
  const folder = mkdtempSync(join(tmpdir(), "longshore-samples-"));
  try {
    assembleRepository(folder);
    const file = join(folder, "language", "labels.txt");
    const first = statSync(file).mtimeMs;
    assembleRepository(folder);
    expect(statSync(file).mtimeMs).toBe(first);
    rmSync(file);
    writeFileSync(join(folder, "language", "stray.txt"), "stray");
    assembleRepository(folder);
    expect(readFileSync(file, "utf8").split("\n")).toContain("sw");
    expect(readdirSync(join(folder, "language")).sort()).toEqual(["labels.txt", "model.yaml"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("every file of repository and inputs has an origin, a licence and the digest that is written down", () => {
  const folders = [sampleRepository(), join(packageFolder, "inputs")];
  const files = folders
    .flatMap((folder) => readdirSync(folder, { withFileTypes: true, recursive: true }))
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(packageFolder.length + 1)
        .replaceAll("\\", "/"),
    )
    .filter((file) => !/(model\.yaml|truth\.json|profile\.json|\.prepared\.json|LICENCE|\.tmp)$/.test(file));
  const manifest = samplesManifest();
  expect(manifest.map(({ file }) => file)).toEqual([...files].sort((a, b) => (a < b ? -1 : 1)));
  for (const { file, sha256, licence, how, by } of manifest) {
    const digest = createHash("sha256")
      .update(readFileSync(join(packageFolder, file)))
      .digest("hex");
    expect(sha256, file).toBe(`sha256:${digest}`);
    expect([licence, how, by].every((text) => text.length > 2)).toBe(true);
  }
  const readme = readFileSync(join(packageFolder, "README.md"), "utf8");
  for (const { file, sha256 } of manifest.filter(({ file }) => file.endsWith(".onnx"))) {
    expect(readme, file).toContain(sha256.slice("sha256:".length));
  }
});

test("every input is there, names models that exist, and states the truth", () => {
  const inputs = sampleInputs();
  expect(new Set(inputs.map(({ kind }) => kind))).toEqual(
    new Set(["image", "sound", "text", "series", "request"]),
  );
  for (const { path, models, kind, truth } of inputs) {
    expect(statSync(path).size).toBeGreaterThan(0);
    for (const model of models) statSync(join(sampleRepository(), model));
    if (kind === "image") expect(truth.lines?.length).toBeGreaterThan(5);
    if (kind === "text") expect(truth.language).toMatch(/^[a-z]{2,3}$/);
    if (kind === "series") expect(truth.fault).toBeDefined();
  }
  expect(inputs.filter(({ kind, made }) => kind === "image" && !made).length).toBeGreaterThanOrEqual(2);
});
