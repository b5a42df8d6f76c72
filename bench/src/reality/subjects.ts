import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { housekeepingCall, type Profile } from "@longshore/core";
import { folderStore, systemClock } from "@longshore/nodejs";
import { sampleInputs, sampleRepository } from "@longshore/samples";
import { type MeasuredModel, measuredModel, openEngine } from "longshore/measure";

/** A sample model, and how much slower than this machine its device is. */
export interface RealitySubject {
  readonly model: string;
  readonly file: string;
  readonly slowness: number;
  /** Mean time between requests. */
  readonly gapMs: number;
  /** A plan that never changes, replayed beside the offloader: it tells what the network does from what decisions do. */
  readonly control: string;
  readonly links: number;
  /** Links and ways of deciding that are replayed at once: as many as this machine has time for. */
  readonly atOnce: number;
}

/** What is replayed: a model of some milliseconds that can be cut inside, and a pipeline of some hundreds on images. */
export const realitySubjects: readonly RealitySubject[] = [
  {
    model: "anomaly",
    file: "sensor/healthy-1.npy",
    slowness: 60,
    gapMs: 600,
    control: "cut c3, then cloud int8",
    links: 4,
    atOnce: 8,
  },
  {
    model: "ocr-frame",
    file: "images/receipt-1.jpg",
    slowness: 3,
    gapMs: 2500,
    control: "cloud jpeg-85 (640)",
    links: 2,
    // Two replays would wait for each other's runs at the server.
    atOnce: 1,
  },
];

/** Measures each model here and now: what the simulation knows of this machine. */
export async function measureSubjects(
  subjects: readonly RealitySubject[],
  say: (line: string) => void,
): Promise<ReadonlyMap<string, MeasuredModel>> {
  const { engine, close } = openEngine({ store: folderStore(sampleRepository()), tier: "cloud" });
  const clock = systemClock();
  const call = housekeepingCall("reality");
  const folder = mkdtempSync(join(tmpdir(), "longshore-reality-"));
  const found = new Map<string, MeasuredModel>();
  try {
    for (const { model, file } of subjects) {
      const [sample] = sampleInputs().filter((one) => one.file === file);
      if (!sample) throw new Error(`there is no sample input ${file}`);
      const samples = mkdtempSync(join(folder, `${model}-`));
      copyFileSync(sample.path, join(samples, basename(sample.path)));
      const io = { note: (text: string) => say(`  ${text}`), progress: () => undefined };
      const effort = { samples: 1, rounds: 5, maxCuts: 6, everyCodec: true };
      found.set(model, await measuredModel({ engine, clock, model, samples, io, effort, fresh: true }, call));
    }
  } finally {
    await close();
    rmSync(folder, { recursive: true, force: true });
  }
  return found;
}

/** Profiles by model, to lay over the repository of the server and of the device. */
export function profilesOf(measured: ReadonlyMap<string, MeasuredModel>): Readonly<Record<string, Profile>> {
  return Object.fromEntries([...measured].map(([model, { simulated }]) => [model, simulated.profile]));
}
