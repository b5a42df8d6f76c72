import { bytesOf, float32View, type Tensor } from "../tensor/index.ts";
import type { Encoded } from "./codec.ts";
import { checkedCount, decodedTensor, encodedAs, mismatch } from "./counts.ts";

/**
 * What the codecs of 8 bits share: one pass for the range, one to quantise, a table of 256 values to go back. A tensor that
 * holds NaN or an infinity (an attention mask does) cannot be said in 8 bits of one scale: saturating would change its
 * meaning, so it travels as its FP32 bytes under the parameter `plain`.
 */
export interface Range {
  readonly least: number;
  readonly most: number;
}

/** Least and most of the values, or undefined when one is not finite. No values have the range 0 to 0. */
export function finiteRange(values: Float32Array): Range | undefined {
  let least = values[0] ?? 0;
  let most = least;
  // v - v is 0 for finite values and NaN for all others, and NaN stays in the sum
  let nothing = least - least;
  for (let index = 1; index < values.length; index++) {
    const value = values[index] as number;
    if (value < least) least = value;
    if (value > most) most = value;
    nothing += value - value;
  }
  return nothing === 0 ? { least, most } : undefined;
}

/**
 * Bytes of values * factor + shift, rounded; both chosen so that results lie in 0..255 but for rounding, which is cut. `flip`
 * turns over bits of every byte: 0x80 makes levels counted from -128 two's complement.
 */
export function quantised(values: Float32Array, factor: number, shift: number, flip: number): Uint8Array {
  const out = new Uint8Array(values.length);
  const up = shift + 0.5;
  for (let index = 0; index < out.length; index++) {
    const level = ((values[index] as number) * factor + up) | 0;
    out[index] = (level > 255 ? 255 : level < 0 ? 0 : level) ^ flip;
  }
  return out;
}

/** The largest FP32 value: rounding up to a level must not turn what was finite into an infinity. */
const largest = 3.4028234663852886e38;

/** The values that bytes stand for, by a table. */
export function tabled(levels: Uint8Array, valueOf: (level: number) => number): Uint8Array {
  const table = Float32Array.from({ length: 256 }, (_, level) =>
    Math.min(Math.max(valueOf(level), -largest), largest),
  );
  const out = new Float32Array(levels.length);
  for (let index = 0; index < out.length; index++) out[index] = table[levels[index] as number] as number;
  return bytesOf(out);
}

/** The tensor as its own FP32 bytes, for what 8 bits cannot say. */
export function plainly(codec: string, tensor: Tensor): Encoded {
  return encodedAs(codec, tensor, bytesOf(float32View(tensor)), { plain: true });
}

/**
 * The tensor when it travelled plainly, after checking; undefined when it was quantised. Throws `body-mismatch` when the
 * spec is not FP32.
 */
export function decodedPlain(encoded: Encoded): Tensor | undefined {
  if (encoded.spec.datatype !== "FP32")
    throw mismatch(encoded, `it makes FP32, not ${encoded.spec.datatype}`);
  if (encoded.parameters["plain"] !== true) return undefined;
  checkedCount(encoded, 4);
  return decodedTensor(encoded, encoded.bytes);
}

/** The largest and smallest scale that FP32 values can ask for. */
export const scaleLimits: readonly [number, number] = [1e-60, 1e40];
