import type { Kernels } from "./kernels/index.ts";
import { alphabet } from "./tans-table.ts";

/*
 * A prefix code (D. Huffman, "A method for the construction of minimum-redundancy codes", 1952) of at most 12 bits a symbol,
 * canonical: shorter codes first, equal lengths in order of the symbol, counting up. Codes lie in the bits from the low end
 * up, their first bit lowest.
 *
 * The symbols are four runs of `ceil(n / 4)` (the last has the rest), each in bits of its own: a code says where the next
 * begins only after it was looked up, and four such chains at once keep a processor busy. Two codes give at most 24 bits, and
 * fewer than 8 wait in the register, so one 32-bit access does for two symbols without a branch.
 */

const mostBits = 12;
/** Runs, each with 2 bytes of length before the bits. */
const runs = 4;
/** Nibbles that stand for runs of lengths that are 0: of 3 to 18, and of 19 to 274. */
const shortZeros = 13;
const longZeros = 14;

/** Code lengths of the symbols, and the bits that all symbols of the histogram take with them. */
export interface Lengths {
  readonly lengths: Uint8Array;
  readonly bits: number;
}

/** The lengths for a histogram with at least two symbols in it. */
export function lengthsFor(histogram: Uint32Array): Lengths {
  const keys = new Float64Array(alphabet);
  let [total, present] = [0, 0];
  for (let symbol = 0; symbol < alphabet; symbol++) {
    const count = histogram[symbol] as number;
    total += count;
    if (count > 0) keys[present++] = count * alphabet + symbol;
  }
  const sorted = keys.subarray(0, present).sort();
  // rare symbols count for more than they are until no code is too long; at the latest when all count the same
  let depths = depthsOf(sorted, total >> mostBits);
  for (let floor = Math.max(1, total >> (mostBits - 1)); (depths[0] as number) > mostBits; floor *= 2) {
    depths = depthsOf(sorted, floor);
  }
  const lengths = new Uint8Array(alphabet);
  let bits = 0;
  for (let rank = 0; rank < present; rank++) {
    const symbol = (sorted[rank] as number) % alphabet;
    lengths[symbol] = depths[rank] as number;
    bits += (histogram[symbol] as number) * (depths[rank] as number);
  }
  return { lengths, bits };
}

/** Depths in the tree of the symbols by rank, rarest (and deepest) first. Counts below `floor` count as `floor`. */
function depthsOf(sorted: Float64Array, floor: number): Uint16Array {
  const leaves = sorted.length;
  const all = 2 * leaves - 1;
  const weights = new Float64Array(all);
  const parents = new Uint16Array(all);
  for (let rank = 0; rank < leaves; rank++) {
    weights[rank] = Math.max(floor, Math.floor((sorted[rank] as number) / alphabet));
  }
  // leaves are sorted, and joined nodes come out sorted by themselves: the lightest is at the head of one of the two queues
  let [leaf, inner] = [0, leaves];
  for (let node = leaves; node < all; node++) {
    for (let child = 0; child < 2; child++) {
      const takesLeaf =
        leaf < leaves && (inner >= node || (weights[leaf] as number) <= (weights[inner] as number));
      const taken = takesLeaf ? leaf++ : inner++;
      weights[node] = (weights[node] as number) + (weights[taken] as number);
      parents[taken] = node;
    }
  }
  const depths = new Uint16Array(all);
  for (let node = all - 2; node >= 0; node--) {
    depths[node] = (depths[parents[node] as number] as number) + 1;
  }
  return depths.subarray(0, leaves);
}

/** Codes by symbol: bits << 4 | length. */
function codesOf(lengths: Uint8Array): Uint16Array {
  const codes = new Uint16Array(alphabet);
  let next = 0;
  for (let length = 1; length <= mostBits; length++, next <<= 1) {
    for (let symbol = 0; symbol < alphabet; symbol++) {
      if (lengths[symbol] !== length) continue;
      let bits = 0;
      for (let bit = 0; bit < length; bit++) bits |= ((next >> bit) & 1) << (length - 1 - bit);
      codes[symbol] = (bits << 4) | length;
      next++;
    }
  }
  return codes;
}

