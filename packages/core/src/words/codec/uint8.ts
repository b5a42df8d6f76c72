import { float32View } from "../tensor/index.ts";
import type { Codec } from "./codec.ts";
import { checkedCount, decodedTensor, encodedAs, figure } from "./counts.ts";
import { finiteRange, quantised, type Range, scaleLimits, tabled } from "./eight-bits.ts";
import { decodedPlain, plainly } from "./plain.ts";

/** value = level * scale + offset. */
interface Grid {
  readonly scale: number;
  readonly offset: number;
}

/** Grids on which images lie: 0..1, -1..1 and 0..255. On them the codec loses nothing but the last bit. */
const imageGrids: readonly Grid[] = [
  { scale: 1 / 255, offset: 0 },
  { scale: 2 / 255, offset: -1 },
  { scale: 1, offset: 0 },
];

/** A value counts as lying on the grid up to this distance from a level, in levels. */
const onGrid = 2e-4;

function liesOn(values: Float32Array, { least, most }: Range, { scale, offset }: Grid): boolean {
  if (least < offset - scale * onGrid || most > offset + scale * (255 + onGrid)) return false;
  const factor = 1 / scale;
  for (let index = 0; index < values.length; index++) {
    const level = ((values[index] as number) - offset) * factor;
    const off = level - ((level + 0.5) | 0);
    if (off > onGrid || off < -onGrid) return false;
  }
  return true;
}

function gridOf(values: Float32Array, range: Range): Grid {
  const image = imageGrids.find((grid) => liesOn(values, range, grid));
  if (image) return image;
  const scale = (range.most - range.least) / 255;
  return { scale: scale > 0 ? scale : 1, offset: range.least };
}

/**
 * FP32 in one byte each, level * `scale` + `offset`, over the range that the values have. Values that are an image's levels
 * divided by 255 (or mapped to -1..1, or not divided) are recognised and come back to within the last bit; others err by at
 * most half of `scale`. Tensors with NaN or infinities travel as FP32 (`plain`).
 */
export const uint8Codec: Codec = {
  id: "uint8",
  lossless: false,
  accepts: ({ datatype }) => datatype === "FP32",
  async encode(tensor) {
    const values = float32View(tensor);
    const range = finiteRange(values);
    if (!range) return plainly("uint8", tensor);
    const { scale, offset } = gridOf(values, range);
    return encodedAs("uint8", tensor, quantised(values, 1 / scale, -offset / scale, 0), { scale, offset });
  },
  async decode(encoded) {
    const plain = decodedPlain(encoded);
    if (plain) return plain;
    checkedCount(encoded, 1);
    const scale = figure(encoded, "scale", ...scaleLimits);
    const offset = figure(encoded, "offset", -1e39, 1e39);
    return decodedTensor(
      encoded,
      tabled(encoded.bytes, (level) => level * scale + offset),
    );
  },
};
