import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Profile } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { withSeededWeights } from "@longshore/graph";
import type { SimulatedModel } from "@longshore/lab";
import { folderStore, systemClock } from "@longshore/nodejs";
import { sampleInputs, sampleRepository } from "@longshore/samples";
import { type Effort, type MeasuredModel, measuredModel, openEngine, wholeMs } from "longshore/measure";
import type { BenchContext } from "./harness.ts";

/** A sample model, and the sample input that it is measured on. */
export interface MeasuredSample {
  readonly model: string;
  readonly file: string;
  /** The effort of its measurement, if it differs from the others. */
  readonly effort?: Partial<Effort>;
}

/** Mean time of a run of the whole model on the machine of its profile, in milliseconds. */
export function wholeRunMs({ profile }: SimulatedModel): number {
  return wholeMs(profile.variants[0]) ?? NaN;
}

/** Measures each model here and now, with at most this many cuts inside. */
export async function measureSamples(
  subjects: readonly MeasuredSample[],
  maxCuts: number,
  say: (line: string) => void,
): Promise<ReadonlyMap<string, MeasuredModel>> {
  const { engine, close } = openEngine({ store: folderStore(sampleRepository()), tier: "cloud" });
  const clock = systemClock();
  const call = housekeepingCall("measure");
  const folder = mkdtempSync(join(tmpdir(), "longshore-measure-"));
  const found = new Map<string, MeasuredModel>();
  try {
    for (const { model, file, effort } of subjects) {
      const sample = sampleInputs().find((one) => one.file === file);
      if (!sample) throw new Error(`there is no sample input ${file}`);
      const samples = mkdtempSync(join(folder, `${model}-`));
      copyFileSync(sample.path, join(samples, basename(sample.path)));
      const io = { note: (text: string) => say(`  ${text}`), progress: () => undefined };
      const much = { samples: 1, rounds: 5, maxCuts, everyCodec: true, ...effort };
      found.set(
        model,
        await measuredModel({ engine, clock, model, samples, io, effort: much, fresh: true }, call),
      );
    }
  } finally {
    await close();
    rmSync(folder, { recursive: true, force: true });
  }
  return found;
}

/** Profiles by model, to lay over the repository of a server and of a device. */
export function profilesOf(measured: ReadonlyMap<string, MeasuredModel>): Readonly<Record<string, Profile>> {
  return Object.fromEntries([...measured].map(([model, { simulated }]) => [model, simulated.profile]));
}

/** Puts a published network with seeded weights into a repository and measures it there; undefined without data. */
export async function measurePublished(
  { data, seed, say }: Pick<BenchContext, "data" | "seed" | "say">,
  repository: string,
  name: string,
  effort: Effort,
): Promise<MeasuredModel | undefined> {
  if (data === undefined) return undefined;
  const version = join(repository, name, "1");
  mkdirSync(version, { recursive: true });
  const file = readFileSync(join(data, `models/light/light_${name}.onnx`));
  writeFileSync(join(version, "model.onnx"), withSeededWeights(new Uint8Array(file), seed));
  const { engine, close } = openEngine({ store: folderStore(repository), tier: "cloud" });
  try {
    const io = { note: (text: string) => say(`  ${text}`), progress: () => undefined };
    const measured = await measuredModel(
      { engine, clock: systemClock(), model: name, samples: undefined, io, effort, fresh: true },
      housekeepingCall("measure"),
    );
    writeFileSync(join(version, "profile.json"), JSON.stringify(measured.simulated.profile));
    return measured;
  } finally {
    await close();
  }
}