/** Writes lengths as nibbles, the low one of a byte first; gives where they end. */
function writeLengths(lengths: Uint8Array, out: Uint8Array, at: number): number {
  let half = false;
  const put = (nibble: number): void => {
    if (half) out[at] = (out[at++] as number) | (nibble << 4);
    else out[at] = nibble;
    half = !half;
  };
  for (let symbol = 0; symbol < alphabet;) {
    let zeros = 0;
    while (lengths[symbol + zeros] === 0) zeros++;
    if (zeros < 3) {
      put(lengths[symbol++] as number);
      continue;
    }
    symbol += zeros;
    if (zeros < 19) {
      put(shortZeros);
      put(zeros - 3);
    } else {
      put(longZeros);
      put((zeros - 19) & 15);
      put((zeros - 19) >> 4);
    }
  }
  return half ? at + 1 : at;
}

/** Reads lengths and where they end; undefined when they are no complete code. */
function readLengths(
  bytes: Uint8Array,
  at: number,
): { readonly lengths: Uint8Array; readonly end: number } | undefined {
  let nibble = at * 2;
  const take = (): number => {
    const byte = bytes[nibble >> 1] ?? 0xff;
    return nibble++ % 2 === 0 ? byte & 15 : byte >> 4;
  };
  const lengths = new Uint8Array(alphabet);
  let space = 0;
  let symbol = 0;
  while (symbol < alphabet) {
    const length = take();
    if (length === shortZeros) symbol += 3 + take();
    else if (length === longZeros) symbol += 19 + take() + take() * 16;
    else if (length > mostBits) return undefined;
    else {
      lengths[symbol++] = length;
      if (length > 0) space += 2 ** (mostBits - length);
    }
  }
  const end = (nibble + 1) >> 1;
  return symbol === alphabet && space === 2 ** mostBits && end <= bytes.length ? { lengths, end } : undefined;
}

/**
 * Codes symbols (at least 16 of them) into `out` from `at` on; gives where they end, or -1 when they would not get smaller.
 * `out` must hold `symbols.length` and some 300 bytes from `at` on. With `kernels` the symbols are the first in their memory.
 */
export function encodePrefix(
  symbols: Uint8Array,
  { lengths, bits }: Lengths,
  out: Uint8Array,
  at: number,
  kernels?: Kernels,
): number {
  const codes = codesOf(lengths);
  const head = writeLengths(lengths, out, at);
  let to = head + 2 * runs;
  if (to - at + Math.ceil(bits / 8) + runs >= symbols.length) return -1;
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  const size = Math.ceil(symbols.length / runs);
  for (let run = 0; run < runs; run++) {
    const from = run * size;
    const until = Math.min(symbols.length, from + size);
    const end = kernels
      ? kernels.write(codes, from, until, out, to)
      : encodeRun(symbols, from, until, codes, view, to);
    view.setUint16(head + 2 * run, end - to, true);
    to = end;
  }
  return to;
}

function encodeRun(
  symbols: Uint8Array,
  from: number,
  to: number,
  codes: Uint16Array,
  view: DataView,
  at: number,
): number {
  let held = 0;
  let bits = 0;
  let index = from;
  for (const last = to - 1; index < last; index += 2) {
    const first = codes[symbols[index] as number] as number;
    const second = codes[symbols[index + 1] as number] as number;
    held |= (first >> 4) << bits;
    bits += first & 15;
    held |= (second >> 4) << bits;
    bits += second & 15;
    view.setInt32(at, held, true);
    at += bits >> 3;
    held >>>= bits & 24;
    bits &= 7;
  }
  if (index < to) {
    const code = codes[symbols[index] as number] as number;
    held |= (code >> 4) << bits;
    bits += code & 15;
  }
  view.setInt32(at, held, true);
  return at + ((bits + 7) >> 3);
}

/**
 * Decodes what `encodePrefix` wrote at `at` so that all of `symbols` are set. Gives where it ended, or a sentence on what is
 * wrong with it. Reads nothing beyond `bytes` and takes one step for every eight symbols, whatever came.
 */
