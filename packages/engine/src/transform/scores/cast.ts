import { type Datatype, numericTensor, numericView, tensorsOf } from "@longshore/core";
import { elementCount, fromHalf, toHalf } from "@longshore/core/internal";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { oneOf, parseParameters, real } from "../parameters.ts";
import { denseShape, inputError, portOf, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "cast";

const targets = ["BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"] as const;
type Target = (typeof targets)[number];

const schema = v.strictObject({
  datatype: oneOf(...targets),
  scale: v.optional(real(-1e30, 1e30), 1),
  offset: v.optional(real(-1e30, 1e30), 0),
});

const ranges = {
  UINT8: [0, 255],
  INT8: [-128, 127],
  INT16: [-32_768, 32_767],
  INT32: [-(2 ** 31), 2 ** 31 - 1],
} as const;

/** A whole number inside the range: rounded to nearest, ends saturate, NaN becomes 0. */
function saturated(value: number, [least, most]: readonly [number, number]): number {
  const rounded = Math.round(value);
  return rounded > least ? Math.min(rounded, most) : rounded <= least ? least : 0;
}

function store(values: Float64Array, target: Target): ArrayBufferView {
  switch (target) {
    case "FP64":
      return values;
    case "FP32":
      return Float32Array.from(values);
    case "FP16":
      return Uint16Array.from(values, toHalf);
    case "BOOL":
      return Uint8Array.from(values, (value) => (value === 0 ? 0 : 1));
    case "INT64":
      return BigInt64Array.from(values, (value) => BigInt(saturated(value, [-(2 ** 53), 2 ** 53])));
    case "UINT8":
      return Uint8Array.from(values, (value) => saturated(value, ranges.UINT8));
    case "INT8":
      return Int8Array.from(values, (value) => saturated(value, ranges.INT8));
    case "INT16":
      return Int16Array.from(values, (value) => saturated(value, ranges.INT16));
    case "INT32":
      return Int32Array.from(values, (value) => saturated(value, ranges.INT32));
  }
}

function load(datatype: Datatype, view: ReturnType<typeof numericView>): Float64Array {
  if (datatype === "BF16") throw inputError(name, "BF16 cannot be cast");
  if (datatype === "FP16") return Float64Array.from(view as Uint16Array, fromHalf);
  return Float64Array.from(view as Iterable<number | bigint>, Number);
}

/**
 * `tensor` of any numeric type but BF16 -> `tensor` of `datatype`, as value * `scale` + `offset`. Whole-number types round to
 * nearest and saturate; INT64 is exact up to 2^53.
 */
export const cast: Transform<unknown> = defineTransform({
  name,
  inputs: ["tensor"],
  outputs: ["tensor"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs: (inputs, { datatype }) => [
    { name: "tensor", datatype, shape: specAt(inputs, "tensor", "FP32", 1).shape },
  ],
  run(inputs, { datatype, scale, offset }) {
    const tensor = portOf(inputs, "tensor", name);
    if (tensor.spec.datatype === "BYTES") throw inputError(name, "tensor is BYTES, which is not a number");
    const shape = denseShape(tensor, name);
    const values = load(tensor.spec.datatype, numericView(tensor));
    if (values.length !== elementCount(shape)) throw inputError(name, "tensor does not match its shape");
    if (scale !== 1 || offset !== 0) {
      for (let index = 0; index < values.length; index++) {
        values[index] = (values[index] as number) * scale + offset;
      }
    }
    return tensorsOf(numericTensor("tensor", datatype, shape, store(values, datatype)));
  },
});
