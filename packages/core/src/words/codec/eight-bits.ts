import { bytesOf } from "../tensor/index.ts";

/**
 * The shared parts of the codecs of 8 bits: one pass for the range, one to quantise, a table of 256 values to go back. A tensor
 * that holds NaN or an infinity (an attention mask does) cannot be said in 8 bits of one scale: saturating would change its
 * meaning, so it travels as its FP32 bytes under the parameter `plain`.
 */
export interface Range {
  readonly least: number;
  readonly most: number;
}

/** Keys of the largest finite value and of its negative; see `finiteRange`. */
const mostKey = 0x7f7fffff;
const leastKey = -0x7f800000;

function valueOfKey(key: number): number {
  return new Float32Array(Int32Array.of(key ^ ((key >> 31) & 0x7fffffff)).buffer)[0] as number;
}

/**
 * Least and most of the values, or undefined when one is not finite. No values have the range 0 to 0. The bits of an FP32, with
 * all but the sign inverted if the sign is set, are a whole number that orders like the value; infinities and NaN lie outside
 * the finite ones, so no other check is needed.
 */
export function finiteRange(values: Float32Array): Range | undefined {
  if (values.length === 0) return { least: 0, most: 0 };
  const [least, most] = keysOf(values);
  if (least < leastKey || most > mostKey) return undefined;
  return { least: valueOfKey(least), most: valueOfKey(most) };
}

/** The least and the most key of one or more values. */
function keysOf(values: Float32Array): readonly [least: number, most: number] {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const last = bits[bits.length - 1] as number;
  // two at a time, so that comparisons need not wait for each other
  let least = last ^ ((last >> 31) & 0x7fffffff);
  let most = least;
  let otherLeast = least;
  let otherMost = least;
  const pairs = bits.length & ~1;
  for (let index = 0; index < pairs; index += 2) {
    const word = bits[index] as number;
    const other = bits[index + 1] as number;
    const key = word ^ ((word >> 31) & 0x7fffffff);
    const otherKey = other ^ ((other >> 31) & 0x7fffffff);
    if (key < least) least = key;
    if (key > most) most = key;
    if (otherKey < otherLeast) otherLeast = otherKey;
    if (otherKey > otherMost) otherMost = otherKey;
  }
  return [Math.min(least, otherLeast), Math.max(most, otherMost)];
}

/** Values `from..to`, and how they become levels. */
export interface Quantising {
  readonly from: number;
  readonly to: number;
  readonly factor: number;
  readonly shift: number;
  /** Bits of every level to turn over: 0x80 makes levels counted from -128 two's complement. */
  readonly flip: number;
}

/**
 * Sets `out`, from `from` to `to`, to values * factor + shift, rounded. Both are chosen so that results lie in 0..255, but for
 * rounding at the upper end, which is cut.
 */
export function quantiseInto(
  out: Uint8Array,
  values: Float32Array,
  { from, to, factor, shift, flip }: Quantising,
): void {
  const up = shift + 0.5;
  for (let index = from; index < to; index++) {
    const level = ((values[index] as number) * factor + up) | 0;
    out[index] = (level > 255 ? 255 : level) ^ flip;
  }
}

/** All values as levels; see `quantiseInto`. */
export function quantised(values: Float32Array, factor: number, shift: number, flip: number): Uint8Array {
  const out = new Uint8Array(values.length);
  quantiseInto(out, values, { from: 0, to: values.length, factor, shift, flip });
  return out;
}

/** Affine levels from 0 for a range: value = (level - `zero`) * `scale`. The range is widened to hold 0, so `zero` is a level. */
export interface Affine {
  readonly scale: number;
  readonly zero: number;
}

/** The levels that cover a range in 255 steps. */
export function affineOf({ least, most }: Range): Affine {
  const low = Math.min(least, 0);
  const span = (Math.max(most, 0) - low) / 255;
  const scale = span > 0 ? span : 1;
  return { scale, zero: Math.round(-low / scale) };
}

/** The largest FP32 value: rounding up to a level must not turn what was finite into an infinity. */
export const largest = 3.4028234663852886e38;

/** The values that bytes stand for, by a table. */
export function tabled(levels: Uint8Array, valueOf: (level: number) => number): Uint8Array {
  const table = Float32Array.from({ length: 256 }, (_, level) =>
    Math.min(Math.max(valueOf(level), -largest), largest),
  );
  const out = new Float32Array(levels.length);
  for (let index = 0; index < out.length; index++) out[index] = table[levels[index] as number] as number;
  return bytesOf(out);
}

/** The largest and smallest scale that FP32 values can need. */
export const scaleLimits: readonly [number, number] = [1e-60, 1e40];
