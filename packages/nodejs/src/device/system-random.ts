import type { Random } from "@longshore/core";
import { randomFillSync } from "node:crypto";

/** Draws taken from the operating system at once. */
const batch = 256;

/**
 * The operating system's randomness: for ids and tie-breaking in real use. Each draw has 53 bits.
 *
 * @example
 * ```ts
 * import { systemRandom } from "@longshore/nodejs";
 *
 * const drawn = systemRandom().next();
 * console.log(drawn >= 0 && drawn < 1); // true
 * ```
 */
export function systemRandom(): Random {
  const words = new Uint32Array(batch * 2);
  let used = words.length;
  return {
    next() {
      if (used === words.length) {
        randomFillSync(words);
        used = 0;
      }
      const high = (words[used] ?? 0) >>> 5;
      const low = (words[used + 1] ?? 0) >>> 6;
      used += 2;
      return (high * 2 ** 26 + low) / 2 ** 53;
    },
  };
}
