/*
 * Tables of a tabled asymmetric numeral system (J. Duda, "Asymmetric numeral systems: entropy coding combining speed of
 * Huffman coding with compression rate of arithmetic coding", 2013), in the form that Y. Collet's FSE gave it: a state
 * among 2^log, each state standing for one symbol, symbols having as many states as they are frequent. Coding a symbol
 * moves to one of its states and gives off as many low bits as are needed to get there.
 */

/** Symbols are bytes. */
export const alphabet = 256;
/** Smallest and largest table, as powers of two. The largest codes a symbol of 1 in 4096 at its cost. */
export const leastLog = 5;
export const mostLog = 12;

/** How many states each symbol has; they sum to 2^log. */
export interface States {
  readonly log: number;
  readonly counts: Uint16Array;
}

/** The table size that so many symbols are worth: their counts travel too, and coarse ones travel in fewer bits. */
function worthLog(total: number, present: number): number {
  const byLength = 30 - Math.clz32(total);
  const bySymbols = 33 - Math.clz32(Math.max(1, present - 1));
  return Math.min(mostLog, Math.max(leastLog, byLength, bySymbols));
}

/**
 * States in proportion to a histogram with at least two symbols in it, at least one for each symbol that occurs. Symbols
 * that deserve less than one get one; the others share the rest, each within one of its due because the sum is rounded and
 * not the parts.
 */
export function statesFor(histogram: Uint32Array): States {
  let [total, present] = [0, 0];
  for (let symbol = 0; symbol < alphabet; symbol++) {
    const count = histogram[symbol] as number;
    total += count;
    if (count > 0) present++;
  }
  const log = worthLog(total, present);
  const counts = new Uint16Array(alphabet);
  let room = 2 ** log;
  for (let found = true; found;) {
    found = false;
    for (let symbol = 0; symbol < alphabet; symbol++) {
      const count = histogram[symbol] as number;
      if (count === 0 || counts[symbol] === 1 || count * room >= total) continue;
      counts[symbol] = 1;
      room--;
      total -= count;
      found = true;
    }
  }
  let [due, given] = [0, 0];
  for (let symbol = 0; symbol < alphabet; symbol++) {
    if (histogram[symbol] === 0 || counts[symbol] === 1) continue;
    due += histogram[symbol] as number;
    const upTo = Math.floor((due * room) / total);
    counts[symbol] = upTo - given;
    given = upTo;
  }
  return { log, counts };
}

/** Which symbol each state stands for: strides over the table that visit every place once, so that symbols lie apart. */
function spread({ log, counts }: States): Uint8Array {
  const size = 2 ** log;
  const stride = (size >> 1) + (size >> 3) + 3;
  const symbols = new Uint8Array(size);
  let at = 0;
  for (let symbol = 0; symbol < alphabet; symbol++) {
    for (let left = counts[symbol] as number; left > 0; left--) {
      symbols[at] = symbol;
      at = (at + stride) & (size - 1);
    }
  }
  return symbols;
}

/** For coding: bits = (state + `bitsBase`) >>> 16 leave, then state = `next[(state >> bits) + nextBase]`. */
export interface EncodeTable {
  readonly next: Uint16Array;
  readonly bitsBase: Int32Array;
  readonly nextBase: Int32Array;
}

/** The coding table. States run from 2^log to 2^(log + 1) - 1. */
export function encodeTable(states: States): EncodeTable {
  const { log, counts } = states;
  const size = 2 ** log;
  const symbols = spread(states);
  const bitsBase = new Int32Array(alphabet);
  const nextBase = new Int32Array(alphabet);
  const places = new Uint16Array(alphabet);
  let before = 0;
  for (let symbol = 0; symbol < alphabet; symbol++) {
    const count = counts[symbol] as number;
    places[symbol] = before;
    nextBase[symbol] = before - count;
    const most = count > 1 ? log - 31 + Math.clz32(count - 1) : log;
    bitsBase[symbol] = (most << 16) - (count << most);
    before += count;
  }
  const next = new Uint16Array(size);
  for (let at = 0; at < size; at++) {
    const symbol = symbols[at] as number;
    const place = places[symbol] as number;
    next[place] = size + at;
    places[symbol] = place + 1;
  }
  return { next, bitsBase, nextBase };
}

/** For decoding, by state from 0: next state before the bits are added << 16 | number of bits << 8 | symbol. */
export function decodeTable(states: States): Uint32Array {
  const { log } = states;
  const size = 2 ** log;
  const symbols = spread(states);
  const following = states.counts.slice();
  const table = new Uint32Array(size);
  for (let at = 0; at < size; at++) {
    const symbol = symbols[at] as number;
    const state = following[symbol] as number;
    following[symbol] = state + 1;
    const bits = log - 31 + Math.clz32(state);
    table[at] = (((state << bits) - size) << 16) | (bits << 8) | symbol;
  }
  return table;
}
