import { alphabet } from "../tans-table.ts";
import { code } from "./code.ts";

/** Values in a chunk, which is what the memory of the kernels is made for. */
export const chunkValues = 65_536;

/** Fewer values than this are done before they are copied into that memory. */
export const leastForKernels = 256;

/** What `kernels.wat` does, and its memory. All of it is free again whenever others of the same thread have their turn. */
export interface Kernels {
  /** Symbols of a chunk. */
  readonly symbols: Uint8Array;
  /** Their counts; see `SymbolCounts`. */
  readonly counts: Uint32Array;
  /** Least and most key of one or more values; see `finiteRange`. */
  range(values: Float32Array): readonly [least: number, most: number];
  /**
   * Writes levels of at most a chunk of values (`value * factor + up`, cut to a whole number), or their differences from the
   * one before, to `symbols` from `at` on, and counts them. Bytes behind them are lost. Gives the last level.
   */
  read(
    values: Float32Array,
    at: number,
    factor: number,
    up: number,
    differences: boolean,
    before: number,
  ): number;
  /** Writes `symbols` from `from` to `to` by codes of bits << 4 | length, at most 12 bits, to `out` from `at` on; gives where they end. */
  write(codes: Uint16Array, from: number, to: number, out: Uint8Array, at: number): number;
  /** Levels from differences in place; `before` is the level before the first. */
  restore(levels: Uint8Array, before: number): void;
  /** The value of each level by a table of 256. */
  values(levels: Uint8Array, table: Float32Array, out: Float32Array): void;
}

interface Exports {
  readonly memory: WebAssembly.Memory;
  range(endBytes: number): void;
  read(endBytes: number, to: number, factor: number, up: number, apart: number, before: number): number;
  write(from: number, to: number, at: number): number;
  restore(endBytes: number, before: number): void;
  values(endBytes: number): void;
}

const symbolsAt = 0x40000;
const rangeAt = 0x50100;
const countsAt = 0x51000;
const codesAt = 0x52000;
const tableAt = 0x52400;
const bitsAt = 0x53000;

/** Of the thread: all of it is rewritten before it is read, and who codes has no object of its own that could hold it. */
let known: Kernels | false | undefined;

/** The kernels of this thread; undefined where there is no WebAssembly with SIMD, or the page's policy forbids it. */
export function kernels(): Kernels | undefined {
  known ??= made() ?? false;
  return known || undefined;
}

function made(): Kernels | undefined {
  let exports: Exports;
  try {
    const bytes = Uint8Array.from(atob(code), (letter) => letter.charCodeAt(0));
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    exports = instance.exports as unknown as Exports;
  } catch {
    return undefined;
  }
  const { buffer } = exports.memory;
  const floats = new Float32Array(buffer, 0, chunkValues);
  const bytes = new Uint8Array(buffer);
  const symbols = new Uint8Array(buffer, symbolsAt, chunkValues);
  const counts = new Uint32Array(buffer, countsAt, 4 * alphabet);
  const keys = new Int32Array(buffer, rangeAt, 8);
  const codes = new Uint32Array(buffer, codesAt, alphabet);
  const valueOf = new Float32Array(buffer, tableAt, alphabet);

  /** Copies values in, the last one again up to a multiple of `step`; gives how many there are then. */
  function put(values: Float32Array, step: number): number {
    const { length } = values;
    const padded = Math.ceil(length / step) * step;
    floats.set(values);
    floats.fill(values[length - 1] as number, length, padded);
    return padded;
  }

  return {
    symbols,
    counts,
    range(values) {
      let [least, most] = [0x7fffffff, -0x80000000];
      for (let from = 0; from < values.length; from += chunkValues) {
        exports.range(4 * put(values.subarray(from, from + chunkValues), 4));
        for (let lane = 0; lane < 4; lane++) {
          least = Math.min(least, keys[lane] as number);
          most = Math.max(most, keys[lane + 4] as number);
        }
      }
      return [least, most];
    },
    read(values, at, factor, up, differences, before) {
      const { length } = values;
      const padded = put(values, 16);
      const last = exports.read(4 * padded, symbolsAt + at, factor, up, differences ? -1 : 0, before);
      for (let index = length; index < padded; index++) {
        const place = (index % 4) * alphabet + (bytes[symbolsAt + at + index] as number);
        counts[place] = (counts[place] as number) - 1;
      }
      return last;
    },
    write(codesOf, from, to, out, at) {
      codes.set(codesOf);
      const end = exports.write(symbolsAt + from, symbolsAt + to, bitsAt);
      out.set(bytes.subarray(bitsAt, end), at);
      return at + end - bitsAt;
    },
    restore(levels, before) {
      let left = before;
      for (let from = 0; from < levels.length; from += chunkValues) {
        const part = levels.subarray(from, from + chunkValues);
        symbols.set(part);
        exports.restore(part.length, left);
        part.set(symbols.subarray(0, part.length));
        left = part.at(-1) as number;
      }
    },
    values(levels, table, out) {
      valueOf.set(table);
      for (let from = 0; from < levels.length; from += chunkValues) {
        const part = levels.subarray(from, from + chunkValues);
        symbols.set(part);
        exports.values(part.length);
        out.set(floats.subarray(0, part.length), from);
      }
    },
  };
}
