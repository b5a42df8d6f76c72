import type { Random } from "../../../words/base/index.ts";

/** One of those whose score is at most `tie`, each equally likely; takes one draw, and none when only one is left. */
export function randomTie<T extends { readonly score: number }>(
  candidates: readonly T[],
  tie: number,
  random: Random,
): T | undefined {
  let alike = 0;
  for (const one of candidates) if (one.score <= tie) alike++;
  if (alike === 0) return undefined;
  let chosen = alike === 1 ? 0 : Math.floor(random.next() * alike);
  for (const one of candidates) if (one.score <= tie && chosen-- === 0) return one;
  return undefined;
}
