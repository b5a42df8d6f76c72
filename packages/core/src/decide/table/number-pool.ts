import { estimateSize } from "../../words/estimate/index.ts";

/**
 * A pool of number arrays that are reused after `clear`. Fresh arrays for each belief and each column of a decision took a fifth of the
 * decision and caused most of the garbage.
 */
export interface NumberPool {
  /** An array of at least `count` numbers, with undefined content. */
  take(count?: number): Float64Array;
  /** The same with `value` in the first `count` of them. */
  filled(count: number, value: number): Float64Array;
  /** Returns all arrays to the pool. */
  clear(): void;
}

/** Arrays of `length` numbers each. After a request for more, all later ones are at least twice as long. */
export function numberPool(length: number): NumberPool {
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

/** Beliefs that are not returned. */
export interface BeliefPool {
  /** 16 numbers, all 0. Keeping them retains the block that they lie in. */
  take(): Float64Array;
}

/** Beliefs in shared blocks of `blockSize`: a separate array for each takes ten times as long. */
export function beliefPool(blockSize: number): BeliefPool {
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
      // Twice as fast as `subarray`.
      return new Float64Array(block.buffer, from, estimateSize);
    },
  };
}
