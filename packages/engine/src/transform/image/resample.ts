import type { Pixels } from "../pixels.ts";

/**
 * Resizing, our own so that it is the same everywhere: doubles with +, - and * only, which every engine rounds alike.
 * Both methods are separable: a row of the source is resampled across once, and rows are then mixed downwards. Two
 * resampled rows are kept, which is enough because neighbouring output rows share at most the last row they read
 * (area) or the last two (bilinear).
 */
export type ResizeMethod = "bilinear" | "area";

/** For each output position, the source positions that it mixes and their weights, which add up to 1. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** `most` weights for each output position. */
  readonly weights: Float64Array;
  readonly most: number;
}

/** Two neighbours, pixel centres at half positions, edges repeated: what OpenCV calls INTER_LINEAR. */
function bilinearTaps(from: number, to: number): Taps {
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Float64Array(to * 2);
  const step = from / to;
  for (let index = 0; index < to; index++) {
    const centre = Math.min(Math.max((index + 0.5) * step - 0.5, 0), from - 1);
    const left = Math.min(Math.floor(centre), Math.max(from - 2, 0));
    const share = centre - left;
    first[index] = left;
    count[index] = share === 0 ? 1 : 2;
    weights[index * 2] = 1 - share;
    weights[index * 2 + 1] = share;
  }
  return { first, count, weights, most: 2 };
}

/** The mean over the source interval that an output position covers: what OpenCV calls INTER_AREA when shrinking. */
function areaTaps(from: number, to: number): Taps {
  const step = from / to;
  const most = Math.ceil(step) + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Float64Array(to * most);
  for (let index = 0; index < to; index++) {
    const begin = index * step;
    const end = Math.min((index + 1) * step, from);
    const left = Math.min(Math.floor(begin + 1e-9), from - 1);
    const right = Math.min(Math.max(Math.ceil(end - 1e-9), left + 1), from);
    first[index] = left;
    count[index] = right - left;
    for (let at = left; at < right; at++) {
      weights[index * most + at - left] = (Math.min(at + 1, end) - Math.max(at, begin)) / (end - begin);
    }
  }
  return { first, count, weights, most };
}

function taps(from: number, to: number, method: ResizeMethod): Taps {
  return method === "area" && from > to ? areaTaps(from, to) : bilinearTaps(from, to);
}

function acrossThree(source: Uint8Array, offset: number, across: Taps, row: Float64Array): void {
  const { first, count, weights, most } = across;
  for (let x = 0, out = 0; x < first.length; x++, out += 3) {
    let at = offset + (first[x] as number) * 3;
    const taps = count[x] as number;
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let tap = 0, k = x * most; tap < taps; tap++, k++, at += 3) {
      const weight = weights[k] as number;
      red += weight * (source[at] as number);
      green += weight * (source[at + 1] as number);
      blue += weight * (source[at + 2] as number);
    }
    row[out] = red;
    row[out + 1] = green;
    row[out + 2] = blue;
  }
}

function acrossAny(
  source: Uint8Array,
  offset: number,
  channels: number,
  across: Taps,
  row: Float64Array,
): void {
  const { first, count, weights, most } = across;
  for (let x = 0; x < first.length; x++) {
    for (let channel = 0; channel < channels; channel++) {
      let at = offset + (first[x] as number) * channels + channel;
      let sum = 0;
      for (let tap = 0; tap < (count[x] as number); tap++, at += channels) {
        sum += (weights[x * most + tap] as number) * (source[at] as number);
      }
      row[x * channels + channel] = sum;
    }
  }
}

/**
 * Resizes to the given size, both at least 1. An axis that grows is always bilinear. The same size gives a copy.
 * Typed-array reads are in bounds by construction of the taps.
 */
export function resizePixels(source: Pixels, height: number, width: number, method: ResizeMethod): Pixels {
  const { channels, data } = source;
  if (height === source.height && width === source.width) return { ...source, data: new Uint8Array(data) };
  const across = taps(source.width, width, method);
  const down = taps(source.height, height, method);
  const stride = source.width * channels;
  const rowLength = width * channels;
  const rows = [new Float64Array(rowLength), new Float64Array(rowLength)] as const;
  const held = [-1, -1];
  const rowAt = (y: number): Float64Array => {
    const slot = y & 1;
    const row = rows[slot as 0 | 1];
    if (held[slot] !== y) {
      if (channels === 3) acrossThree(data, y * stride, across, row);
      else acrossAny(data, y * stride, channels, across, row);
      held[slot] = y;
    }
    return row;
  };
  const out = new Uint8Array(height * rowLength);
  const mixed = new Float64Array(rowLength);
  for (let y = 0; y < height; y++) {
    const top = down.first[y] as number;
    const count = down.count[y] as number;
    const base = y * rowLength;
    if (count === 1) {
      const row = rowAt(top);
      for (let x = 0; x < rowLength; x++) out[base + x] = ((row[x] as number) + 0.5) | 0;
    } else if (count === 2) {
      const [upper, lower] = [rowAt(top), rowAt(top + 1)];
      const a = down.weights[y * down.most] as number;
      const b = down.weights[y * down.most + 1] as number;
      for (let x = 0; x < rowLength; x++) {
        out[base + x] = (a * (upper[x] as number) + b * (lower[x] as number) + 0.5) | 0;
      }
    } else {
      mixed.fill(0.5);
      for (let tap = 0; tap < count; tap++) {
        const row = rowAt(top + tap);
        const weight = down.weights[y * down.most + tap] as number;
        for (let x = 0; x < rowLength; x++) mixed[x] = (mixed[x] as number) + weight * (row[x] as number);
      }
      for (let x = 0; x < rowLength; x++) out[base + x] = (mixed[x] as number) | 0;
    }
  }
  return { height, width, channels, data: out };
}

/** Area when an axis shrinks to less than half, where bilinear would skip pixels; bilinear otherwise. */
export function methodFor(source: Pixels, height: number, width: number): ResizeMethod {
  return source.height > 2 * height || source.width > 2 * width ? "area" : "bilinear";
}
