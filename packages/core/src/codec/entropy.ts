import { chunkValues } from "./kernels/index.ts";
import { histogramOf, type Work, workOf } from "./level-counts.ts";
import { bitsOf, choosePredictor, type LevelSource, predictors, restore } from "./predict.ts";
import { decodePrefix, encodePrefix, lengthsFor } from "./huffman.ts";
import { decodeSymbols, encodeSymbols, slack } from "./tans.ts";

/*
 * Levels of a quantised tensor in fewer bytes: each predicted from the one before (see predict.ts), the differences in
 * chunks that each have a code of their own, because channels differ and a chunk stays in the cache while it is worked
 * on. A chunk leads with what it is: 0, stored; 1, all equal; 2, in a prefix code (see huffman.ts); 5 to 12, coded with a
 * table of that power of two (see tans.ts). Levels that do not get smaller that way are the body themselves, which its length
 * tells: it is never otherwise as long.
 *
 * A prefix code is the faster of the two each way and is within 1.1 % of the least possible on the activations of the sample
 * networks. Where one difference is so frequent that it deserves less than a bit, as behind a ReLU, it is not, and the table
 * is taken.
 */

const stored = 0;
const constant = 1;
const prefix = 2;
/** Fewer symbols than this are stored. */
const leastCoded = 16;
/** Bits that a table must save of those of the prefix code. */
const tableRatio = 0.97;
/** Values after which others have their turn: some 2 ms of work. */
export const breathValues = 262_144;

/** Lets others have their turn before a large tensor goes on; the platform knows how. */
export type Breathe = () => Promise<void>;

/** The levels coded. `zero` is the level of 0. Nothing is kept in `work` while others have their turn. */
export async function encodeLevels(
  source: LevelSource,
  zero: number,
  breathe?: Breathe,
  work: Work = workOf(source.count),
): Promise<Uint8Array> {
  const { count } = source;
  // below this a table costs more than it saves
  if (count < leastCoded) return source.all();
  const predictor = choosePredictor(source, work);
  const out = new Uint8Array(count + Math.ceil(count / chunkValues) + slack);
  out[0] = predictor;
  let at = 1;
  let before = zero;
  for (let from = 0; from < count; from += chunkValues) {
    const to = Math.min(count, from + chunkValues);
    work.counts.fill(0);
    before = source.read(from, to, predictor, before, work);
    at = encodeChunk(to - from, work, out, at);
    if (breathe && to % breathValues === 0) await breathe();
  }
  // not a view: what travels should not hold on to the room that was set aside
  return at < count ? out.slice(0, at) : source.all();
}

function encodeChunk(count: number, work: Work, out: Uint8Array, at: number): number {
  const symbols = work.symbols.subarray(0, count);
  const histogram = histogramOf(work.counts);
  const least = bitsOf(histogram);
  if (least === 0) {
    out[at] = constant;
    out[at + 1] = symbols[0] as number;
    return at + 2;
  }
  if (symbols.length >= leastCoded) {
    const lengths = lengthsFor(histogram);
    const tabled = least < lengths.bits * tableRatio;
    out[at] = prefix;
    const end = tabled
      ? encodeSymbols(symbols, histogram, out, at)
      : encodePrefix(symbols, lengths, out, at + 1, work.kernels);
    if (end >= 0) return end;
  }
  out[at] = stored;
  out.set(symbols, at + 1);
  return at + 1 + symbols.length;
}

/** Sets all of `levels` from a body, or gives a sentence on what is wrong with it. */
export async function decodeLevels(
  body: Uint8Array,
  levels: Uint8Array,
  zero: number,
  breathe?: Breathe,
): Promise<string | undefined> {
  const count = levels.length;
  if (body.length === count) {
    levels.set(body);
    return undefined;
  }
  const predictor = body[0];
  if (predictor !== predictors.none && predictor !== predictors.left) return "its predictor is not known";
  let at = 1;
  for (let from = 0; from < count; from += chunkValues) {
    const to = Math.min(count, from + chunkValues);
    const chunk = levels.subarray(from, to);
    const end = decodeChunk(body, at, chunk);
    if (typeof end === "string") return end;
    at = end;
    if (predictor === predictors.left) restore(chunk, from > 0 ? (levels[from - 1] as number) : zero);
    if (breathe && to % breathValues === 0) await breathe();
  }
  return at === body.length ? undefined : `${body.length - at} bytes follow its end`;
}

function decodeChunk(body: Uint8Array, at: number, symbols: Uint8Array): number | string {
  const kind = body[at];
  if (kind === undefined) return "it is cut";
  if (kind === stored) {
    const end = at + 1 + symbols.length;
    if (end > body.length) return "its stored levels are cut";
    symbols.set(body.subarray(at + 1, end));
    return end;
  }
  if (kind === constant) {
    const symbol = body[at + 1];
    if (symbol === undefined) return "it is cut";
    symbols.fill(symbol);
    return at + 2;
  }
  if (symbols.length < leastCoded) return `${symbols.length} levels are not coded`;
  return kind === prefix ? decodePrefix(body, at + 1, symbols) : decodeSymbols(body, at, symbols);
}

/** The fewest bytes in which so many levels can come: two for each chunk. */
export function leastBody(count: number): number {
  return count === 0 ? 0 : Math.min(count, 1 + 2 * Math.ceil(count / chunkValues));
}
