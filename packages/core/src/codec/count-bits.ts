import { alphabet, type States } from "./tans-table.ts";

/*
 * The counts of a table as bits, from the low bit of each byte up. Symbol after symbol: the count in an Exp-Golomb code
 * (K. Teuhola, "A compression method for clustered bit-vectors", 1978) whose order is one less than the bits of the last
 * count that was not 0, because neighbouring levels are about equally frequent. After a 0 the number of further zeros
 * follows, in order 0. The counts end where they sum to the size of the table.
 */

/** Writes the counts from `at` on; gives where they end. At most 27 bits a symbol are written. */
export function writeCounts({ log, counts }: States, out: Uint8Array, at: number): number {
  let [held, bits] = [0, 0];
  const put = (value: number, order: number): void => {
    const more = value + 2 ** order;
    const length = 32 - Math.clz32(more);
    // as many zeros as there are bits beyond order + 1, then the bits from the highest down
    for (let zeros = length - order - 1; zeros > 0; zeros--) push(0);
    for (let bit = length - 1; bit >= 0; bit--) push((more >>> bit) & 1);
  };
  const push = (bit: number): void => {
    held |= bit << bits;
    if (++bits < 8) return;
    out[at++] = held;
    held = bits = 0;
  };
  let left = 2 ** log;
  let last = 1;
  for (let symbol = 0; symbol < alphabet && left > 0; symbol++) {
    const count = counts[symbol] as number;
    put(count, 31 - Math.clz32(last));
    left -= count;
    if (count > 0) {
      last = count;
      continue;
    }
    let zeros = 0;
    while (counts[symbol + 1] === 0) {
      zeros++;
      symbol++;
    }
    put(zeros, 0);
  }
  if (bits > 0) out[at++] = held;
  return at;
}

/** Counts that were read, and where they ended. */
export interface ReadCounts {
  readonly states: States;
  readonly end: number;
}

/** Reads the counts of a table of 2^log; undefined when they are none. */
export function readCounts(bytes: Uint8Array, at: number, log: number): ReadCounts | undefined {
  const most = bytes.length * 8;
  let bit = at * 8;
  const take = (order: number): number => {
    let length = order + 1;
    for (; bit < most && ((bytes[bit >> 3] as number) >> (bit & 7)) % 2 === 0; bit++) length++;
    // no code of a count or a run is longer, and what runs past the end is no code
    if (length > 14 || bit + length > most) return -1;
    let value = 0;
    for (; length > 0; length--, bit++) value = value * 2 + (((bytes[bit >> 3] as number) >> (bit & 7)) & 1);
    return value - 2 ** order;
  };
  const counts = new Uint16Array(alphabet);
  let left = 2 ** log;
  let last = 1;
  for (let symbol = 0; symbol < alphabet && left > 0; symbol++) {
    const count = take(31 - Math.clz32(last));
    if (count < 0 || count > left) return undefined;
    counts[symbol] = count;
    left -= count;
    if (count > 0) {
      last = count;
      continue;
    }
    const zeros = take(0);
    if (zeros < 0) return undefined;
    symbol += zeros;
  }
  return left === 0 ? { states: { log, counts }, end: (bit + 7) >> 3 } : undefined;
}
