import { float32Tensor, numericTensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { flag, oneOf, parseParameters, real, whole } from "../parameters.ts";
import { floatsAt, inputError } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "non-maximum-suppression";

const schema = v.strictObject({
  format: v.optional(oneOf("xyxy", "cxcywh"), "xyxy"),
  scoresLayout: v.optional(oneOf("boxes-first", "classes-first"), "boxes-first"),
  minScore: v.optional(real(-1e30, 1e30), 0.25),
  maxOverlap: v.optional(real(0, 1), 0.45),
  perClass: v.optional(flag(), true),
  maxBoxes: v.optional(whole(1, 100_000), 300),
  maxCandidates: v.optional(whole(1, 1_000_000), 10_000),
});

type Parameters = v.InferOutput<typeof schema>;

interface Candidate {
  readonly box: number;
  readonly kind: number;
  readonly score: number;
}

/** Shape without leading axes of size 1, down to `rank`. */
function withoutBatch(shape: readonly number[], rank: number): readonly number[] {
  let axis = 0;
  while (shape.length - axis > rank && shape[axis] === 1) axis++;
  return shape.slice(axis);
}

/** Left, top, right, bottom of each box, as doubles. */
function edges(values: Float32Array, format: Parameters["format"]): Float64Array {
  const out = new Float64Array(values.length);
  for (let at = 0; at < values.length; at += 4) {
    const [a = 0, b = 0, c = 0, d = 0] = values.subarray(at, at + 4);
    if (format === "xyxy") out.set([a, b, c, d], at);
    else out.set([a - c / 2, b - d / 2, a + c / 2, b + d / 2], at);
  }
  return out;
}

/** Area shared by two boxes over the area that they cover; 0 when neither has any. */
export function overlapRatio(boxes: Float64Array, a: number, b: number): number {
  const [left1 = 0, top1 = 0, right1 = 0, bottom1 = 0] = boxes.subarray(a * 4, a * 4 + 4);
  const [left2 = 0, top2 = 0, right2 = 0, bottom2 = 0] = boxes.subarray(b * 4, b * 4 + 4);
  const wide = Math.min(right1, right2) - Math.max(left1, left2);
  const tall = Math.min(bottom1, bottom2) - Math.max(top1, top2);
  if (wide <= 0 || tall <= 0) return 0;
  const shared = wide * tall;
  return shared / ((right1 - left1) * (bottom1 - top1) + (right2 - left2) * (bottom2 - top2) - shared);
}

/** Every class of every box that scores enough, best first; ties by box, then class, so that the order is total. */
function candidates(scores: Float32Array, boxes: number, kinds: number, p: Parameters): readonly Candidate[] {
  const boxesFirst = p.scoresLayout === "boxes-first";
  const found: Candidate[] = [];
  for (let box = 0; box < boxes; box++) {
    for (let kind = 0; kind < kinds; kind++) {
      const score = scores[boxesFirst ? box * kinds + kind : kind * boxes + box] as number;
      if (score >= p.minScore) found.push({ box, kind, score });
    }
  }
  found.sort((a, b) => b.score - a.score || a.box - b.box || a.kind - b.kind);
  return found.slice(0, p.maxCandidates);
}

function kept(boxes: Float64Array, sorted: readonly Candidate[], p: Parameters): readonly Candidate[] {
  const winners: Candidate[] = [];
  for (const candidate of sorted) {
    if (winners.length === p.maxBoxes) break;
    const covered = winners.some(
      (winner) =>
        (!p.perClass || winner.kind === candidate.kind) &&
        overlapRatio(boxes, winner.box, candidate.box) > p.maxOverlap,
    );
    if (!covered) winners.push(candidate);
  }
  return winners;
}

/**
 * `boxes` FP32 [n, 4] and `scores` FP32 [n] or [n, classes] (leading axes of size 1 are dropped; `scoresLayout: classes-first`
 * for [classes, n]) -> `boxes` FP32 [m, 4] left, top, right, bottom; `scores` FP32 [m]; `classes` INT32 [m], best first. Greedy:
 * a box goes when a better one (of its class, if `perClass`) overlaps it by more than `maxOverlap` (0.45). `format` of the
 * boxes that come: `xyxy` or `cxcywh`. `minScore` 0.25, at most `maxBoxes` 300 from the best `maxCandidates` 10,000.
 */
export const nonMaximumSuppression: Transform<unknown> = defineTransform({
  name,
  inputs: ["boxes", "scores"],
  outputs: ["boxes", "scores", "classes"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: () => [
    { name: "boxes", datatype: "FP32", shape: [-1, 4] },
    { name: "scores", datatype: "FP32", shape: [-1] },
    { name: "classes", datatype: "INT32", shape: [-1] },
  ],
  run(inputs, p) {
    const given = floatsAt(inputs, "boxes", name);
    const [count = 0, four] = withoutBatch(given.shape, 2);
    const { values: scores, shape } = floatsAt(inputs, "scores", name);
    const kinds = count === 0 ? 0 : scores.length / count;
    if (four !== 4 || withoutBatch(given.shape, 2).length !== 2 || !Number.isInteger(kinds)) {
      throw inputError(
        name,
        `boxes is [${given.shape.join(", ")}] and scores [${shape.join(", ")}]; [n, 4] and [n, classes] are needed`,
      );
    }
    const scored = withoutBatch(shape, 2);
    const boxAxis = p.scoresLayout === "boxes-first" || scored.length === 1 ? 0 : scored.length - 1;
    if (count > 0 && scored.length > 0 && kinds > 1 && scored[boxAxis] !== count) {
      throw inputError(
        name,
        `scores is [${shape.join(", ")}], which is not ${p.scoresLayout} for ${count} boxes`,
      );
    }
    const boxes = edges(given.values, p.format);
    const winners = kept(boxes, candidates(scores, count, kinds, p), p);
    const out = new Float32Array(winners.length * 4);
    for (const [index, { box }] of winners.entries())
      out.set(boxes.subarray(box * 4, box * 4 + 4), index * 4);
    return tensorsOf(
      float32Tensor("boxes", [winners.length, 4], out),
      float32Tensor(
        "scores",
        [winners.length],
        Float32Array.from(winners, ({ score }) => score),
      ),
      numericTensor(
        "classes",
        "INT32",
        [winners.length],
        Int32Array.from(winners, ({ kind }) => kind),
      ),
    );
  },
});
