import { bytesTensor, float32Tensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { flag, parseParameters, text, texts, whole } from "../parameters.ts";
import { floatsAt, inputError, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "ctc-decode";

const schema = v.pipe(
  v.strictObject({
    characters: v.union([text(1_000_000), texts(1_000_000)], "allowed is a text or a list of texts"),
    blank: v.optional(whole(0, 1_000_000), 0),
    trailingSpace: v.optional(flag(), false),
    softmax: v.optional(flag(), false),
  }),
  v.transform(({ characters, blank, trailingSpace, softmax }) => {
    const words = Array.from(characters);
    if (trailingSpace) words.push(" ");
    words.splice(blank, 0, "");
    return { words, blank, softmax };
  }),
);

/** The best class of one time step, and its share of the exponentials when the scores are not yet probabilities. */
function best(step: Float32Array, softmax: boolean): readonly [number, number] {
  let winner = 0;
  let most = -Infinity;
  for (let index = 0; index < step.length; index++) {
    const score = step[index] as number;
    if (score > most) {
      most = score;
      winner = index;
    }
  }
  if (!softmax) return [winner, most];
  let sum = 0;
  for (let index = 0; index < step.length; index++) sum += Math.exp((step[index] as number) - most);
  return [winner, 1 / sum];
}

/**
 * `logits` FP32 [n, t, c] (or [t, c]) -> `text` BYTES [n] and `confidence` FP32 [n]. Greedy decoding of connectionist temporal
 * classification (Graves et al., 2006): the best class of each step, repeats collapsed, blanks dropped. Class i is the i-th
 * of `characters` (a text, one code point each, or a list), with `blank` (default 0) put in between and, for PaddleOCR's key
 * files, a space at the end under `trailingSpace`. Confidence is the mean probability of the steps that gave a character, 0
 * without any; under `softmax` the scores are made probabilities first.
 */
export const ctcDecode: Transform<unknown> = defineTransform({
  name,
  inputs: ["logits"],
  outputs: ["text", "confidence"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs) {
    const { shape } = specAt(inputs, "logits", "FP32", 3);
    const rows = shape.length === 3 ? (shape[0] ?? -1) : 1;
    return [
      { name: "text", datatype: "BYTES", shape: [rows] },
      { name: "confidence", datatype: "FP32", shape: [rows] },
    ];
  },
  run(inputs, { words, blank, softmax }) {
    const { values, shape } = floatsAt(inputs, "logits", name);
    const [rows = 0, steps = 0, classes = 0] = shape.length === 2 ? [1, ...shape] : shape;
    if ((shape.length !== 2 && shape.length !== 3) || classes !== words.length) {
      throw inputError(
        name,
        `logits is [${shape.join(", ")}]; [n, steps, ${words.length}] goes with the characters and the blank`,
      );
    }
    const lines: string[] = [];
    const confidence = new Float32Array(rows);
    for (let row = 0; row < rows; row++) {
      let line = "";
      let last = -1;
      let count = 0;
      let sum = 0;
      for (let step = 0; step < steps; step++) {
        const at = (row * steps + step) * classes;
        const [winner, probability] = best(values.subarray(at, at + classes), softmax);
        if (winner !== last && winner !== blank) {
          line += words[winner] ?? "";
          sum += probability;
          count++;
        }
        last = winner;
      }
      lines.push(line);
      confidence[row] = count === 0 ? 0 : sum / count;
    }
    return tensorsOf(bytesTensor("text", lines), float32Tensor("confidence", [rows], confidence));
  },
});
