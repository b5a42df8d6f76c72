/**
 * Trains the language identifier on the Universal Declaration of Human Rights: `node samples/dist/train-language.js`, by
 * hand, about two minutes. The same seed gives the same bytes. `measure.ts` tells what it is worth.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import { modelsFolder } from "./folders.ts";
import { corpusOf, languages } from "./language/corpus.ts";
import { languageModel, quantisedWeights } from "./language/graph.ts";
import { trainLanguage } from "./language/train.ts";

const seed = 20_261_124;
const steps = 200_000;

const corpora = languages.map(([label, file]) => corpusOf(label, file));
console.log(`${corpora.length} languages, seed ${seed}, ${steps} steps`);
const trained = await trainLanguage(corpora, steps, seededRandom(seed), (step, loss) => {
  console.log(`step ${step}: loss ${loss.toFixed(4)}`);
});
const folder = join(modelsFolder, "language-scores");
mkdirSync(join(folder, "1"), { recursive: true });
writeFileSync(join(folder, "1", "model.onnx"), languageModel(quantisedWeights(trained)));
writeFileSync(
  join(modelsFolder, "language", "labels.txt"),
  `${languages.map(([label]) => label).join("\n")}\n`,
);
