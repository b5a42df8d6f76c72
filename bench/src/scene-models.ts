import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { housekeepingCall, LongshoreError, type Tensors } from "@longshore/core";
import type { Engine } from "@longshore/engine";
import { folderStore, systemClock } from "@longshore/nodejs";
import { type SampleInput, sampleInputs, sampleRepository } from "@longshore/samples";
import { type MeasuredModel, measuredModel, openEngine, sampleTensors } from "longshore/measure";

/** A measured model with inputs whose answers are checked for real. */
export interface SceneModel extends MeasuredModel {
  readonly checks: readonly Tensors[];
  /** The files of the checks, in the same order. */
  readonly files: readonly SampleInput[];
}

/** The models that scenes run, measured on this machine, and the engine that really runs them. */
export interface SceneModels {
  readonly engine: Engine;
  readonly models: ReadonlyMap<string, SceneModel>;
  close(): Promise<void>;
}

const images = ["receipt-1", "receipt-2", "receipt-3", "receipt-4", "shelf-1", "shelf-3"].map(
  (name) => `images/${name}.jpg`,
);
/** Files to check answers with, by model; the first two, in the order of their names, are what the scenes ask. */
const inputsOf: Readonly<Record<string, readonly string[]>> = {
  ocr: images,
  "ocr-frame": images,
  anomaly: ["sensor/healthy-1.npy", "sensor/healthy-2.npy", "sensor/drift.npy", "sensor/noise.npy"],
};

/** Takes the profile in the repository where there is one, else measures a small one; a minute or two in all. */
export async function sceneModels(say: (line: string) => void): Promise<SceneModels> {
  const clock = systemClock();
  const call = housekeepingCall("scenes");
  const { engine, close } = openEngine({ store: folderStore(sampleRepository()), tier: "cloud" });
  const folder = mkdtempSync(join(tmpdir(), "longshore-scenes-"));
  const models = new Map<string, SceneModel>();
  try {
    for (const [model, names] of Object.entries(inputsOf)) {
      const files = sampleInputs().filter(({ file }) => names.includes(file));
      const samples = mkdtempSync(join(folder, `${model}-`));
      for (const { path } of files) copyFileSync(path, join(samples, basename(path)));
      const io = { note: (text: string) => say(`  ${text}`), progress: () => undefined };
      const effort = { samples: 2, rounds: 1, maxCuts: 14 };
      const variants = model === "ocr" ? { variants: ["640", "960"] } : {};
      const measured = await measuredModel({ engine, clock, model, samples, io, effort, ...variants }, call);
      // Inputs are read in the order of the file names.
      const sorted = files.toSorted((a, b) => (basename(a.path) < basename(b.path) ? -1 : 1));
      const knowledge = await engine.describe(model, undefined, call);
      if (!knowledge) throw new LongshoreError("unknown-model", "resolve", `there is no sample ${model}`);
      const checks = await sampleTensors(engine, knowledge.description, samples, call);
      models.set(model, { ...measured, checks, files: sorted });
    }
  } catch (error) {
    await close();
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { engine, models, close };
}
