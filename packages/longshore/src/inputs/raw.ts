import { LongshoreError, type Tensor, tensorOf, type TensorSpec } from "@longshore/core";
import { elementBytes } from "@longshore/core/internal";
import { resolveShape } from "./json-tensor.ts";

/** A tensor from headerless little-endian bytes in the declared datatype; at most one size may be free. */
export function tensorFromRaw(spec: TensorSpec, bytes: Uint8Array): Tensor {
  const width = elementBytes(spec.datatype);
  if (width === 0)
    throw new LongshoreError("invalid-input", "decode", `${spec.name} is BYTES; raw numbers cannot fill it`);
  if (bytes.byteLength % width !== 0) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${spec.name} is ${spec.datatype}: ${bytes.byteLength} bytes are not a whole number of elements`,
    );
  }
  const count = bytes.byteLength / width;
  return tensorOf(spec.name, spec.datatype, resolveShape(spec, [count], count), bytes);
}
