import { estimateSize, type Estimate, tailSize } from "../../words/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import { beliefSize, writeBelief } from "./beliefs.ts";

/** Sizes in bytes at which the belief about a link is written down; between them it is interpolated. */
export const transferSizes: readonly number[] = [
  0, 1_000, 4_000, 12_000, 36_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000,
];

/** Number of sizes. */
export const sizeCount: number = transferSizes.length;

/**
 * What is believed of one link at one moment, as `sizeCount` beliefs for each direction. Made off the hot path
 * from a `Link`, which may think for a while.
 */
export interface LinkTable {
  readonly up: Float64Array;
  readonly down: Float64Array;
  /** Of the way up, the tail of each size; its last value where none is known. */
  readonly upTail: Float64Array;
  /** Instant of the view of the link. */
  readonly atMs: number;
  readonly origin: Estimate["origin"];
}

/** Asks the link for its belief at each size. */
export function linkTable(link: Link, nowMs: number): LinkTable {
  const up = new Float64Array(beliefSize * sizeCount);
  const down = new Float64Array(beliefSize * sizeCount);
  const upTail = new Float64Array(tailSize * sizeCount);
  let origin: Estimate["origin"] = "prior";
  for (const [row, bytes] of transferSizes.entries()) {
    const there = link.transferMs(bytes, "up", nowMs);
    writeBelief(up, sizeCount, row, there.values);
    writeBelief(down, sizeCount, row, link.transferMs(bytes, "down", nowMs).values);
    const last = there.values[estimateSize - 1] ?? 0;
    for (let at = 0; at < tailSize; at++) upTail[row * tailSize + at] = there.tail?.[at] ?? last;
    origin = there.origin;
  }
  return { up, down, upTail, atMs: nowMs, origin };
}

/** A table that says the same whatever the time: for in-process endpoints and tests. */
export function linkTableOf(
  transferMs: (bytes: number, direction: "up" | "down") => ArrayLike<number> | number,
  atMs = 0,
): LinkTable {
  const estimate = (bytes: number, direction: "up" | "down"): Estimate => {
    const said = transferMs(bytes, direction);
    const values =
      typeof said === "number" ? new Float64Array(estimateSize).fill(said) : Float64Array.from(said);
    return { values, observedAtMs: atMs, origin: "measured" };
  };
  return linkTable({ transferMs: estimate, roundTripMs: () => estimate(0, "up") }, atMs);
}

/** Where `bytes` lies between two sizes. Beyond the last it goes on in a straight line. */
export interface SizePosition {
  readonly index: number;
  readonly fraction: number;
}

/** Finds the position of `bytes` among `transferSizes`. */
export function sizePosition(bytes: number): SizePosition {
  const index = sizeIndex(bytes);
  return { index, fraction: sizeFraction(bytes, index) };
}

/** `SizePosition.index` of `bytes`, by itself: whoever looks for very many keeps numbers, not objects. */
export function sizeIndex(bytes: number): number {
  let index = 0;
  while (index < sizeCount - 2 && bytes > (transferSizes[index + 1] ?? Infinity)) index++;
  return index;
}

/** `SizePosition.fraction` of `bytes` at its index. */
export function sizeFraction(bytes: number, index: number): number {
  const low = transferSizes[index] ?? 0;
  const high = transferSizes[index + 1] ?? 1;
  return (bytes - low) / (high - low);
}

/** One of some sizes that differ. */
export interface MetSize extends SizePosition {
  readonly bytes: number;
  /** Among them. */
  readonly at: number;
}

/** The size of `bytes` among those met so far: few differ, and mostly it is the last one again. */
export function metSize(sizes: MetSize[], bytes: number): MetSize {
  for (let at = sizes.length - 1; at >= 0; at--) {
    const one = sizes[at];
    if (one?.bytes === bytes) return one;
  }
  const { index, fraction } = sizePosition(bytes);
  const met = { bytes, at: sizes.length, index, fraction };
  sizes.push(met);
  return met;
}
