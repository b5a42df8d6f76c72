import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  bytesTensor,
  float32Tensor,
  float32View,
  numericTensor,
  numericView,
  seededRandom,
  type SequencePosition,
  type Tensors,
  tensorsOf,
  textElements,
} from "@longshore/core";
import { channels, faultKinds, heldOutSeed, plant, plantSeed, windowSteps } from "./anomaly/series.ts";
import { packageFolder } from "./folders.ts";
import type { SampleInput } from "./inputs.ts";
import { corpusOf, languages } from "./language/corpus.ts";
import { snippet } from "./language/train.ts";
import { ocrAccuracy } from "./ocr-accuracy.ts";
import type { SampleEngine } from "./sample-engine.ts";

/** The content of `measured.json`: the quality of the sample models, as measure.ts found it. */
export interface Measured {
  /** Character accuracy by variant and image, and how alike the answers of both variants are. */
  readonly ocr: {
    readonly images: Readonly<Record<string, Readonly<Record<string, number>>>>;
    readonly accuracyRatio: Readonly<Record<string, number>>;
    readonly agreementRatio: number;
  };
  /** Share of held-out pieces whose language is found, by their length in characters. */
  readonly language: Readonly<Record<string, number>>;
  readonly anomaly: {
    /** Chance that a window with a fault scores above one without. */
    readonly areaUnderCurve: number;
    readonly areaByKind: Readonly<Record<string, number>>;
    /** Share of faulty windows in which the likeliest kind is the injected one, and the likeliest step lies in it. */
    readonly kindRatio: number;
    readonly placeRatio: number;
    readonly windows: number;
  };
  /** Frames of `goforward.raw` classified as speech with the state kept and with it dropped. */
  readonly voice: { readonly frames: number; readonly kept: number; readonly dropped: number };
}

/** The recorded figures. */
export function recorded(): Measured {
  // Written by measure.ts; the tests measure a part again.
  return JSON.parse(readFileSync(join(packageFolder, "measured.json"), "utf8")) as Measured;
}

/** Lines that a variant of `ocr` reads in an image, those less sure than a half left out as PaddleOCR does. */
export async function readLines(
  samples: SampleEngine,
  image: SampleInput,
  variant: string,
): Promise<readonly string[]> {
  const bytes = new Uint8Array(readFileSync(image.path));
  const outputs = await samples.run("ocr", variant, tensorsOf(bytesTensor("image", [bytes])));
  const confidence = float32View(valueOf(outputs, "confidence"));
  return textElements(valueOf(outputs, "text")).filter((_line, at) => (confidence[at] ?? 0) >= 0.5);
}

/** Both variants on the images: accuracy of each, and agreement of their lines. */
export async function measureOcr(
  samples: SampleEngine,
  images: readonly SampleInput[],
): Promise<Measured["ocr"]> {
  const byImage: Record<string, Record<string, number>> = {};
  const sums: Record<string, number> = { "640": 0, "960": 0 };
  let agreement = 0;
  for (const image of images) {
    const truth = image.truth.lines ?? [];
    const small = await readLines(samples, image, "640");
    const large = await readLines(samples, image, "960");
    byImage[image.file] = {
      "640": rounded(ocrAccuracy(truth, small)),
      "960": rounded(ocrAccuracy(truth, large)),
    };
    sums["640"] = (sums["640"] ?? 0) + ocrAccuracy(truth, small) / images.length;
    sums["960"] = (sums["960"] ?? 0) + ocrAccuracy(truth, large) / images.length;
    agreement += ocrAccuracy(small, large) / images.length;
  }
  const accuracyRatio = Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, rounded(sum)]));
  return { images: byImage, accuracyRatio, agreementRatio: rounded(agreement) };
}

/** Share of pieces of `length` characters of held-out articles whose language comes first, `each` pieces a language. */
export async function measureLanguage(samples: SampleEngine, length: number, each: number): Promise<number> {
  const random = seededRandom(length);
  let right = 0;
  for (const [label, file] of languages) {
    const { heldOut } = corpusOf(label, file);
    const long = heldOut.filter((text) => Array.from(text).length >= length);
    const texts = long.length > 0 ? long : [heldOut.join(" ")];
    const pieces = Array.from({ length: each }, () =>
      snippet(random, texts[Math.floor(random.next() * texts.length)] ?? "", length),
    );
    const outputs = await samples.run("language", "", tensorsOf(bytesTensor("text", pieces)));
    const labels = textElements(valueOf(outputs, "labels"));
    right += pieces.filter((_piece, at) => labels[at * 3] === label).length;
  }
  return rounded(right / (each * languages.length));
}

