import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import {
  type BucketProfile,
  type Call,
  type CodingProfile,
  type CutProfile,
  endCut,
  estimateOf,
  housekeepingCall,
  LongshoreError,
  startCut,
  type Tensors,
  type VariantProfile,
} from "@longshore/core";
import type { Engine } from "@longshore/engine";
import { wholeSegment } from "@longshore/lab";
import { folderStore, systemClock } from "@longshore/nodejs";
import { type SampleInput, sampleInputs, sampleRepository } from "@longshore/samples";
import {
  answerAgreement,
  type MeasuredModel,
  measuredModel,
  openEngine,
  sampleTensors,
} from "longshore/measure";
import { runPlan, runWhole } from "./scene-runs.ts";

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

/** Measures small profiles here, whatever the repository holds: speeds are relative to this machine as it is now. */
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
      const effort = { samples: model === "anomaly" ? 2 : 1, rounds: 2, maxCuts: 14, everyCodec: true };
      const found = await measuredModel({ engine, clock, model, samples, io, effort, fresh: true }, call);
      const others = await withOtherVariants(engine, found, call);
      // Inputs are read in the order of the file names.
      const sorted = files.toSorted((a, b) => (basename(a.path) < basename(b.path) ? -1 : 1));
      const knowledge = await engine.describe(model, undefined, call);
      if (!knowledge) throw new LongshoreError("unknown-model", "resolve", `there is no sample ${model}`);
      const checks = await sampleTensors(engine, knowledge.description, samples, call);
      say(`  comparing answers of ${model} in every codec on ${checks.length} inputs`);
      const measured = await withFirmAgreement(engine, others, checks);
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

/** Runs of the whole of a variant that nobody measured yet; its cuts stay out, which is all that an endpoint needs that holds it whole. */
const wholeRuns = 3;

/** The model with every variant that the profile leaves out, measured in one piece. */
async function withOtherVariants(
  engine: Engine,
  measured: MeasuredModel,
  call: Call,
): Promise<MeasuredModel> {
  const clock = systemClock();
  const { simulated, inputs } = measured;
  const { description, profile } = simulated;
  const variants: VariantProfile[] = [...profile.variants];
  const known = profile.variants[0]?.buckets[0];
  const ends = known?.cuts.filter(({ cut }) => cut.id === startCut || cut.id === endCut);
  for (const { name, agreementRatio, accuracyRatio } of description.variants) {
    if (!known || !ends || variants.some(({ variant }) => variant === name)) continue;
    const tookMs: number[] = [];
    for (let run = 0; run <= wholeRuns; run++) {
      for (const sample of inputs) {
        const startedMs = clock.nowMs();
        await engine.infer({ segment: wholeSegment(description, name), inputs: sample, codecs: {} }, call);
        // The first round loads and warms.
        if (run > 0) tookMs.push(clock.nowMs() - startedMs);
      }
    }
    const times = [...estimateOf(tookMs, { observedAtMs: 0, origin: "measured" }).values];
    const cuts = ends.map((one) => ({
      ...one,
      headMs: one.cut.id === endCut ? times : [0],
      tailMs: one.cut.id === startCut ? times : [0],
    }));
    const bucket = { ...known, cuts, runs: tookMs.length };
    variants.push({
      variant: name,
      agreementRatio,
      ...(accuracyRatio === undefined ? {} : { accuracyRatio }),
      buckets: [bucket],
    });
  }
  return { ...measured, simulated: { ...simulated, profile: { ...profile, variants } } };
}

/** A coding that leaves more of the raw bytes than this is not worth its time on any link. */
export const worthBytesRatio = 0.8;

/**
 * The agreement of codings on more inputs than times need: on one or two images a codec that harms one line in ten looks
 * perfect. Codings that are out already, and those that hardly save anything, keep what they have.
 */
async function withFirmAgreement(
  engine: Engine,
  measured: MeasuredModel,
  checks: readonly Tensors[],
): Promise<MeasuredModel> {
  const { simulated } = measured;
  const { description, profile } = simulated;
  const variants: VariantProfile[] = [];
  for (const one of profile.variants) {
    const whole = wholeSegment(description, one.variant);
    const alone =
      one === profile.variants[0]
        ? await Promise.all(checks.map((inputs) => runWhole(engine, whole, inputs)))
        : [];
    const firm = async (cut: string, coding: CodingProfile, rawBytes: number): Promise<CodingProfile> => {
      if (
        alone.length === 0 ||
        coding.lossless ||
        coding.agreementRatio < 0.98 ||
        coding.bytes > worthBytesRatio * rawBytes ||
        cut === endCut
      )
        return coding;
      let sum = 0;
      for (const [index, inputs] of checks.entries()) {
        const { outputs } = await runPlan(
          engine,
          whole,
          { variant: one.variant, cut, codecs: coding.codecs },
          inputs,
        );
        sum += answerAgreement(outputs, alone[index] ?? new Map());
      }
      return { ...coding, agreementRatio: sum / checks.length };
    };
    const buckets: BucketProfile[] = [];
    for (const bucket of one.buckets) {
      const cuts: CutProfile[] = [];
      for (const cut of bucket.cuts) {
        const codings: CodingProfile[] = [];
        for (const coding of cut.codings)
          codings.push(await firm(cut.cut.id, coding, cut.codings[0]?.bytes ?? 0));
        cuts.push({ ...cut, codings });
      }
      buckets.push({ ...bucket, cuts });
    }
    variants.push({ ...one, buckets });
  }
  return { ...measured, simulated: { ...simulated, profile: { ...profile, variants } } };
}
