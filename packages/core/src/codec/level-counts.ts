import { chunkValues, type Kernels, kernels, leastForKernels } from "./kernels/index.ts";
import { alphabet } from "./tans-table.ts";

/**
 * Counts of symbols in four tables side by side, used in turn: equal symbols in a row are frequent, and in one table each
 * count would wait for the one before to be written.
 */
export type SymbolCounts = Uint32Array;

const tables = 4;

/** Nothing counted yet. */
export function symbolCounts(): SymbolCounts {
  return new Uint32Array(tables * alphabet);
}

/** Where levels are made and counted, a chunk at a time. */
export interface Work {
  readonly symbols: Uint8Array;
  readonly counts: SymbolCounts;
  /** Set where symbols and counts are in their memory. */
  readonly kernels?: Kernels;
}

/** Work of so many values, in the memory of the kernels where they run: whoever shares the thread may use it in a later turn. */
export function workOf(count: number): Work {
  const able = count >= leastForKernels ? kernels() : undefined;
  if (able) return { symbols: able.symbols, counts: able.counts, kernels: able };
  return { symbols: new Uint8Array(Math.min(count, chunkValues)), counts: symbolCounts() };
}

/** The tables together, in the first of them. */
export function histogramOf(counts: SymbolCounts): Uint32Array {
  const histogram = counts.subarray(0, alphabet);
  for (let symbol = 0; symbol < alphabet; symbol++) {
    let total = 0;
    for (let table = 0; table < tables; table++) total += counts[table * alphabet + symbol] as number;
    histogram[symbol] = total;
  }
  return histogram;
}
