import { bytesOf, float32View, type Tensor } from "../tensor/index.ts";
import type { Encoded } from "./codec.ts";
import { checkedCount, decodedTensor, encodedAs, codingMismatch } from "./counts.ts";

/** The tensor as its own FP32 bytes, for what a codec cannot say. */
export function plainly(codec: string, tensor: Tensor): Encoded {
  return encodedAs(codec, tensor, bytesOf(float32View(tensor)), { plain: true });
}

/**
 * The tensor when it travelled plainly, after checking; undefined when it was coded. Throws `body-mismatch` when the
 * spec is not FP32.
 */
export function decodedPlain(encoded: Encoded): Tensor | undefined {
  if (encoded.spec.datatype !== "FP32")
    throw codingMismatch(encoded, `it makes FP32, not ${encoded.spec.datatype}`);
  if (encoded.parameters["plain"] !== true) return undefined;
  checkedCount(encoded, 4);
  return decodedTensor(encoded, encoded.bytes);
}
