import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { housekeepingCall } from "@longshore/core";
import type { Engine } from "@longshore/engine";
import { folderStore, systemClock } from "@longshore/nodejs";
import { type SampleInput, sampleInputs, sampleRepository } from "@longshore/samples";
import { type MeasuredModel, measuredModel, openEngine } from "longshore/measure";

/** The models that scenes run, measured on this machine, and the engine that really runs them. */
export interface SceneModels {
  readonly engine: Engine;
  readonly models: ReadonlyMap<string, MeasuredModel & { readonly files: readonly SampleInput[] }>;
  close(): Promise<void>;
}

const inputsOf: Readonly<Record<string, readonly string[]>> = {
  ocr: ["images/receipt-1.jpg", "images/shelf-1.jpg"],
  "ocr-frame": ["images/receipt-1.jpg", "images/shelf-1.jpg"],
  anomaly: ["sensor/healthy-1.npy", "sensor/drift.npy"],
};

/** Takes the profile in the repository where there is one, else measures a small one; a minute or two in all. */
export async function sceneModels(say: (line: string) => void): Promise<SceneModels> {
  const clock = systemClock();
  const call = housekeepingCall("scenes");
  const { engine, close } = openEngine({ store: folderStore(sampleRepository()), tier: "cloud" });
  const folder = mkdtempSync(join(tmpdir(), "longshore-scenes-"));
  const models = new Map<string, MeasuredModel & { readonly files: readonly SampleInput[] }>();
  try {
    for (const [model, names] of Object.entries(inputsOf)) {
      const files = sampleInputs().filter(({ file }) => names.includes(file));
      const samples = mkdtempSync(join(folder, `${model}-`));
      for (const { path } of files) copyFileSync(path, join(samples, basename(path)));
      const io = { note: (text: string) => say(`  ${text}`), progress: () => undefined };
      const effort = { samples: files.length, rounds: 2, maxCuts: 14 };
      const variants = model === "ocr" ? { variants: ["640", "960"] } : {};
      const measured = await measuredModel({ engine, clock, model, samples, io, effort, ...variants }, call);
      // Inputs were read in the order of the file names.
      const sorted = files.toSorted((a, b) => (basename(a.path) < basename(b.path) ? -1 : 1));
      models.set(model, { ...measured, files: sorted });
    }
  } catch (error) {
    await close();
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { engine, models, close };
}