/** The detector on `windows` held-out windows of the plant it was trained on, every other one with a fault. */
export async function measureAnomaly(samples: SampleEngine, windows: number): Promise<Measured["anomaly"]> {
  const source = plant(plantSeed);
  const random = seededRandom(heldOutSeed);
  const healthy: number[] = [];
  const faulty: { readonly kind: string; readonly score: number }[] = [];
  let [kinds, places] = [0, 0];
  for (let index = 0; index < windows; index++) {
    const kind = index % 2 === 1 ? faultKinds[(index >> 1) % faultKinds.length] : undefined;
    const { values, fault } = source.series(random, windowSteps, kind);
    const readings = float32Tensor("readings", [1, channels, windowSteps], values);
    const outputs = await samples.run("anomaly", "", tensorsOf(readings));
    const score = float32View(valueOf(outputs, "score"))[0] ?? 0;
    if (!fault) {
      healthy.push(score);
      continue;
    }
    faulty.push({ kind: fault.kind, score });
    const likely = float32View(valueOf(outputs, "kinds"));
    const at = faultKinds.indexOf(fault.kind);
    if (likely.indexOf(Math.max(...likely)) === at) kinds++;
    const step = Number(numericView(valueOf(outputs, "where"))[at]);
    if (step > fault.from - 16 && step < fault.to + 16) places++;
  }
  const above = (scores: readonly number[]): number =>
    rounded(
      scores
        .flatMap((one) => healthy.map((other) => (one > other ? 1 : one === other ? 0.5 : 0)))
        .reduce((sum: number, win) => sum + win, 0) /
        (scores.length * healthy.length),
    );
  return {
    areaUnderCurve: above(faulty.map(({ score }) => score)),
    areaByKind: Object.fromEntries(
      faultKinds.map((kind) => [
        kind,
        above(faulty.filter((one) => one.kind === kind).map(({ score }) => score)),
      ]),
    ),
    kindRatio: rounded(kinds / faulty.length),
    placeRatio: rounded(places / faulty.length),
    windows,
  };
}

/** A sound of 16-bit samples as the voice detector takes it: frames of 512, each led by the 64 before it. */
function voiceFrames(raw: Uint8Array): readonly Float32Array[] {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const samples = Float32Array.from(
    { length: raw.byteLength >> 1 },
    (_unused, at) => view.getInt16(at * 2, true) / 32_768,
  );
  return Array.from({ length: Math.floor(samples.length / 512) }, (_unused, frame) => {
    const out = new Float32Array(576);
    const begin = frame * 512 - 64;
    out.set(samples.subarray(Math.max(begin, 0), begin + 576), Math.max(-begin, 0));
    return out;
  });
}

/** Frames of a sound classified as speech: one sequence for all, or with `keep` false a new one for each. */
export async function speechFrames(
  samples: SampleEngine,
  sound: SampleInput,
  keep: boolean,
): Promise<number> {
  let speech = 0;
  for (const [step, frame] of voiceFrames(new Uint8Array(readFileSync(sound.path))).entries()) {
    const sequence: SequencePosition = keep
      ? { id: "kept", step, end: false, wantState: false }
      : { id: `frame-${step}`, step: 0, end: true, wantState: false };
    const outputs = await samples.run(
      "vad",
      "",
      tensorsOf(
        float32Tensor("input", [1, 576], frame),
        numericTensor("sr", "INT64", [], BigInt64Array.of(16_000n)),
      ),
      sequence,
    );
    if ((float32View(valueOf(outputs, "output"))[0] ?? 0) > 0.5) speech++;
  }
  return speech;
}

function valueOf(tensors: Tensors, name: string): NonNullable<ReturnType<Tensors["get"]>> {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`the model gave no ${name}`);
  return tensor;
}

function rounded(ratio: number): number {
  return Math.round(ratio * 1e4) / 1e4;
}
