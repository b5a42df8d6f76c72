import {
  LongshoreError,
  numericTensor,
  numericView,
  type Tensor,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { sleep, splitElements } from "@longshore/core/internal";
import * as v from "valibot";
import { defineTransform } from "../define.ts";
import { parseParameters, whole } from "../parameters.ts";
import { inputError, portOf, specAt } from "../ports.ts";
import type { Transform } from "../transform.ts";

const name = "repeat";

const schema = v.strictObject({
  /** Longest delay that a request may ask for, in milliseconds. */
  maxDelayMs: v.optional(whole(0, 3_600_000), 60_000),
});

/** An element with a leading axis of one, in memory of its own. */
function alone(element: Tensor): Tensor {
  const { datatype, shape } = element.spec;
  return { spec: { name: "value", datatype, shape: [1, ...shape] }, bytes: new Uint8Array(element.bytes) };
}

function delaysOf(inputs: Tensors, count: number, maxDelayMs: number): readonly number[] {
  const tensor = inputs.get("delays");
  if (!tensor) return [];
  const { datatype, shape } = tensor.spec;
  if (datatype !== "UINT32" && datatype !== "INT32") {
    throw inputError(name, `delays is ${datatype}; UINT32 milliseconds are needed`);
  }
  const delays = Array.from(numericView(tensor) as Uint32Array | Int32Array);
  if (delays.length !== count) {
    throw inputError(name, `delays is [${shape.join(", ")}]; ${count} are needed, one for each value`);
  }
  const wrong = delays.find((delay) => delay < 0 || delay > maxDelayMs);
  if (wrong !== undefined) throw inputError(name, `a delay is ${wrong} ms; 0 to ${maxDelayMs} are allowed`);
  return delays;
}

/**
 * Gives one answer for each element of `values` along its first axis: `value` is that element, `[1, ...]`, and `index`
 * UINT32 [1] its position. `delays` UINT32 [n], which need not be there, is how long to wait before each, in milliseconds.
 * Triton's decoupled `repeat_int32` is this step alone; before a model it turns a batch into a stream of answers.
 */
export const repeat: Transform<unknown> = defineTransform({
  name,
  inputs: ["values", "delays"],
  outputs: ["value", "index"],
  parse: (parameters) => parseParameters(name, schema, parameters),
  specs(inputs) {
    const { datatype, shape } = specAt(inputs, "values", "FP32", 1);
    if (shape.length === 0)
      throw inputError(name, "values is a single value; it needs an axis to repeat over");
    return [
      { name: "value", datatype, shape: [1, ...shape.slice(1)] },
      { name: "index", datatype: "UINT32", shape: [1] },
    ];
  },
  run() {
    throw new LongshoreError("unsupported", "execute", `${name} gives several answers; request a stream`);
  },
  async *answers(inputs, { maxDelayMs }, { clock, abort }) {
    const elements = splitElements(portOf(inputs, "values", name));
    const delays = delaysOf(inputs, elements.length, maxDelayMs);
    for (const [index, element] of elements.entries()) {
      const delayMs = delays[index] ?? 0;
      if (delayMs > 0) await sleep(clock, delayMs, abort);
      yield tensorsOf(alone(element), numericTensor("index", "UINT32", [1], Uint32Array.of(index)));
    }
  },
});
