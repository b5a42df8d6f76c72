/**
 * Trains the detector of the anomaly sample on synthetic sensor series: `node samples/dist/train-anomaly.js`, by hand, a few
 * minutes. The same seed gives the same bytes. `measure.ts` tells what it is worth.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import { detectorModel } from "./anomaly/graph.ts";
import { plant, plantSeed, trainingSeed } from "./anomaly/series.ts";
import { trainDetector } from "./anomaly/train.ts";
import { modelsFolder } from "./folders.ts";

const rounds = Number(process.argv[2] ?? 1000);
const beganMs = performance.now();
const detector = trainDetector(plant(plantSeed), seededRandom(trainingSeed), {
  rounds,
  stretches: 4,
  steps: 384,
  rate: 1e-3,
  progress(round, loss) {
    const seconds = (performance.now() - beganMs) / 1000;
    console.log(`round ${round} of ${rounds}: loss ${loss.toFixed(4)}, ${seconds.toFixed(0)} s`);
  },
});
const folder = join(modelsFolder, "anomaly", "1");
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "model.onnx"), detectorModel(detector));
