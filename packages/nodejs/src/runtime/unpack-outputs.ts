import { LongshoreError, type Tensor, type Tensors, type TensorSpec } from "@longshore/core";
import { bytesOf, checkElements, elementBytes, elementCount } from "@longshore/core/internal";
import { datatypeOfOrt } from "./ort-types.ts";
import type { OutputMessage } from "./runner-message.ts";

/** Memory of an output: its own, or a copy of its part of the shared page, which the next run overwrites. */
function memoryOf(
  { data }: OutputMessage,
  byteLength: number,
  page: Uint8Array | undefined,
): Uint8Array | undefined {
  if (ArrayBuffer.isView(data)) return data.byteLength === byteLength ? bytesOf(data) : undefined;
  if (!page || !("offset" in data) || data.byteLength !== byteLength) return undefined;
  return page.slice(data.offset, data.offset + byteLength);
}

function holdsTexts(tensor: Tensor): boolean {
  try {
    checkElements(tensor);
    return true;
  } catch {
    return false;
  }
}

function unpack(
  message: OutputMessage,
  outputs: readonly TensorSpec[],
  page: Uint8Array | undefined,
): Tensor {
  const { name, type, dims, data } = message;
  const bad = (what: string): LongshoreError =>
    new LongshoreError("bad-reply", "execute", `the runtime answered output '${name}' with ${what}`);
  const declared = outputs.find((spec) => spec.name === name);
  const datatype = datatypeOfOrt(type);
  if (!declared || datatype !== declared.datatype) throw bad(`elements of type ${type}`);
  if (!Array.isArray(dims)) throw bad("no shape");
  const shape = dims as readonly number[];
  const count = elementCount(shape, `output '${name}'`);
  if (datatype === "BYTES") {
    const texts = ArrayBuffer.isView(data)
      ? { spec: { name, datatype, shape }, bytes: bytesOf(data) }
      : undefined;
    if (!texts || !holdsTexts(texts)) throw bad(`other than ${count} text elements`);
    return texts;
  }
  const bytes = memoryOf(message, count * elementBytes(datatype), page);
  if (!bytes) throw bad(`memory that does not fit ${datatype} [${shape.join(", ")}]`);
  return { spec: { name, datatype, shape }, bytes };
}

/**
 * Turns a runner's answer into tensors that own their memory. A process with an untrusted model is not trusted: names, types, shapes and
 * sizes are checked (`bad-reply`).
 */
export function unpackOutputs(
  messages: readonly OutputMessage[],
  outputs: readonly TensorSpec[],
  page: Uint8Array | undefined,
): Tensors {
  const tensors = new Map<string, Tensor>();
  for (const message of messages) tensors.set(message.name, unpack(message, outputs, page));
  return tensors;
}
