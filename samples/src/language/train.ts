import { bytesTensor, float32View, type Random, tensorsOf } from "@longshore/core";
import { pureTransforms } from "@longshore/engine";
import type { Corpus } from "./corpus.ts";

/** Parameters of `hash-ngrams` in front of the model; the pipeline's model.yaml says the same. */
export const features: {
  readonly buckets: number;
  readonly n: readonly number[];
  readonly weighting: "log";
} = {
  buckets: 4096,
  n: [1, 2, 3],
  weighting: "log",
};

/** The n-grams of a text that occur, as bucket and weight: the pipeline's own transform. */
export interface Sparse {
  readonly buckets: Int32Array;
  readonly weights: Float32Array;
}

/** Makes the function from text to features, parameters parsed once. */
export function featurizer(): (text: string) => Promise<Sparse> {
  const transform = pureTransforms().find(({ name }) => name === "hash-ngrams");
  if (!transform) throw new Error("the engine has no hash-ngrams transform");
  const parameters = transform.parse(features);
  return async (text) => {
    const out = await transform.run(tensorsOf(bytesTensor("text", [text])), parameters);
    const tensor = out.get("tensor");
    if (!tensor) throw new Error("hash-ngrams gave no tensor");
    const row = float32View(tensor);
    const buckets = Int32Array.from(row.keys()).filter((bucket) => row[bucket] !== 0);
    return { buckets, weights: Float32Array.from(buckets, (bucket) => row[bucket] ?? 0) };
  };
}

/** A piece of a text of about `length` characters, from the beginning of a word where there are words. */
export function snippet(random: Random, text: string, length: number): string {
  const characters = Array.from(text);
  if (characters.length <= length) return text;
  let begin = Math.floor(random.next() * (characters.length - length + 1));
  for (let back = 0; back < 20 && begin > 0 && characters[begin - 1] !== " "; back++) begin--;
  return characters.slice(begin, begin + length).join("");
}

function drawn<T>(random: Random, list: readonly T[], weightOf: (one: T) => number): T | undefined {
  let left = random.next() * list.reduce((sum, one) => sum + weightOf(one), 0);
  return list.find((one) => (left -= weightOf(one)) < 0) ?? list.at(-1);
}

/** Weights `[buckets, languages]` and bias `[languages]` of a softmax regression. */
export interface LanguageWeights {
  readonly weights: Float64Array;
  readonly bias: Float64Array;
}

/** Scores before the softmax. */
export function logits({ weights, bias }: LanguageWeights, { buckets, weights: seen }: Sparse): Float64Array {
  const out = bias.slice();
  const count = bias.length;
  for (const [index, bucket] of buckets.entries()) {
    const weight = seen[index] ?? 0;
    const row = bucket * count;
    for (let at = 0; at < count; at++) out[at] = (out[at] ?? 0) + weight * (weights[row + at] ?? 0);
  }
  return out;
}

/**
 * Softmax regression by stochastic gradient descent with AdaGrad's step sizes (Duchi et al., 2011), on pieces of 12 to 200
 * characters of the training paragraphs, lengths drawn evenly on a logarithmic scale. Every language is drawn equally often.
 * The same corpora, random source and step count give the same weights.
 */
export async function trainLanguage(
  corpora: readonly Corpus[],
  steps: number,
  random: Random,
  progress: (step: number, loss: number) => void = () => undefined,
): Promise<LanguageWeights> {
  const count = corpora.length;
  const weights = new Float64Array(features.buckets * count);
  const squares = new Float64Array(features.buckets * count).fill(1e-3);
  const bias = new Float64Array(count);
  const featuresOf = featurizer();
  const rate = 1;
  let loss = 0;
  for (let step = 1; step <= steps; step++) {
    const language = Math.floor(random.next() * count);
    const paragraph = drawn(random, corpora[language]?.training ?? [], (text) => text.length) ?? "";
    const length = Math.round(12 * (200 / 12) ** random.next());
    const sparse = await featuresOf(snippet(random, paragraph, length));
    const scores = logits({ weights, bias }, sparse);
    const highest = scores.reduce((most, score) => Math.max(most, score), -Infinity);
    const powers = scores.map((score) => Math.exp(score - highest));
    const sum = powers.reduce((total, power) => total + power, 0);
    loss += Math.log(sum) + highest - (scores[language] ?? 0);
    const errors = powers.map((power, at) => power / sum - (at === language ? 1 : 0));
    for (const [index, bucket] of sparse.buckets.entries()) {
      const seen = sparse.weights[index] ?? 0;
      const row = bucket * count;
      for (let at = 0; at < count; at++) {
        const gradient = (errors[at] ?? 0) * seen;
        const square = (squares[row + at] ?? 0) + gradient * gradient;
        squares[row + at] = square;
        weights[row + at] = (weights[row + at] ?? 0) - (rate * gradient) / Math.sqrt(square);
      }
    }
    if (step % 10_000 === 0) {
      progress(step, loss / 10_000);
      loss = 0;
    }
  }
  return { weights, bias };
}
