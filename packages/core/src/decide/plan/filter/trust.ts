import type { TrustLevel } from "../../../words/base/index.ts";

/** Removes endpoints with less trust than the rules require. Ranks as in `trustRank`. */
export function trustRemoves(rank: number, leastRank: number): boolean {
  return rank < leastRank;
}

/** The sentence for `lost`. */
export function trustDetail(trust: TrustLevel, least: TrustLevel): string {
  return `it is trusted as ${trust}; the rules demand ${least}`;
}
