import { estimateSize } from "../../words/estimate/index.ts";

/**
 * Hands out arrays of numbers that are handed out again after `clear`: one for each belief and each column of a decision,
 * made again each time, took a fifth of it and most of what the garbage collector had to do.
 */
export interface NumberRoom {
  /** An array of at least that many numbers, with whatever was left in it. */
  take(count?: number): Float64Array;
  /** The same with `value` in the first `count` of them. */
  filled(count: number, value: number): Float64Array;
  /** Everything that was taken may be handed out again. */
  clear(): void;
}

/** Arrays of `length` numbers each; once more are asked for, all that follow are twice as long or longer. */
export function numberRoom(length: number): NumberRoom {
  let arrays: Float64Array[] = [];
  let taken = 0;
  const take = (count: number = length): Float64Array => {
    if (count > length) {
      length = Math.max(2 * length, count);
      arrays = [];
      taken = 0;
    }
    return (arrays[taken++] ??= new Float64Array(length));
  };
  return {
    take,
    filled: (count, value) => take(count).fill(value, 0, count),
    clear() {
      taken = 0;
    },
  };
}

/** Beliefs that stay with whoever takes them. */
export interface BeliefRoom {
  /** 16 numbers, all 0. Whoever keeps them keeps the block that they lie in. */
  take(): Float64Array;
}

/** Beliefs out of common blocks, which hold `blockSize` of them: an array of its own for each takes ten times as long. */
export function beliefRoom(blockSize: number): BeliefRoom {
  let block = new Float64Array(0);
  let taken = 0;
  return {
    take() {
      if (taken === block.length) {
        block = new Float64Array(blockSize * estimateSize);
        taken = 0;
      }
      const from = taken * block.BYTES_PER_ELEMENT;
      taken += estimateSize;
      // Twice as quick as a subarray of it.
      return new Float64Array(block.buffer, from, estimateSize);
    },
  };
}
