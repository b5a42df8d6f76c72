import { type Random, seededRandom } from "@longshore/core";

/**
 * A source of random numbers for one part of a world, made of the seed and the name of the part (FNV-1a). Each part has its
 * own, so that a fault that is left out changes no draw of another part.
 */
export function randomFor(seed: number, part: string): Random {
  let hash = 0x811c9dc5;
  for (const letter of `${seed}/${part}`) {
    hash ^= letter.codePointAt(0) ?? 0;
    hash = Math.imul(hash, 0x01000193);
  }
  const random = seededRandom(hash);
  // Seeds that differ in one bit begin alike.
  random.next();
  return random;
}

/** A whole number from `least` to `most`. */
export function drawWhole(random: Random, least: number, most: number): number {
  return least + Math.floor(random.next() * (most - least + 1));
}

/** One of `choices`, which must not be empty. */
export function drawOne<T>(random: Random, choices: readonly [T, ...T[]]): T {
  return choices[Math.floor(random.next() * choices.length)] ?? choices[0];
}
