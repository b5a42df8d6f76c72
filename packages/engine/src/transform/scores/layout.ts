import { numericTensor, numericView, type TensorSpec, tensorsOf } from "@longshore/core";
import { elementBytes, elementCount } from "@longshore/core/internal";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { parseParameters } from "../parameters.ts";
import { denseShape, inputError, portOf, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "layout";

const axesMessage = "allowed are 1 to 8 different letters, one for each axis, such as nhwc";
const axes = v.pipe(
  v.string(axesMessage),
  v.regex(/^[a-z]{1,8}$/u, axesMessage),
  v.check((letters) => new Set(letters).size === letters.length, axesMessage),
  v.transform((letters) => letters.split("")),
);

const schema = v.strictObject({ from: axes, to: axes });

type Parameters = v.InferOutput<typeof schema>;

/** Sizes by letter; throws when the shape does not go with `from` or an axis that disappears is longer than 1. */
function sizes(shape: readonly number[], { from, to }: Parameters): ReadonlyMap<string, number> {
  if (shape.length !== from.length) {
    throw inputError(name, `tensor is [${shape.join(", ")}]; ${from.join("")} names ${from.length} axes`);
  }
  const size = new Map(from.map((letter, axis) => [letter, shape[axis] ?? 1]));
  for (const [letter, extent] of size) {
    if (!to.includes(letter) && extent !== 1 && extent !== -1) {
      throw inputError(
        name,
        `axis ${letter} of size ${extent} is missing from ${to.join("")}; only size 1 can be left out`,
      );
    }
  }
  return size;
}

/**
 * `tensor` of any fixed-width type -> `tensor` with its axes in another order. Axes are letters: from `hwc` to `nchw` moves
 * the channels forward and adds an axis of size 1; an axis of size 1 that `to` does not name is dropped.
 */
export const layout: Transform<unknown> = defineTransform({
  name,
  inputs: ["tensor"],
  outputs: ["tensor"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs, p): readonly TensorSpec[] {
    const spec = specAt(inputs, "tensor", "FP32", p.from.length);
    const size = sizes(spec.shape, p);
    return [{ name: "tensor", datatype: spec.datatype, shape: p.to.map((letter) => size.get(letter) ?? 1) }];
  },
  run(inputs, p) {
    const tensor = portOf(inputs, "tensor", name);
    const { datatype } = tensor.spec;
    if (elementBytes(datatype) === 0) throw inputError(name, "tensor is BYTES, which has no axes to move");
    const shape = denseShape(tensor, name);
    const size = sizes(shape, p);
    const strides = new Map<string, number>();
    let stride = 1;
    for (const letter of p.from.toReversed()) {
      strides.set(letter, stride);
      stride *= size.get(letter) ?? 1;
    }
    const outShape = p.to.map((letter) => size.get(letter) ?? 1);
    const outStrides = p.to.map((letter) => strides.get(letter) ?? 0);
    const source = numericView(tensor);
    // a copy by constructor, because slice() of a Node.js Buffer would share the memory
    const out = numericView({ spec: tensor.spec, bytes: new Uint8Array(tensor.bytes) });
    if (out.length !== elementCount(outShape, name)) {
      throw inputError(name, `tensor is [${shape.join(", ")}] but holds ${out.length} values`);
    }
    const inner = outShape.at(-1) ?? 1;
    const innerStride = outStrides.at(-1) ?? 0;
    const position = outShape.map(() => 0);
    for (let write = 0, base = 0; write < out.length;) {
      for (let at = base, end = write + inner; write < end; write++, at += innerStride) {
        out[write] = source[at] as number & bigint;
      }
      // the outer axes count like the digits of an odometer
      for (let axis = outShape.length - 2; axis >= 0; axis--) {
        base += outStrides[axis] ?? 0;
        position[axis] = (position[axis] ?? 0) + 1;
        if ((position[axis] ?? 0) < (outShape[axis] ?? 0)) break;
        base -= (outStrides[axis] ?? 0) * (outShape[axis] ?? 0);
        position[axis] = 0;
      }
    }
    return tensorsOf(numericTensor("tensor", datatype, outShape, out));
  },
});
