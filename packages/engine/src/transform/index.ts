import { LongshoreError } from "@longshore/core";
import { repeat } from "./answers/repeat.ts";
import { centreCrop } from "./image/centre-crop.ts";
import { cropImage } from "./image/crop-image.ts";
import { normaliseImage } from "./image/normalise-image.ts";
import { resizeImage } from "./image/resize-image.ts";
import { scaleBoxes } from "./image/scale-boxes.ts";
import { turnUpright } from "./image/turn-upright.ts";
import { cast } from "./scores/cast.ts";
import { flatten } from "./scores/flatten.ts";
import { layout } from "./scores/layout.ts";
import { nonMaximumSuppression } from "./scores/non-maximum-suppression.ts";
import { softmax } from "./scores/softmax.ts";
import { threshold } from "./scores/threshold.ts";
import { topK } from "./scores/top-k.ts";
import { decodeWav } from "./sound/decode-wav.ts";
import { frameAudio } from "./sound/frame-audio.ts";
import { ctcDecode } from "./text/ctc-decode.ts";
import { hashNgrams } from "./text/hash-ngrams.ts";
import { joinLines } from "./text/join-lines.ts";
import { joinText } from "./text/join-text.ts";
import { textBoxes } from "./text/text-boxes.ts";
import { tokenise } from "./text/tokenise.ts";
import type { Transform, TransformSet } from "./transform.ts";

export { defineTransform } from "./define.ts";
export * as parameters from "./parameters.ts";
export { blobAt, inputError } from "./ports.ts";
export { imageSpec, type Pixels, pixelsAt, pixelsTensor } from "./pixels.ts";
export type { AnswerSurroundings, Transform, TransformSet } from "./transform.ts";

/** All transforms that need nothing but web-platform globals. */
export function pureTransforms(): readonly Transform<unknown>[] {
  return [
    cast,
    centreCrop,
    cropImage,
    ctcDecode,
    decodeWav,
    flatten,
    frameAudio,
    hashNgrams,
    joinLines,
    joinText,
    layout,
    nonMaximumSuppression,
    normaliseImage,
    repeat,
    resizeImage,
    scaleBoxes,
    softmax,
    textBoxes,
    threshold,
    tokenise,
    topK,
    turnUpright,
  ];
}

/** Transforms by name. Throws `invalid-configuration` when two have the same name. */
export function transformSet(...transforms: readonly Transform<unknown>[]): TransformSet {
  const set = new Map<string, Transform<unknown>>();
  for (const transform of transforms) {
    if (set.has(transform.name)) {
      throw new LongshoreError(
        "invalid-configuration",
        "resolve",
        `two transforms are called ${transform.name}; names must differ`,
      );
    }
    set.set(transform.name, transform);
  }
  return set;
}
