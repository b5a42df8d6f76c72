import { elementBytes } from "../tensor/index.ts";
import type { Codec, Encoded } from "./codec.ts";
import { checkedCount, decodedTensor, encodedAs, codingMismatch, statedCount } from "./counts.ts";

/** Walks length-prefixed elements without making them. */
function checkElements(encoded: Encoded): void {
  const { bytes } = encoded;
  const expected = statedCount(encoded);
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let count = 0;
  let at = 0;
  while (at + 4 <= bytes.byteLength && count < expected) {
    at += 4 + header.getUint32(at, true);
    count++;
  }
  if (count !== expected || at !== bytes.byteLength) {
    throw codingMismatch(
      encoded,
      `${expected} length-prefixed elements should fill its ${bytes.byteLength} bytes`,
    );
  }
}

/** The bytes as they are, of any tensor. Neither way copies: both sides see the same memory. */
export const rawCodec: Codec = {
  id: "raw",
  lossless: true,
  accepts: () => true,
  encode: (tensor) => Promise.resolve(encodedAs("raw", tensor, tensor.bytes, {})),
  async decode(encoded) {
    const width = elementBytes(encoded.spec.datatype);
    if (width === 0) checkElements(encoded);
    else checkedCount(encoded, width);
    return decodedTensor(encoded, encoded.bytes);
  },
};
