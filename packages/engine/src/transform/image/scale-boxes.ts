import { float32Tensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { parseParameters } from "../parameters.ts";
import { floatsAt, inputError, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "scale-boxes";

const schema = v.strictObject({});

/**
 * `boxes` FP32 [..., 4] or [..., 4, 2] in pixels of a resized image and its `scale` FP32 [2] (down, across) -> `boxes` of the
 * same shape in pixels of the source. Coordinates alternate across, down.
 */
export const scaleBoxes: Transform<unknown> = defineTransform({
  name,
  inputs: ["boxes", "scale"],
  outputs: ["boxes"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: (inputs) => [{ name: "boxes", datatype: "FP32", shape: specAt(inputs, "boxes", "FP32", 2).shape }],
  run(inputs) {
    const { values, shape } = floatsAt(inputs, "boxes", name);
    const [down, across] = floatsAt(inputs, "scale", name).values;
    if (down === undefined || across === undefined || values.length % 2 !== 0) {
      throw inputError(
        name,
        `boxes is [${shape.join(", ")}]; pairs of coordinates and two scales are needed`,
      );
    }
    const out = values.map((value, index) => value * (index % 2 === 0 ? across : down));
    return tensorsOf(float32Tensor("boxes", shape, out));
  },
});
