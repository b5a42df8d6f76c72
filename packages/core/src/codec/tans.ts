import { type ReadCounts, readCounts, writeCounts } from "./count-bits.ts";
import { decodeTable, encodeTable, leastLog, mostLog, statesFor } from "./tans-table.ts";

/*
 * Bytes by two interleaved states: symbols of even index by the first, of odd index by the second, so that a processor
 * works on two at a time. Coding goes from the last symbol to the first and writes its bits upwards; decoding starts at the
 * end of the bits and takes them downwards, symbols in order. After the bits of all symbols come the two states that coding
 * ended in, the second first, and a 1 that marks the end. Both states begin at 2^log; a decoder that does not end there
 * with no bit left was given something else.
 *
 * Two symbols give off at most 24 bits, and fewer than 8 wait in the register, so one 32-bit store a pair is enough, whether
 * bytes are full or not: no branch depends on the data.
 */

/**
 * Bytes beyond the result that `encodeSymbols` may touch: a table's counts at their worst (one bit short of 4 bytes a symbol)
 * and what the stores run ahead.
 */
export const slack = 1024;

/**
 * Codes symbols into `out` from `at` on and gives where they end, or -1 when that is not below `at + symbols.length`: then
 * they are better stored. `out` must hold `symbols.length + slack` bytes from `at` on, `histogram` at least two symbols.
 */
export function encodeSymbols(
  symbols: Uint8Array,
  histogram: Uint32Array,
  out: Uint8Array,
  at: number,
): number {
  const states = statesFor(histogram);
  out[at] = states.log;
  const start = writeCounts(states, out, at + 3);
  const end = encodeBits(symbols, states.log, encodeTable(states), out, start, at + symbols.length);
  if (end < 0) return -1;
  const length = end - start;
  out[at + 1] = length;
  out[at + 2] = length >> 8;
  return end;
}

function encodeBits(
  symbols: Uint8Array,
  log: number,
  { next, bitsBase, nextBase }: ReturnType<typeof encodeTable>,
  out: Uint8Array,
  start: number,
  limit: number,
): number {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  let first = 1 << log;
  let second = first;
  let held = 0;
  let bits = 0;
  let at = start;
  let index = symbols.length - 1;
  if (symbols.length % 2 === 1) {
    const symbol = symbols[index--] as number;
    bits = (first + (bitsBase[symbol] as number)) >>> 16;
    held = first & ((1 << bits) - 1);
    first = next[(first >> bits) + (nextBase[symbol] as number)] as number;
  }
  for (; index > 0; index -= 2) {
    const odd = symbols[index] as number;
    const oddBits = (second + (bitsBase[odd] as number)) >>> 16;
    held |= (second & ((1 << oddBits) - 1)) << bits;
    bits += oddBits;
    second = next[(second >> oddBits) + (nextBase[odd] as number)] as number;
    const even = symbols[index - 1] as number;
    const evenBits = (first + (bitsBase[even] as number)) >>> 16;
    held |= (first & ((1 << evenBits) - 1)) << bits;
    bits += evenBits;
    first = next[(first >> evenBits) + (nextBase[even] as number)] as number;
    view.setInt32(at, held, true);
    at += bits >> 3;
    held >>>= bits & 24;
    bits &= 7;
    if (at >= limit) return -1;
  }
  const mask = (1 << log) - 1;
  held |= (second & mask) << bits;
  bits += log;
  view.setInt32(at, held, true);
  at += bits >> 3;
  held = (held >>> (bits & 24)) | ((first & mask) << (bits & 7));
  bits = (bits & 7) + log;
  held |= 1 << bits;
  view.setInt32(at, held, true);
  at += (bits >> 3) + 1;
  return at < limit ? at : -1;
}

/** Where the coded symbols ended in `bytes`. */
export type Decoded = number | string;

/**
 * Decodes what `encodeSymbols` wrote at `at` so that all of `symbols` are set. Gives where it ended, or a sentence on what
 * is wrong with it. Reads nothing beyond `bytes` and takes one step for every two symbols, whatever came.
 */
export function decodeSymbols(bytes: Uint8Array, at: number, symbols: Uint8Array): Decoded {
  const log = bytes[at] ?? 0;
  if (log < leastLog || log > mostLog) return `${log} is no size of a table`;
  const read: ReadCounts | undefined = readCounts(bytes, at + 3, log);
  const length = (bytes[at + 1] ?? 0) + (bytes[at + 2] ?? 0) * 256;
  if (!read) return "its counts are broken";
  if (length === 0 || read.end + length > bytes.length) return "its bits are cut";
  const last = bytes[read.end + length - 1] as number;
  if (last === 0) return "the end of its bits is not marked";
  const marker = length * 8 - 1 - (Math.clz32(last) - 24);
  // a copy with room behind it: the window below is 4 bytes wide
  const window = new Uint8Array(length + 4);
  window.set(bytes.subarray(read.end, read.end + length));
  const whole = decodeBits(new DataView(window.buffer), marker, decodeTable(read.states), log, symbols);
  return whole ? read.end + length : "its bits are broken";
}

function decodeBits(
  view: DataView,
  marker: number,
  table: Uint32Array,
  log: number,
  symbols: Uint8Array,
): boolean {
  const mask = (1 << log) - 1;
  let bit = marker - 2 * log;
  if (bit < 0) return false;
  const states = view.getUint32(bit >> 3, true) >>> (bit & 7);
  let second = states & mask;
  let first = (states >>> log) & mask;
  const pairs = symbols.length & ~1;
  for (let index = 0; index < pairs; index += 2) {
    const even = table[first] as number;
    const odd = table[second] as number;
    const evenBits = (even >>> 8) & 15;
    const oddBits = (odd >>> 8) & 15;
    bit -= evenBits + oddBits;
    if (bit < 0) return false;
    const window = view.getUint32(bit >> 3, true) >>> (bit & 7);
    symbols[index] = even;
    symbols[index + 1] = odd;
    second = (odd >>> 16) + (window & ((1 << oddBits) - 1));
    first = (even >>> 16) + ((window >>> oddBits) & ((1 << evenBits) - 1));
  }
  if (symbols.length > pairs) {
    const even = table[first] as number;
    const evenBits = (even >>> 8) & 15;
    bit -= evenBits;
    if (bit < 0) return false;
    symbols[pairs] = even;
    first = (even >>> 16) + ((view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << evenBits) - 1));
  }
  return bit === 0 && first === 0 && second === 0;
}