export function decodePrefix(bytes: Uint8Array, at: number, symbols: Uint8Array): number | string {
  const read = readLengths(bytes, at);
  if (!read) return "its code lengths are broken";
  const head = read.end;
  const starts = new Uint32Array(runs + 1);
  starts[0] = head + 2 * runs;
  for (let run = 0; run < runs; run++) {
    const length = (bytes[head + 2 * run] ?? 0) + (bytes[head + 2 * run + 1] ?? 0) * 256;
    starts[run + 1] = (starts[run] as number) + length;
  }
  const end = starts[runs] as number;
  if (end > bytes.length) return "its bits are cut";
  // a copy with room behind it: windows are 4 bytes wide
  const origin = head + 2 * runs;
  const copy = new Uint8Array(end - origin + 8);
  copy.set(bytes.subarray(origin, end));
  const bits = starts.map((start) => (start - origin) * 8);
  return decodeRuns(new DataView(copy.buffer), bits, tableOf(read.lengths), symbols)
    ? end
    : "its bits are broken";
}

/** Symbols by the next 12 bits: length << 8 | symbol. */
function tableOf(lengths: Uint8Array): Uint16Array {
  const codes = codesOf(lengths);
  const table = new Uint16Array(2 ** mostBits);
  for (let symbol = 0; symbol < alphabet; symbol++) {
    const code = codes[symbol] as number;
    const length = code & 15;
    if (length === 0) continue;
    for (let place = code >> 4; place < table.length; place += 1 << length)
      table[place] = (length << 8) | symbol;
  }
  return table;
}

function decodeRuns(view: DataView, bits: Uint32Array, table: Uint16Array, symbols: Uint8Array): boolean {
  const size = Math.ceil(symbols.length / runs);
  let [a = 0, b = 0, c = 0, d = 0] = bits;
  const [, endA = 0, endB = 0, endC = 0, endD = 0] = bits;
  // as far as the last run, the shortest, has pairs
  const pairs = (symbols.length - 3 * size) & ~1;
  for (let index = 0; index < pairs; index += 2) {
    if (a > endA || b > endB || c > endC || d > endD) return false;
    const windowA = view.getUint32(a >> 3, true) >>> (a & 7);
    const windowB = view.getUint32(b >> 3, true) >>> (b & 7);
    const windowC = view.getUint32(c >> 3, true) >>> (c & 7);
    const windowD = view.getUint32(d >> 3, true) >>> (d & 7);
    const firstA = table[windowA & 4095] as number;
    const firstB = table[windowB & 4095] as number;
    const firstC = table[windowC & 4095] as number;
    const firstD = table[windowD & 4095] as number;
    symbols[index] = firstA;
    symbols[index + size] = firstB;
    symbols[index + 2 * size] = firstC;
    symbols[index + 3 * size] = firstD;
    const secondA = table[(windowA >>> (firstA >> 8)) & 4095] as number;
    const secondB = table[(windowB >>> (firstB >> 8)) & 4095] as number;
    const secondC = table[(windowC >>> (firstC >> 8)) & 4095] as number;
    const secondD = table[(windowD >>> (firstD >> 8)) & 4095] as number;
    symbols[index + 1] = secondA;
    symbols[index + size + 1] = secondB;
    symbols[index + 2 * size + 1] = secondC;
    symbols[index + 3 * size + 1] = secondD;
    a += (firstA >> 8) + (secondA >> 8);
    b += (firstB >> 8) + (secondB >> 8);
    c += (firstC >> 8) + (secondC >> 8);
    d += (firstD >> 8) + (secondD >> 8);
  }
  const rest = [a, b, c, d];
  const ends = [endA, endB, endC, endD];
  return rest.every((from, run) => {
    let bit = from;
    const to = Math.min(symbols.length, (run + 1) * size);
    for (let index = run * size + pairs; index < to; index++) {
      if (bit > (ends[run] as number)) return false;
      const entry = table[(view.getUint32(bit >> 3, true) >>> (bit & 7)) & 4095] as number;
      symbols[index] = entry;
      bit += entry >> 8;
    }
    // the last byte may be part full, no more than that
    const left = (ends[run] as number) - bit;
    return left >= 0 && left < 8;
  });
}
