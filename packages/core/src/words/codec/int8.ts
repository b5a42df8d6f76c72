import { float32View } from "../tensor/index.ts";
import type { Codec } from "./codec.ts";
import { checkedCount, decodedTensor, encodedAs, figure, codingMismatch } from "./counts.ts";
import type { Encoded } from "./codec.ts";
import { type Affine, affineOf, finiteRange, quantised, scaleLimits, tabled } from "./eight-bits.ts";
import { decodedPlain, plainly } from "./plain.ts";

/**
 * Affine quantisation per tensor, value = (level - `zeroPoint`) * `scale` with levels -128..127 (Jacob et al., "Quantization
 * and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018). The range is widened to hold 0,
 * which then is a level of its own and exact: activations after a ReLU are mostly zeros. Errs by at most half of `scale`,
 * the range over 255. Tensors with NaN or infinities travel as FP32 (`plain`).
 */
export const int8Codec: Codec = {
  id: "int8",
  lossless: false,
  accepts: ({ datatype }) => datatype === "FP32",
  async encode(tensor) {
    const values = float32View(tensor);
    const range = finiteRange(values);
    if (!range) return plainly("int8", tensor);
    const { scale, zero } = affineOf(range);
    const levels = quantised(values, 1 / scale, zero, 0x80);
    return encodedAs("int8", tensor, levels, { scale, zeroPoint: zero - 128 });
  },
  async decode(encoded) {
    const plain = decodedPlain(encoded);
    if (plain) return plain;
    checkedCount(encoded, 1);
    const { scale, zero } = statedAffine(encoded);
    return decodedTensor(
      encoded,
      tabled(encoded.bytes, (level) => ((level ^ 0x80) - zero) * scale),
    );
  },
};

/** Scale and zero point that travelled, levels counted from 0. Throws `body-mismatch` for figures that cannot be. */
export function statedAffine(encoded: Encoded): Affine {
  const scale = figure(encoded, "scale", ...scaleLimits);
  const zeroPoint = figure(encoded, "zeroPoint", -128, 127);
  if (!Number.isInteger(zeroPoint))
    throw codingMismatch(encoded, `its zeroPoint is ${zeroPoint}; it must be whole`);
  return { scale, zero: zeroPoint + 128 };
}
