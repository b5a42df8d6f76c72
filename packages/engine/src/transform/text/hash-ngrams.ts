import { float32Tensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { flag, oneOf, parseParameters, whole } from "../parameters.ts";
import { inputError, specAt, textsAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "hash-ngrams";

const lengthsMessage = "allowed is a list of 1 to 8 lengths from 1 to 16";
const schema = v.strictObject({
  n: v.optional(
    v.pipe(
      v.array(whole(1, 16), lengthsMessage),
      v.minLength(1, lengthsMessage),
      v.maxLength(8, lengthsMessage),
    ),
    [1, 2, 3],
  ),
  buckets: v.optional(whole(1, 1 << 24), 4096),
  lowercase: v.optional(flag(), true),
  form: v.optional(oneOf("NFC", "NFKC", "none"), "NFC"),
  boundaries: v.optional(flag(), true),
  weighting: v.optional(oneOf("count", "log", "presence"), "count"),
  maxCharacters: v.optional(whole(1, 100_000_000), 1_000_000),
  maxElements: v.optional(whole(1, 1 << 28), 1 << 26),
});

type Parameters = v.InferOutput<typeof schema>;

const offsetBasis = 0x811c9dc5;
const prime = 0x01000193;

/** The last step of MurmurHash3 (A. Appleby, 2011): spreads the input over all bits, which FNV's low bits lack. */
function mixed(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Code points of the text, prepared. Under `boundaries` every run of white space becomes one space and the text gets one at
 * both ends, so that beginnings and ends of words are n-grams of their own.
 */
function codePoints(line: string, p: Parameters): Uint32Array {
  let prepared = p.form === "none" ? line : line.normalize(p.form);
  if (p.lowercase) prepared = prepared.toLowerCase();
  if (p.boundaries) prepared = ` ${prepared.replaceAll(/\s+/gu, " ").trim()} `;
  return Uint32Array.from(prepared, (character) => character.codePointAt(0) ?? 0);
}

/** Adds the n-grams of a text to its row. FNV-1a (Fowler, Noll, Vo) over the length and the code points, 3 bytes each. */
function count(points: Uint32Array, row: Float32Array, p: Parameters): void {
  for (const length of p.n) {
    const seed = Math.imul(offsetBasis ^ length, prime);
    for (let begin = 0; begin + length <= points.length; begin++) {
      let hash = seed;
      for (let at = begin; at < begin + length; at++) {
        const point = points[at] as number;
        hash = Math.imul(hash ^ (point & 0xff), prime);
        hash = Math.imul(hash ^ ((point >>> 8) & 0xff), prime);
        hash = Math.imul(hash ^ (point >>> 16), prime);
      }
      const bucket = mixed(hash) % row.length;
      row[bucket] = (row[bucket] as number) + 1;
    }
  }
}

/** Weighs the counts and makes the row of Euclidean length 1; a row of zeros stays so. */
function weigh(row: Float32Array, weighting: Parameters["weighting"]): void {
  let squares = 0;
  for (let index = 0; index < row.length; index++) {
    const seen = row[index] as number;
    const weight = weighting === "log" ? Math.log1p(seen) : weighting === "presence" ? Math.sign(seen) : seen;
    row[index] = weight;
    squares += weight * weight;
  }
  if (squares === 0) return;
  const scale = 1 / Math.sqrt(squares);
  for (let index = 0; index < row.length; index++) row[index] = (row[index] as number) * scale;
}

/**
 * `text` BYTES [n] -> `tensor` FP32 [n, buckets]: how often each character n-gram occurs, hashed into `buckets` (4096) and
 * scaled to Euclidean length 1 ("Feature Hashing for Large Scale Multitask Learning", Weinberger et al., 2009, without its
 * signs). Characters are code points after Unicode normalisation `form` (NFC) and lower-casing; `n` lists the lengths
 * ([1, 2, 3]). The hash is fixed: models trained on it stay valid.
 */
export const hashNgrams: Transform<unknown> = defineTransform({
  name,
  inputs: ["text"],
  outputs: ["tensor"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: (inputs, { buckets }) => [
    { name: "tensor", datatype: "FP32", shape: [specAt(inputs, "text", "BYTES", 1).shape[0] ?? 1, buckets] },
  ],
  run(inputs, p) {
    const lines = textsAt(inputs, "text", name);
    const characters = lines.reduce((sum, line) => sum + line.length, 0);
    if (characters > p.maxCharacters || lines.length * p.buckets > p.maxElements) {
      throw inputError(
        name,
        `text has ${lines.length} elements of ${characters} characters; allowed are ${p.maxCharacters} characters and ${p.maxElements} values`,
      );
    }
    const out = new Float32Array(lines.length * p.buckets);
    for (const [index, line] of lines.entries()) {
      const row = out.subarray(index * p.buckets, (index + 1) * p.buckets);
      count(codePoints(line, p), row, p);
      weigh(row, p.weighting);
    }
    return tensorsOf(float32Tensor("tensor", [lines.length, p.buckets], out));
  },
});
