import { float32Tensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { oneOf, parseParameters, whole } from "../parameters.ts";
import { floatsAt, inputError } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "frame-audio";

const schema = v.strictObject({
  size: whole(1, 1 << 24),
  hop: v.optional(whole(1, 1 << 24)),
  context: v.optional(whole(0, 1 << 24), 0),
  tail: v.optional(oneOf("drop", "pad"), "drop"),
  maxElements: v.optional(whole(1, 1 << 30), 200_000_000),
});

/**
 * `samples` FP32 [n] (or [1, n]) -> `frames` FP32 [frames, context + size]: windows of `size` samples, one every `hop` (default
 * `size`), each led by the `context` samples before it (silence before the beginning). The last window that does not fill
 * is dropped, or padded with silence under `tail: pad`.
 */
export const frameAudio: Transform<unknown> = defineTransform({
  name,
  inputs: ["samples"],
  outputs: ["frames"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: (_inputs, { size, context }) => [{ name: "frames", datatype: "FP32", shape: [-1, context + size] }],
  run(inputs, { size, hop = size, context, tail, maxElements }) {
    const { values, shape } = floatsAt(inputs, "samples", name);
    if (shape.length > 2 || (shape.length === 2 && shape[0] !== 1)) {
      throw inputError(name, `samples is [${shape.join(", ")}]; [n] is needed`);
    }
    const steps = (values.length - size) / hop;
    const partial = values.length > 0 && tail === "pad";
    const count = partial ? Math.max(Math.ceil(steps), 0) + 1 : steps < 0 ? 0 : Math.floor(steps) + 1;
    const width = context + size;
    if (count * width > maxElements) {
      throw inputError(name, `${count} frames of ${width} samples are more than ${maxElements} values`);
    }
    const frames = new Float32Array(count * width);
    for (let index = 0; index < count; index++) {
      const begin = index * hop - context;
      const from = Math.max(begin, 0);
      const to = Math.min(begin + width, values.length);
      if (to > from) frames.set(values.subarray(from, to), index * width + from - begin);
    }
    return tensorsOf(float32Tensor("frames", [count, width], frames));
  },
});
