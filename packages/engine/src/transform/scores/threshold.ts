import { numericTensor, tensorsOf } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { parseParameters, real } from "../parameters.ts";
import { floatsAt, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "threshold";

const schema = v.strictObject({ above: real(-1e30, 1e30) });

/** `scores` FP32 of any shape -> `above` BOOL of the same shape: where a score is greater than `above`. NaN is not. */
export const threshold: Transform<unknown> = defineTransform({
  name,
  inputs: ["scores"],
  outputs: ["above"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: (inputs) => [{ name: "above", datatype: "BOOL", shape: specAt(inputs, "scores", "FP32", 2).shape }],
  run(inputs, { above }) {
    const { values, shape } = floatsAt(inputs, "scores", name);
    const out = new Uint8Array(values.length);
    for (let index = 0; index < values.length; index++)
      out[index] = (values[index] as number) > above ? 1 : 0;
    return tensorsOf(numericTensor("above", "BOOL", shape, out));
  },
});
