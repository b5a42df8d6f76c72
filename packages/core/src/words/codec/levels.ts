import { LongshoreError } from "../base/index.ts";
import type { Encoded } from "./codec.ts";
import type { Compressor } from "./compressor.ts";
import { codingMismatch, statedCount } from "./counts.ts";

/*
 * The levels of a quantised tensor in fewer bytes: raw deflate of the differences between neighbours, modulo 256. Neighbours in
 * an activation are alike, so the differences are small and often equal; a constant area becomes a run of zeros, whatever its
 * level. The first level is the difference from 0.
 *
 * Levels that do not get smaller travel as they are. The length of the body tells the two apart: it is then the number of
 * levels, which a deflated body never has.
 */

/** Options of a codec with deflated levels. */
export interface DeflateOptions {
  readonly compressor: Compressor;
  /** The most bytes that a decoded tensor may take, checked before memory is taken. Default 256 MiB; `body-too-large`. */
  readonly maxBytes?: number;
}

const defaultMaxBytes = 256 * 2 ** 20;

/** Fewer levels than this are not deflated: the stream's own tables would take as much. */
const leastDeflated = 16;

/** The most bytes that one deflated byte can become: a match of 258 bytes takes at least two bits (RFC 1951, section 3.2.5). */
const mostInflation = 4 * 258;

/** Levels as they travel. The caller gives `levels` away. */
export async function packLevels(levels: Uint8Array, { deflate }: Compressor): Promise<Uint8Array> {
  if (!deflate || levels.length < leastDeflated) return levels;
  const differences = new Uint8Array(levels.length);
  let before = 0;
  for (let index = 0; index < levels.length; index++) {
    const level = levels[index] as number;
    differences[index] = level - before;
    before = level;
  }
  const body = await deflate(differences);
  return body.byteLength < levels.length ? body : levels;
}

/**
 * The levels that a body makes, which is what follows the first `before` bytes. Throws `body-too-large` when the tensor would
 * take more than `maxBytes`, and `body-mismatch` for a body that does not make as many levels as the spec states.
 */
export async function unpackLevels(
  encoded: Encoded,
  before: number,
  { compressor, maxBytes = defaultMaxBytes }: DeflateOptions,
): Promise<Uint8Array> {
  const count = statedCount(encoded);
  if (count * 4 > maxBytes) {
    throw new LongshoreError(
      "body-too-large",
      "decode",
      `${encoded.spec.name} would become ${count * 4} bytes; at most ${maxBytes} are accepted`,
    );
  }
  const body = encoded.bytes.subarray(before);
  if (body.byteLength === count) return body;
  if (body.byteLength > count || body.byteLength * mostInflation < count) {
    throw codingMismatch(encoded, `${count} levels do not come in ${body.byteLength} bytes`);
  }
  const levels = await compressor.inflate(body, count).catch((thrown: unknown) => {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw codingMismatch(encoded, `its body does not inflate to ${count} levels (${why})`);
  });
  let level = 0;
  for (let index = 0; index < count; index++) {
    level = (level + (levels[index] as number)) & 255;
    levels[index] = level;
  }
  return levels;
}
