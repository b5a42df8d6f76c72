import { seededRandom } from "@longshore/core";
import { gaussian } from "@longshore/core/internal";
import sharp from "sharp";

/** How a sheet is photographed: where its corners land, and what the camera does to it. */
export interface Shot {
  readonly width: number;
  readonly height: number;
  /** Corners of the sheet in the picture, x and y: top left, top right, bottom right, bottom left. */
  readonly corners: readonly (readonly [number, number])[];
  /** Colour of the table under the sheet. */
  readonly table: readonly [number, number, number];
  /** Standard deviation of the blur in pixels; 0 for none. */
  readonly blur: number;
  /** Standard deviation of the sensor's noise in levels. */
  readonly noise: number;
  /** Share of the light that is lost from one side to the other, 0..1. */
  readonly shade: number;
  /** JPEG quality, 1..100. */
  readonly quality: number;
  readonly seed: number;
}

/** Solves the linear system by elimination with pivoting; `rows` are the coefficients and the right side. */
function solved(rows: readonly (readonly number[])[]): readonly number[] {
  const m = rows.map((row) => [...row]);
  const size = m.length;
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column; row < size; row++) {
      if (Math.abs(m[row]?.[column] ?? 0) > Math.abs(m[pivot]?.[column] ?? 0)) pivot = row;
    }
    const chosen = m[pivot] ?? [];
    m[pivot] = m[column] ?? [];
    m[column] = chosen;
    for (let row = 0; row < size; row++) {
      const other = m[row] ?? [];
      if (row === column) continue;
      const factor = (other[column] ?? 0) / (chosen[column] ?? 1);
      for (let at = column; at <= size; at++) other[at] = (other[at] ?? 0) - factor * (chosen[at] ?? 0);
    }
  }
  return m.map((row, index) => (row[size] ?? 0) / (row[index] ?? 1));
}

/** The projective map that takes each point of `from` to that of `to`, as 8 coefficients. */
function projection(
  from: readonly (readonly [number, number])[],
  to: readonly (readonly [number, number])[],
): readonly number[] {
  const rows: number[][] = [];
  for (const [index, [x, y]] of from.entries()) {
    const [u, v] = to[index] ?? [0, 0];
    rows.push([x, y, 1, 0, 0, 0, -u * x, -u * y, u], [0, 0, 0, x, y, 1, -v * x, -v * y, v]);
  }
  return solved(rows);
}

/** Lays the sheet on the table as the camera sees it: bilinear, the table with a coarse grain. */
function projected(sheet: Uint8Array, width: number, height: number, shot: Shot): Uint8Array {
  const random = seededRandom(shot.seed);
  const map = projection(shot.corners, [
    [0, 0],
    [width, 0],
    [width, height],
    [0, height],
  ]);
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = map;
  const out = new Uint8Array(shot.width * shot.height * 3);
  const grain = Float64Array.from({ length: shot.width }, () => gaussian(random) * 4);
  for (let y = 0; y < shot.height; y++) {
    const streak = gaussian(random) * 2;
    for (let x = 0; x < shot.width; x++) {
      const depth = g * x + h * y + 1;
      const sx = (a * x + b * y + c) / depth - 0.5;
      const sy = (d * x + e * y + f) / depth - 0.5;
      const at = (y * shot.width + x) * 3;
      const light = 1 - shot.shade * (x / shot.width);
      const inside = sx >= 0 && sy >= 0 && sx < width - 1 && sy < height - 1;
      const left = Math.floor(sx);
      const top = Math.floor(sy);
      const tx = sx - left;
      const ty = sy - top;
      for (let channel = 0; channel < 3; channel++) {
        let level = (shot.table[channel] ?? 0) + (grain[x] ?? 0) + streak;
        if (inside) {
          const from = (top * width + left) * 3 + channel;
          const upper = (sheet[from] ?? 0) * (1 - tx) + (sheet[from + 3] ?? 0) * tx;
          const lower = (sheet[from + width * 3] ?? 0) * (1 - tx) + (sheet[from + width * 3 + 3] ?? 0) * tx;
          level = upper * (1 - ty) + lower * ty;
        }
        out[at + channel] = Math.min(Math.max(level * light, 0), 255);
      }
    }
  }
  return out;
}

function withNoise(pixels: Uint8Array, sigma: number, seed: number): Uint8Array {
  const random = seededRandom(seed);
  return pixels.map((level) => Math.min(Math.max(Math.round(level + gaussian(random) * sigma), 0), 255));
}

/** Photographs a sheet given as SVG: perspective, light, blur, noise, JPEG. The same seed gives the same picture. */
export async function photographed(svg: string, shot: Shot): Promise<Uint8Array> {
  const { data, info } = await sharp(Buffer.from(svg))
    .flatten({ background: "#fff" })
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const raw = { width: shot.width, height: shot.height, channels: 3 } as const;
  let pixels = projected(data, info.width, info.height, shot);
  if (shot.blur >= 0.3) pixels = await sharp(pixels, { raw }).blur(shot.blur).raw().toBuffer();
  if (shot.noise > 0) pixels = withNoise(pixels, shot.noise, shot.seed + 1);
  return sharp(pixels, { raw }).jpeg({ quality: shot.quality, chromaSubsampling: "4:2:0" }).toBuffer();
}
