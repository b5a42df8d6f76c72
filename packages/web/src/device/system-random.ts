import type { Random } from "@longshore/core";

/**
 * The browser's randomness, 53 bits for each draw.
 *
 * @example
 * ```ts
 * import { systemRandom } from "@longshore/web";
 *
 * const drawn = systemRandom().next();
 * console.log(drawn >= 0 && drawn < 1); // true
 * ```
 */
export function systemRandom(): Random {
  const words = new Uint32Array(2);
  return {
    next() {
      crypto.getRandomValues(words);
      const high = (words[0] ?? 0) >>> 5;
      const low = (words[1] ?? 0) >>> 6;
      return (high * 2 ** 26 + low) / 2 ** 53;
    },
  };
}
