import type { Pixels } from "../pixels.ts";

/**
 * Resizing, our own so that it is the same everywhere: doubles with +, - and * only, which every engine rounds alike.
 * Both methods are separable, and their order is chosen for speed. Bilinear reads two source rows for an output row and
 * may skip most of a wide row, so rows are resampled across first; two are kept, since neighbouring output rows share at
 * most two. Area reads every pixel, so rows are mixed downwards first, in long plain loops, and the one mixed row is
 * resampled across.
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

/** Two neighbours, pixel centres at half positions, edges repeated: OpenCV's INTER_LINEAR. */
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

/** The mean over the source interval that an output position covers: OpenCV's INTER_AREA when shrinking. */
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

function acrossThree(
  source: Uint8Array | Float64Array,
  offset: number,
  across: Taps,
  row: Float64Array,
): void {
  const { first, count, weights, most } = across;
  for (let x = 0, out = 0; x < first.length; x++, out += 3) {
    let at = offset + (first[x] as number) * 3;
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let k = x * most, end = k + (count[x] as number); k < end; k++, at += 3) {
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
  source: Uint8Array | Float64Array,
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

/** A row resampled across; the channels of colour images are written out, because that doubles the speed. */
function resampledAcross(
  source: Uint8Array | Float64Array,
  offset: number,
  channels: number,
  across: Taps,
  row: Float64Array,
): void {
  if (channels === 3) acrossThree(source, offset, across, row);
  else acrossAny(source, offset, channels, across, row);
}

function rounded(row: Float64Array, out: Uint8Array, base: number): void {
  for (let x = 0; x < row.length; x++) out[base + x] = ((row[x] as number) + 0.5) | 0;
}

/** Output rows by mixing two rows that were resampled across. */
function acrossFirst(source: Pixels, across: Taps, down: Taps, out: Uint8Array): void {
  const { channels, data } = source;
  const rowLength = across.first.length * channels;
  const rows = [new Float64Array(rowLength), new Float64Array(rowLength)] as const;
  const held = [-1, -1];
  const rowAt = (y: number): Float64Array => {
    const slot = (y & 1) as 0 | 1;
    if (held[slot] !== y) {
      resampledAcross(data, y * source.width * channels, channels, across, rows[slot]);
      held[slot] = y;
    }
    return rows[slot];
  };
  for (let y = 0; y < down.first.length; y++) {
    const top = down.first[y] as number;
    const base = y * rowLength;
    if (down.count[y] === 1) {
      rounded(rowAt(top), out, base);
      continue;
    }
    const [upper, lower] = [rowAt(top), rowAt(top + 1)];
    const a = down.weights[y * down.most] as number;
    const b = down.weights[y * down.most + 1] as number;
    for (let x = 0; x < rowLength; x++) {
      out[base + x] = (a * (upper[x] as number) + b * (lower[x] as number) + 0.5) | 0;
    }
  }
}

/** Adds weighted source rows into `mixed`, up to three at a time, which saves passes over it. */
function mixDown(source: Pixels, down: Taps, y: number, mixed: Float64Array): void {
  const { data } = source;
  const stride = mixed.length;
  const count = down.count[y] as number;
  const weight = (tap: number): number => down.weights[y * down.most + tap] as number;
  let at = (down.first[y] as number) * stride;
  let tap = 0;
  mixed.fill(0);
  for (; tap + 3 <= count; tap += 3, at += 3 * stride) {
    const [a, b, c] = [weight(tap), weight(tap + 1), weight(tap + 2)];
    const second = at + stride;
    const third = second + stride;
    for (let x = 0; x < stride; x++) {
      mixed[x] =
        (mixed[x] as number) +
        a * (data[at + x] as number) +
        b * (data[second + x] as number) +
        c * (data[third + x] as number);
    }
  }
  for (; tap < count; tap++, at += stride) {
    const a = weight(tap);
    for (let x = 0; x < stride; x++) mixed[x] = (mixed[x] as number) + a * (data[at + x] as number);
  }
}

/** Output rows by resampling one mixed row across. */
function downFirst(source: Pixels, across: Taps, down: Taps, out: Uint8Array): void {
  const mixed = new Float64Array(source.width * source.channels);
  const row = new Float64Array(across.first.length * source.channels);
  for (let y = 0; y < down.first.length; y++) {
    mixDown(source, down, y, mixed);
    resampledAcross(mixed, 0, source.channels, across, row);
    rounded(row, out, y * row.length);
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
  const out = new Uint8Array(height * width * channels);
  if (method === "area") downFirst(source, across, down, out);
  else acrossFirst(source, across, down, out);
  return { height, width, channels, data: out };
}

/** Area when an axis shrinks to less than half, where bilinear would skip pixels; bilinear otherwise. */
export function methodFor(source: Pixels, height: number, width: number): ResizeMethod {
  return source.height > 2 * height || source.width > 2 * width ? "area" : "bilinear";
}
