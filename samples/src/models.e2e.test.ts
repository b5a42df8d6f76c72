import {
  bytesTensor,
  float32Tensor,
  float32View,
  numericTensor,
  numericView,
  seededRandom,
  tensorsOf,
  textElements,
} from "@longshore/core";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { detectorModel } from "./anomaly/graph.ts";
import { plant } from "./anomaly/series.ts";
import { trainDetector } from "./anomaly/train.ts";
import { modelsFolder } from "./folders.ts";
import { sampleInputs } from "./inputs.ts";
import { corpusOf, heldOutArticles, languages } from "./language/corpus.ts";
import { languageModel, quantisedWeights } from "./language/graph.ts";
import { featurizer, logits, trainLanguage } from "./language/train.ts";
import {
  measureAnomaly,
  measureLanguage,
  measureOcr,
  readLines,
  recorded,
  speechFrames,
} from "./measured.ts";
import { recommendationSizes } from "./recommendation.ts";
import { sampleEngine, type SampleEngine } from "./sample-engine.ts";

const inputs = sampleInputs();
const named = (file: string) => inputs.find((one) => one.file === file)!;
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

let samples: SampleEngine;
beforeAll(() => {
  samples = sampleEngine();
});
afterAll(() => samples.close());

describe("ocr", () => {
  test("reads the lines of a receipt, also upside down", async () => {
    const lines = await readLines(samples, named("images/receipt-1.jpg"), "640");
    expect(lines).toEqual(expect.arrayContaining(["HARBOUR MARKET", "RYE BREAD", "3.45", "TOTAL"]));
    const turned = await readLines(samples, named("images/receipt-upside-down.jpg"), "640");
    expect(turned).toEqual(expect.arrayContaining(["HARBOUR MARKET", "ORANGE JUICE", "TOTAL"]));
  });

  test("reads as well as is recorded, and small text better at 960", async () => {
    const files = ["images/receipt-3.jpg", "images/shelf-2.jpg", "images/real-book-page.jpg"];
    const measured = await measureOcr(samples, files.map(named));
    const { images } = recorded().ocr;
    for (const file of files) {
      for (const variant of ["640", "960"]) {
        expect(measured.images[file]?.[variant], `${file} ${variant}`).toBeCloseTo(
          images[file]?.[variant] ?? 0,
          1,
        );
      }
    }
    expect(measured.images["images/shelf-2.jpg"]?.["960"]).toBeGreaterThan(
      (measured.images["images/shelf-2.jpg"]?.["640"] ?? 1) + 0.2,
    );
  });

  test("the accuracies in model.yaml are the recorded ones", () => {
    const { images, accuracyRatio, agreementRatio } = recorded().ocr;
    expect(Object.keys(images)).toEqual(
      inputs.filter(({ kind }) => kind === "image").map(({ file }) => file),
    );
    for (const variant of ["640", "960"]) {
      const all = Object.values(images).map((one) => one[variant] ?? 0);
      expect(all.reduce((sum, one) => sum + one, 0) / all.length).toBeCloseTo(accuracyRatio[variant] ?? 0, 3);
      for (const model of ["ocr", "ocr-frame"]) {
        const yaml = readFileSync(join(modelsFolder, model, "model.yaml"), "utf8");
        expect(yaml).toContain(`accuracy: ${accuracyRatio[variant]?.toFixed(3)}`);
        expect(yaml).toContain(`agreement: ${agreementRatio.toFixed(3)}`);
      }
    }
  });

  test("then language: four networks name the language of a page for letters that the recogniser knows", async () => {
    for (const language of ["en", "es", "id", "it", "nl", "sw"]) {
      const image = named(`images/page-${language}.jpg`);
      const bytes = new Uint8Array(readFileSync(image.path));
      const outputs = await samples.run("ocr-language", "", tensorsOf(bytesTensor("image", [bytes])));
      expect(textElements(outputs.get("labels")!)[0]).toBe(language);
      expect(float32View(outputs.get("scores")!)[0]).toBeGreaterThan(0.5);
    }
  });
});

describe("vad", () => {
  test("finds 54 of 87 frames of real speech with its state, and few without", async () => {
    const sound = named("audio/goforward.raw");
    const { voice } = recorded();
    expect(voice).toMatchObject({ frames: 87, kept: 54 });
    expect(await speechFrames(samples, sound, true)).toBe(54);
    expect(await speechFrames(samples, sound, false)).toBe(voice.dropped);
    expect(voice.dropped).toBeLessThan(30);
  });
});

