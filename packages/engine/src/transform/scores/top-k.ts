import { bytesTensor, float32Tensor, numericTensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { parseParameters, texts, whole } from "../parameters.ts";
import { floatsAt, inputError, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "top-k";

const schema = v.strictObject({
  k: v.optional(whole(1, 10_000), 5),
  labels: v.optional(texts(1_000_000)),
});

/** Rows and classes of a score tensor: [c], [n, c], or [n, c, 1, 1] as classifiers with pooled ends give it. */
function rowsAndClasses(shape: readonly number[]): readonly [number, number] {
  const trimmed = [...shape];
  while (trimmed.length > 2 && trimmed.at(-1) === 1) trimmed.pop();
  if (trimmed.length === 1) return [1, trimmed[0] ?? 0];
  if (trimmed.length === 2) return [trimmed[0] ?? 0, trimmed[1] ?? 0];
  throw inputError(name, `scores is [${shape.join(", ")}]; [classes] or [n, classes] is needed`);
}

/** Positions of the k largest of `scores`, largest first; equal scores in the order of classes, NaN last. */
function largest(scores: Float32Array, k: number): readonly number[] {
  const best: number[] = [];
  const key = (index: number): number => {
    const score = scores[index] as number;
    return Number.isNaN(score) ? -Infinity : score;
  };
  for (let index = 0; index < scores.length; index++) {
    if (best.length === k && key(index) <= key(best[k - 1] as number)) continue;
    let at = best.length;
    while (at > 0 && key(best[at - 1] as number) < key(index)) at--;
    best.splice(at, 0, index);
    if (best.length > k) best.pop();
  }
  return best;
}

/**
 * `scores` FP32 [c] or [n, c] -> `labels` BYTES [n, k], `scores` FP32 [n, k], `classes` INT32 [n, k], best first. `k` (default 5)
 * is at most c. Without `labels` the class number stands for the label.
 */
export const topK: Transform<unknown> = defineTransform({
  name,
  inputs: ["scores"],
  outputs: ["labels", "scores", "classes"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs, { k }) {
    const { shape } = specAt(inputs, "scores", "FP32", 2);
    const [rows, classes] = shape.length === 0 ? [-1, -1] : rowsAndClasses(shape);
    const out = [rows, classes === -1 ? -1 : Math.min(k, classes)];
    return [
      { name: "labels", datatype: "BYTES", shape: out },
      { name: "scores", datatype: "FP32", shape: out },
      { name: "classes", datatype: "INT32", shape: out },
    ];
  },
  run(inputs, { k, labels }) {
    const { values, shape } = floatsAt(inputs, "scores", name);
    const [rows, classes] = rowsAndClasses(shape);
    if (labels && labels.length < classes) {
      throw inputError(name, `scores has ${classes} classes but there are only ${labels.length} labels`);
    }
    const kept = Math.min(k, classes);
    const outShape = [rows, kept];
    const words: string[] = [];
    const scores = new Float32Array(rows * kept);
    const found = new Int32Array(rows * kept);
    for (let row = 0; row < rows; row++) {
      const line = values.subarray(row * classes, (row + 1) * classes);
      for (const [rank, index] of largest(line, kept).entries()) {
        words.push(labels?.[index] ?? String(index));
        scores[row * kept + rank] = line[index] as number;
        found[row * kept + rank] = index;
      }
    }
    return tensorsOf(
      bytesTensor("labels", words, outShape),
      float32Tensor("scores", outShape, scores),
      numericTensor("classes", "INT32", outShape, found),
    );
  },
});
