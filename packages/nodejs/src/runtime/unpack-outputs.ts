import {
  bytesOf,
  bytesTensor,
  elementBytes,
  elementCount,
  LongshoreError,
  type Tensor,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import { datatypeOf } from "./ort-types.ts";
import type { OutputMessage } from "./runner-message.ts";

function unpack({ name, type, dims, data }: OutputMessage, outputs: readonly TensorSpec[]): Tensor {
  const bad = (what: string): LongshoreError =>
    new LongshoreError("bad-reply", "execute", `the runtime answered output '${name}' with ${what}`);
  const declared = outputs.find((spec) => spec.name === name);
  const datatype = datatypeOf(type);
  if (!declared || datatype !== declared.datatype) throw bad(`elements of type ${type}`);
  if (!Array.isArray(dims)) throw bad("no shape");
  const shape = dims as readonly number[];
  const count = elementCount(shape, `output '${name}'`);
  if (datatype === "BYTES") {
    if (!Array.isArray(data) || data.length !== count) throw bad(`other than ${count} text elements`);
    return bytesTensor(name, data as readonly string[], shape);
  }
  if (!ArrayBuffer.isView(data) || data.byteLength !== count * elementBytes(datatype)) {
    throw bad(`memory that does not fit ${datatype} [${shape.join(", ")}]`);
  }
  return { spec: { name, datatype, shape }, bytes: bytesOf(data) };
}

/**
 * Makes tensors of what a runner answered; they own their memory. What comes from a process that ran somebody's model is
 * not believed: names, types, shapes and sizes are checked (`bad-reply`).
 */
export function unpackOutputs(messages: readonly OutputMessage[], outputs: readonly TensorSpec[]): Tensors {
  const tensors = new Map<string, Tensor>();
  for (const message of messages) tensors.set(message.name, unpack(message, outputs));
  return tensors;
}
