/**
 * Bits of each byte's code in HPACK (RFC 7541, appendix B), the end of strings last. The code is canonical: codes are
 * counted up by their length, then by the byte, so the lengths say all.
 */
// prettier-ignore
const lengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
];

const endOfString = 256;

/**
 * The tree of codes: two entries for each inner node, for a 0 and a 1. A value above 0 is another node's first entry; any other
 * is a byte, as -1 - byte.
 */
function plant(): Int16Array {
  const tree = new Int16Array(2 * lengths.length);
  let nodes = 1;
  const symbols = lengths.map((_, symbol) => symbol).sort((a, b) => (lengths[a] ?? 0) - (lengths[b] ?? 0));
  let code = 0;
  let before = 0;
  for (const symbol of symbols) {
    const length = lengths[symbol] ?? 0;
    code *= 2 ** (length - before);
    before = length;
    let at = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const side = at + (Math.floor(code / 2 ** bit) % 2);
      if (tree[side] === 0) {
        tree[side] = 2 * nodes;
        nodes += 1;
      }
      at = tree[side] ?? 0;
    }
    tree[at + (code % 2)] = -1 - symbol;
    code += 1;
  }
  return tree;
}

const tree: Int16Array = plant();

/**
 * A text in HPACK's Huffman code, each byte a character. Undefined where the bytes are none: with the end of strings
 * inside, or filled up by anything but up to seven ones.
 */
export function huffmanText(bytes: Uint8Array, from: number, to: number): string | undefined {
  let text = "";
  let at = 0;
  let open = 0;
  let ones = true;
  for (let index = from; index < to; index++) {
    const byte = bytes[index] ?? 0;
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >> bit) & 1;
      const next = tree[at + one] ?? 0;
      open += 1;
      if (one === 0) ones = false;
      if (next > 0) {
        at = next;
        continue;
      }
      const symbol = -1 - next;
      if (symbol === endOfString) return undefined;
      text += String.fromCharCode(symbol);
      at = 0;
      open = 0;
      ones = true;
    }
  }
  return open < 8 && ones ? text : undefined;
}
