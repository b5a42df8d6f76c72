import { float32Tensor, numericTensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { parseParameters, whole } from "../parameters.ts";
import { blobAt, inputError } from "../ports.ts";
import type { Transform } from "../transform.ts";
import { resampled } from "./resampled.ts";
import { readWav } from "./wav.ts";

const name = "decode-wav";

const schema = v.strictObject({
  rate: v.optional(whole(1000, 384_000)),
  maxSamples: v.optional(whole(1, 1 << 30), 100_000_000),
});

/**
 * `bytes` BYTES [1], a RIFF WAVE file -> `samples` FP32 [n] from -1 to 1, channels mixed, and `rate` INT32 [1] in samples per
 * second. With `rate` the sound is resampled to it. A file of more than `maxSamples` (100 million), or that would become
 * one, is refused.
 */
export const decodeWav: Transform<unknown> = defineTransform({
  name,
  inputs: ["bytes"],
  outputs: ["samples", "rate"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: () => [
    { name: "samples", datatype: "FP32", shape: [-1] },
    { name: "rate", datatype: "INT32", shape: [1] },
  ],
  run(inputs, p) {
    const sound = readWav(blobAt(inputs, "bytes", name), p.maxSamples);
    const wanted = p.rate ?? sound.rate;
    const after = Math.ceil((sound.samples.length * wanted) / sound.rate);
    if (after > p.maxSamples) {
      throw inputError(
        name,
        `at ${wanted} samples per second it has ${after} samples; allowed are ${p.maxSamples}`,
      );
    }
    const { samples, rate } = resampled(sound, wanted);
    return tensorsOf(
      float32Tensor("samples", [samples.length], samples),
      numericTensor("rate", "INT32", [1], Int32Array.of(rate)),
    );
  },
});
