import { estimateSize, type Estimate, tailSize } from "../../words/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import { beliefSize, writeBelief } from "./beliefs.ts";

/** Sizes in bytes at which the belief about a link is stored. Other sizes are interpolated. */
export const transferSizes: readonly number[] = [
  0, 1_000, 4_000, 12_000, 36_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000,
];

/** Number of sizes. */
export const sizeCount: number = transferSizes.length;

/**
 * The belief about one link at one moment: `sizeCount` estimates for each direction. A `Link` may compute for a while, so the table is
 * built off the hot path.
 */
export interface LinkTable {
  /** Times to send, one belief for each size. */
  readonly up: Float64Array;
  /** Times to receive, one belief for each size. */
  readonly down: Float64Array;
  /** Tail of each time to send; its last value if no tail is known. */
  readonly upTail: Float64Array;
  /** Time of the belief. */
  readonly atMs: number;
  /** Origin of the times to send. */
  readonly origin: Estimate["origin"];
}

/** Reads the link's belief at each size. */
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

/** A table that does not change with time, for in-process endpoints and tests. */
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

/** Position of a size between two of `transferSizes`. Beyond the last, the belief is extrapolated in a straight line. */
export interface SizePosition {
  /** Position of the lower of the two. */
  readonly index: number;
  /** Distance from it, as a share of the distance between the two; above 1 beyond the last. */
  readonly fraction: number;
}

/** Finds the position of `bytes` among `transferSizes`. */
export function sizePosition(bytes: number): SizePosition {
  const index = sizeIndex(bytes);
  return { index, fraction: sizeFraction(bytes, index) };
}

/** `SizePosition.index` of `bytes` without an object, for tables of many sizes. */
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

/** A size in a list of distinct sizes. */
export interface MetSize extends SizePosition {
  readonly bytes: number;
  /** Position in that list. */
  readonly at: number;
}

/** Finds a size in the list, or adds it. Few sizes differ, and most often the last one comes again. */
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
