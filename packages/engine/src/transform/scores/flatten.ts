import { tensorsOf, type TensorSpec } from "@longshore/core";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { parseParameters } from "../parameters.ts";
import { denseShape, elementsAt, portOf, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "flatten";

/** How many scalars a tensor holds, ragged or not. */
function scalars(tensor: ReturnType<typeof portOf>): number {
  const { spec, rows } = tensor;
  if (!rows || !spec.shape.includes(-1)) {
    return denseShape(tensor, name).reduce((count, size) => count * size, 1);
  }
  const rank = spec.shape.length - 1;
  let total = 0;
  for (let index = 0; index < (spec.shape[0] ?? 0); index++) {
    total += rows.subarray(index * rank, (index + 1) * rank).reduce((count, size) => count * size, 1);
  }
  return total;
}

/**
 * `tensor` of any type, ragged or not -> `tensor` with the same elements along one axis. A value made under `forEach` is
 * ragged; its scalars and texts become a plain list this way, which every client can read.
 */
export const flatten: Transform<unknown> = defineTransform({
  name,
  inputs: ["tensor"],
  outputs: ["tensor"],
  parse: (parameters) => parseParameters(name, v.strictObject({}), parameters),
  specs(inputs): readonly TensorSpec[] {
    const { datatype, shape } = specAt(inputs, "tensor", "FP32", 1);
    const known = shape.every((size) => size >= 0);
    return [
      { name: "tensor", datatype, shape: [known ? shape.reduce((count, size) => count * size, 1) : -1] },
    ];
  },
  run(inputs) {
    const tensor = portOf(inputs, "tensor", name);
    const { datatype } = tensor.spec;
    const count = datatype === "BYTES" ? elementsAt(inputs, "tensor", name).length : scalars(tensor);
    return tensorsOf({ spec: { name: "tensor", datatype, shape: [count] }, bytes: tensor.bytes });
  },
});
