import { homography, type Quadrilateral } from "../../geometry/index.ts";
import type { Pixels } from "../pixels.ts";

/**
 * The quadrilateral as an upright image of the given size: bilinear, edges repeated. Output pixel (0, 0) lies on the
 * first corner, so an upright box with whole corners is exactly a slice. PaddleOCR uses cubic interpolation here; the
 * recogniser does not tell the difference and bilinear costs a quarter.
 */
export function rectified(
  image: Pixels,
  quadrilateral: Quadrilateral,
  height: number,
  width: number,
): Pixels {
  const [a, b, c, d, e, f, g, h] = homography(quadrilateral, height, width);
  const { channels, data } = image;
  const out = new Uint8Array(height * width * channels);
  const right = image.width - 1;
  const bottom = image.height - 1;
  const stride = image.width * channels;
  let write = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const depth = g * x + h * y + 1;
      // beyond the horizon of a degenerate quadrilateral there is nothing: the nearest edge is repeated
      const w = depth > 1e-9 ? 1 / depth : 1e9;
      const sx = Math.min(Math.max((a * x + b * y + c) * w, 0), right);
      const sy = Math.min(Math.max((d * x + e * y + f) * w, 0), bottom);
      const x0 = sx | 0;
      const y0 = sy | 0;
      const tx = sx - x0;
      const ty = sy - y0;
      const upper = y0 * stride + x0 * channels;
      const nextX = x0 < right ? channels : 0;
      const nextY = y0 < bottom ? stride : 0;
      const w00 = (1 - tx) * (1 - ty);
      const w01 = tx * (1 - ty);
      const w10 = (1 - tx) * ty;
      const w11 = tx * ty;
      for (let channel = 0; channel < channels; channel++) {
        const at = upper + channel;
        out[write++] =
          (w00 * (data[at] as number) +
            w01 * (data[at + nextX] as number) +
            w10 * (data[at + nextY] as number) +
            w11 * (data[at + nextX + nextY] as number) +
            0.5) |
          0;
      }
    }
  }
  return { height, width, channels, data: out };
}

/** The image turned by 90 degrees against the clock. */
export function quarterTurned({ height, width, channels, data }: Pixels): Pixels {
  const out = new Uint8Array(data.byteLength);
  let write = 0;
  for (let y = 0; y < width; y++) {
    for (let x = 0; x < height; x++) {
      const from = (x * width + (width - 1 - y)) * channels;
      for (let channel = 0; channel < channels; channel++) out[write++] = data[from + channel] as number;
    }
  }
  return { height: width, width: height, channels, data: out };
}
