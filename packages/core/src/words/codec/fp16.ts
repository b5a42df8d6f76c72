import { bytesOf, float32View, fromHalf, numericView, toHalf } from "../tensor/index.ts";
import type { Codec } from "./codec.ts";
import { checkedCount, decodedTensor, encodedAs } from "./counts.ts";
import { decodedPlain, plainly } from "./plain.ts";

/** The bits of 65,520, the least FP32 that rounds to no finite half, and those of infinity. */
const firstBeyond = 0x477ff000;
const infinity = 0x7f800000;

/**
 * Halves of all values. The range where a half is normal (2^-14 up to 65504 and what rounds to it) is done on the bits: the
 * exponent's bias moves by 112 and 13 bits of the mantissa are rounded away, to nearest even. All others take the general way
 * of `toHalf`. Undefined when a finite one is too large for a half: as an infinity it would mean another value.
 */
function halves(values: Float32Array): Uint16Array | undefined {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let index = 0; index < out.length; index++) {
    const word = bits[index] as number;
    const size = word & 0x7fffffff;
    if (size >= firstBeyond && size < infinity) return undefined;
    out[index] =
      size >= 0x38800000 && size < 0x47800000
        ? ((word >>> 16) & 0x8000) | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13)
        : size === 0
          ? word >>> 16
          : toHalf(values[index] as number);
  }
  return out;
}

/** The values of all halves; normal ones on the bits again. */
function wholes(half: Uint16Array): Float32Array {
  const out = new Float32Array(half.length);
  const bits = new Uint32Array(out.buffer);
  for (let index = 0; index < half.length; index++) {
    const word = half[index] as number;
    const exponent = word & 0x7c00;
    if (exponent !== 0 && exponent !== 0x7c00) {
      bits[index] = ((word & 0x8000) << 16) | (((word & 0x7fff) << 13) + 0x38000000);
    } else if ((word & 0x7fff) === 0) {
      bits[index] = word << 16;
    } else {
      out[index] = fromHalf(word);
    }
  }
  return out;
}

/**
 * IEEE 754 half precision for FP32 tensors: half of the bytes. Error at most 2^-11 of the value from 2^-14 up, at most 2^-25
 * below; NaN and infinities stay what they are. Tensors with finite values from 65,520 up travel as FP32 (`plain`).
 */
export const fp16Codec: Codec = {
  id: "fp16",
  lossless: false,
  accepts: ({ datatype }) => datatype === "FP32",
  async encode(tensor) {
    const half = halves(float32View(tensor));
    return half ? encodedAs("fp16", tensor, bytesOf(half), {}) : plainly("fp16", tensor);
  },
  async decode(encoded) {
    const plain = decodedPlain(encoded);
    if (plain) return plain;
    checkedCount(encoded, 2);
    const half = numericView({ spec: { ...encoded.spec, datatype: "FP16" }, bytes: encoded.bytes });
    return decodedTensor(encoded, bytesOf(wholes(half as Uint16Array)));
  },
};
