/**
 * Measures what the sample models are worth and writes `measured.json`: `node samples/dist/measure.js`, by hand, after a
 * model or an input changed; about two minutes. The accuracies in `ocr` and `ocr-frame`'s model.yaml are these.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "./folders.ts";
import { sampleInputs } from "./inputs.ts";
import { type Measured, measureAnomaly, measureLanguage, measureOcr, speechFrames } from "./measured.ts";
import { sampleEngine } from "./sample-engine.ts";

const samples = sampleEngine();
const inputs = sampleInputs();
const sound = inputs.find(({ kind }) => kind === "sound");
if (!sound) throw new Error("there is no sample sound");
const language: Record<string, number> = {};
for (const length of [20, 40, 80, 160]) language[String(length)] = await measureLanguage(samples, length, 50);
console.log(language);
const anomaly = await measureAnomaly(samples, 400);
console.log(anomaly);
const voice = {
  frames: sound.truth.frames ?? 0,
  kept: await speechFrames(samples, sound, true),
  dropped: await speechFrames(samples, sound, false),
};
console.log(voice);
const ocr = await measureOcr(
  samples,
  inputs.filter(({ kind }) => kind === "image"),
);
console.log(ocr);
const measured: Measured = { ocr, language, anomaly, voice };
writeFileSync(join(packageFolder, "measured.json"), `${JSON.stringify(measured, null, 2)}\n`);
await samples.close();