describe("language", () => {
  test("finds the language of everyday sentences, which are not from the text it was trained on", async () => {
    const sentences = inputs.filter(({ kind }) => kind === "text");
    const texts = sentences.map(({ path }) => readFileSync(path, "utf8"));
    const outputs = await samples.run("language", "", tensorsOf(bytesTensor("text", texts)));
    const labels = textElements(outputs.get("labels")!);
    const right = sentences.filter(({ truth }, at) => labels[at * 3] === truth.language).length;
    expect(right).toBeGreaterThanOrEqual(sentences.length - 2);
  });

  test("is as accurate on held-out articles as is recorded", async () => {
    const { language } = recorded();
    for (const length of [20, 80]) {
      expect(await measureLanguage(samples, length, 6)).toBeCloseTo(language[String(length)] ?? 0, 1);
    }
  });

  test("was trained without the held-out articles", () => {
    const english = corpusOf("en", "eng");
    expect(heldOutArticles).toContain(5);
    expect(english.heldOut.some((text) => text.includes("torture"))).toBe(true);
    expect(english.training.some((text) => text.includes("torture"))).toBe(false);
    expect(new Set(languages.map(([label]) => label)).size).toBe(languages.length);
  });

  test("trains to the same bytes from the same seed, and learns", async () => {
    const corpora = (["en", "fi", "sw", "el"] as const).map((label) =>
      corpusOf(label, languages.find(([one]) => one === label)![1]),
    );
    const first = await trainLanguage(corpora, 400, seededRandom(3));
    const second = await trainLanguage(corpora, 400, seededRandom(3));
    expect(sha256(languageModel(quantisedWeights(first)))).toBe(
      sha256(languageModel(quantisedWeights(second))),
    );
    const featuresOf = featurizer();
    for (const [at, { heldOut }] of corpora.entries()) {
      const scores = logits(first, await featuresOf(heldOut.join(" ")));
      expect(scores.indexOf(Math.max(...scores))).toBe(at);
    }
  });
});

describe("anomaly", () => {
  test("separates faulty windows from healthy ones as well as recorded", async () => {
    const { anomaly } = recorded();
    const measured = await measureAnomaly(samples, 60);
    expect(anomaly.areaUnderCurve).toBeGreaterThan(0.95);
    expect(Math.abs(measured.areaUnderCurve - anomaly.areaUnderCurve)).toBeLessThan(0.05);
    expect(Math.abs(measured.placeRatio - anomaly.placeRatio)).toBeLessThan(0.15);
  });

  test("the sample windows are the plant's: faulty ones score above healthy ones", async () => {
    const score = async (file: string): Promise<number> => {
      const bytes = new Uint8Array(readFileSync(named(file).path));
      const header = 10 + new DataView(bytes.buffer).getUint16(8, true);
      const values = new Float32Array(bytes.slice(header).buffer);
      const outputs = await samples.run(
        "anomaly",
        "",
        tensorsOf(float32Tensor("readings", [1, 32, 4096], values)),
      );
      return float32View(outputs.get("score")!)[0] ?? 0;
    };
    const series = inputs.filter(({ kind }) => kind === "series");
    const healthy = await Promise.all(
      series.filter(({ truth }) => truth.fault === null).map(({ file }) => score(file)),
    );
    const faulty = await Promise.all(
      series.filter(({ truth }) => truth.fault).map(({ file }) => score(file)),
    );
    expect(faulty.length).toBe(5);
    expect(Math.min(...faulty)).toBeGreaterThan(Math.max(...healthy));
  });

  test("trains to the same bytes from the same seed", () => {
    const train = () =>
      trainDetector(plant(1), seededRandom(2), { rounds: 4, stretches: 1, steps: 192, rate: 1e-3 });
    const first = sha256(detectorModel(train()));
    expect(sha256(detectorModel(train()))).toBe(first);
    expect(first).not.toBe(sha256(readFileSync(join(modelsFolder, "anomaly", "1", "model.onnx"))));
  });
});

describe("recommendation", () => {
  test("scores candidates, the same for the same request, differently for another user", async () => {
    const request = JSON.parse(readFileSync(named("recommendation/request-1.json").path, "utf8"));
    const whole = (values: readonly number[]) => BigInt64Array.from(values, BigInt);
    const run = async (user: number): Promise<readonly number[]> => {
      const outputs = await samples.run(
        "recommendation",
        "",
        tensorsOf(
          numericTensor("user", "INT64", [1], whole([user])),
          numericTensor("history", "INT64", [1, recommendationSizes.history], whole(request.history[0])),
          float32Tensor("context", [1, recommendationSizes.context], Float32Array.from(request.context[0])),
          numericTensor(
            "candidates",
            "INT64",
            [1, recommendationSizes.candidates],
            whole(request.candidates[0]),
          ),
        ),
      );
      return Array.from(numericView(outputs.get("scores")!), Number);
    };
    const scores = await run(request.user[0]);
    expect(scores.length).toBe(50);
    expect(Math.max(...scores) - Math.min(...scores)).toBeGreaterThan(0.05);
    expect(await run(request.user[0])).toEqual(scores);
    expect(await run(recommendationSizes.users - 1)).not.toEqual(scores);
  });
});
