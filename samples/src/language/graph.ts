import { graphBuilder, writeModel } from "@longshore/graph";
import { features, type LanguageWeights } from "./train.ts";

/** Weights as 8-bit numbers with one scale for each language: a quarter of the size, and what the file holds. */
export interface LanguageQuantised {
  readonly weights: Int8Array;
  readonly scales: Float32Array;
  readonly bias: Float32Array;
}

/** Rounds each language's weights to 127 steps of its largest. */
export function quantisedWeights({ weights, bias }: LanguageWeights): LanguageQuantised {
  const count = bias.length;
  const scales = new Float32Array(count);
  for (let at = 0; at < weights.length; at++) {
    const language = at % count;
    scales[language] = Math.max(scales[language] ?? 0, Math.abs(weights[at] ?? 0) / 127);
  }
  const rounded = Int8Array.from(weights, (weight, at) => Math.round(weight / (scales[at % count] || 1)));
  return { weights: rounded, scales, bias: Float32Array.from(bias) };
}

/** The identifier as ONNX: `ngrams` FP32 [batch, buckets] to `scores` FP32 [batch, languages], a softmax. */
export function languageModel({ weights, scales, bias }: LanguageQuantised): Uint8Array {
  const count = bias.length;
  const build = graphBuilder();
  const ngrams = build.input("ngrams", "FP32", ["batch", features.buckets]);
  const table = build.weights("weights", "INT8", [features.buckets, count], weights);
  const steps = build.weights("scales", "FP32", [count], scales);
  const zero = build.weights("zero_points", "INT8", [count], new Int8Array(count));
  const real = build.node("DequantizeLinear", [table, steps, zero], { attributes: { axis: { int: 1 } } });
  const sums = build.node("MatMul", [ngrams, real]);
  const shifted = build.node("Add", [sums, build.weights("bias", "FP32", [count], bias)]);
  build.node("Softmax", [shifted], { attributes: { axis: { int: 1 } }, outputs: ["scores"] });
  build.output("scores", "FP32", ["batch", count]);
  return writeModel(build.model({ name: "language-scores" }));
}
