import { bytesOf, float32View, type Tensor } from "../tensor/index.ts";
import type { Encoded } from "./codec.ts";
import { checkedCount, decodedTensor, encodedAs, codingMismatch } from "./counts.ts";

/** The tensor as its own FP32 bytes, for values that a codec cannot encode. */
export function plainly(codec: string, tensor: Tensor): Encoded {
  return encodedAs(codec, tensor, bytesOf(float32View(tensor)), { plain: true });
}

/**
 * The tensor if it was sent as plain FP32, after checks; undefined if a codec encoded it. Throws `body-mismatch` when the
 * spec is not FP32.
 */
export function decodedPlain(encoded: Encoded): Tensor | undefined {
  if (encoded.spec.datatype !== "FP32")
    throw codingMismatch(encoded, `it makes FP32, not ${encoded.spec.datatype}`);
  if (encoded.parameters["plain"] !== true) return undefined;
  checkedCount(encoded, 4);
  return decodedTensor(encoded, encoded.bytes);
}
