import { float32Tensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { parseParameters, whole } from "../parameters.ts";
import { floatsAt, inputError, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "softmax";

const schema = v.strictObject({ axis: v.optional(whole(-8, 7), -1) });

/**
 * `tensor` FP32 of any shape -> `tensor` FP32 of the same shape, whose values along `axis` (default the last) add up to 1.
 * The largest value is subtracted first, so that no exponential overflows.
 */
export const softmax: Transform<unknown> = defineTransform({
  name,
  inputs: ["tensor"],
  outputs: ["tensor"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: (inputs) => [{ ...specAt(inputs, "tensor", "FP32", 2), name: "tensor" }],
  run(inputs, { axis }) {
    const { values, shape } = floatsAt(inputs, "tensor", name);
    const chosen = axis < 0 ? axis + shape.length : axis;
    const length = shape[chosen];
    if (length === undefined)
      throw inputError(name, `tensor is [${shape.join(", ")}]; it has no axis ${axis}`);
    const inner = shape.slice(chosen + 1).reduce((count, size) => count * size, 1);
    const out = new Float32Array(values.length);
    const exponentials = new Float64Array(length);
    for (let block = 0; block < values.length; block += length * inner) {
      for (let first = block; first < block + inner; first++) {
        let largest = -Infinity;
        for (let step = 0, at = first; step < length; step++, at += inner) {
          largest = Math.max(largest, values[at] as number);
        }
        let sum = 0;
        for (let step = 0, at = first; step < length; step++, at += inner) {
          sum += exponentials[step] = Math.exp((values[at] as number) - largest);
        }
        for (let step = 0, at = first; step < length; step++, at += inner) {
          out[at] = (exponentials[step] as number) / sum;
        }
      }
    }
    return tensorsOf(float32Tensor("tensor", shape, out));
  },
});
