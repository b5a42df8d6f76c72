import type { CodeRange } from "./ranges.ts";

/** The meaning of a tensor's 8-bit codes: `value = scale (code - zero)`. */
export interface Scale {
  readonly scale: number;
  readonly zero: number;
}

/** Values whose codes should be whole numbers, because other codes are derived from these by moving their zero. */
export interface Anchors {
  /** Must lie inside the range, besides zero. */
  readonly inside: readonly number[];
}

/** The least step that runtimes can divide by. */
const leastScale = 1e-9;
/** Whole steps to an anchor from which on the step is fitted to it: that costs at most a third of resolution. */
const leastSteps = 2;

/**
 * Unsigned codes for a range. Zero always has a code of its own (borders of convolutions are zeros). With anchors the range
 * is widened to hold them, and the step to fit the first that is far enough from zero.
 */
export function unsignedScale(range: CodeRange, anchors: Anchors = { inside: [] }): Scale {
  const least = Math.min(0, range.least, ...anchors.inside);
  const most = Math.max(0, range.most, ...anchors.inside);
  let scale = Math.max(leastScale, (most - least) / 255);
  for (const anchor of anchors.inside) {
    const steps = Math.floor(Math.abs(anchor) / scale);
    if (steps < leastSteps) continue;
    scale = Math.abs(anchor) / steps;
    break;
  }
  scale = Math.fround(scale);
  return { scale, zero: Math.min(255, Math.max(0, Math.round(-least / scale))) };
}

/** How much wider codes become by holding anchors: 1 when they lie inside anyway. */
export function widening(range: CodeRange, anchors: Anchors): number {
  const wide = unsignedScale(range, anchors).scale;
  return wide / unsignedScale(range).scale;
}

/**
 * Signed weights, one step for each channel along `axis`, zero at code 0. `leastScales` are the least steps of the channels: the
 * bias of a channel whose weights are next to nothing (a dead one, its normalisation folded in) has codes in such steps, too.
 */
export function signedWeights(
  values: Float32Array,
  dims: readonly number[],
  axis: number,
  leastScales: Float32Array = new Float32Array(),
): { readonly codes: Int8Array; readonly scales: Float32Array } {
  const channels = dims[axis] ?? 1;
  const inner = dims.slice(axis + 1).reduce((count, size) => count * size, 1);
  const channelOf = (at: number): number => Math.floor(at / inner) % channels;
  const largest = new Float32Array(channels);
  for (let at = 0; at < values.length; at++) {
    const channel = channelOf(at);
    largest[channel] = Math.max(largest[channel] ?? 0, Math.abs(values[at] ?? 0));
  }
  const scales = largest.map((most, channel) =>
    Math.max(leastScales[channel] ?? 0, most > 0 ? Math.max(leastScale, most / 127) : 1),
  );
  const codes = Int8Array.from(values, (value, at) =>
    Math.max(-127, Math.min(127, Math.round(value / (scales[channelOf(at)] ?? 1)))),
  );
  return { codes, scales };
}
