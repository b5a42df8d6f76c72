import type { Codec } from "@longshore/core";

/** A codec of pictures in several qualities, from the coarsest to the finest: of two, the finer takes more bytes. */
export interface QualityLadder {
  readonly codecs: readonly Codec[];
}

/** The search: the coarsest quality whose answers agree well enough. */
export interface QualitySearch {
  readonly qualities: number;
  /** Least agreement, 0..1. */
  readonly wanted: number;
  /**
   * Agreement of a sample's answer at a quality, by its position on the ladder. Called more than once for the same values: the
   * callee keeps the result.
   */
  readonly agreementAt: (quality: number, sample: number) => Promise<number>;
  readonly samples: number;
}

/** A quality that holds, with the agreement that may be promised of it. */
export interface FoundQuality {
  readonly quality: number;
  readonly agreementRatio: number;
}

/** One-sided 95 % points of Student's t by degrees of freedom; the last for all further ones. */
const studentPoints = [Infinity, 6.314, 2.92, 2.353, 2.132, 2.015, 1.943, 1.895, 1.86, 1.833, 1.812];
const normalPoint = 1.7;
/** Fewer samples say nothing of the spread between them: then all of them must agree as wanted. */
const leastForMargin = 3;

/**
 * The least mean agreement that these samples support at 95 %, one-sided (W. Gosset, "The probable error of a mean", 1908), at
 * most their mean; of very few samples the least of them.
 */
export function supportedAgreement(agreements: readonly number[]): number {
  const count = agreements.length;
  const least = Math.min(...agreements);
  if (count < leastForMargin) return least;
  const mean = agreements.reduce((sum, one) => sum + one, 0) / count;
  const variance = agreements.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (count - 1);
  const point = studentPoints[count - 1] ?? normalPoint;
  // No sample supports less than the worst of them: a mean lies above it.
  return Math.max(least, mean - point * Math.sqrt(variance / count));
}

/**
 * Bisects the ladder on one half of the samples, then has the other half confirm what was found, finer by a step each time
 * it does not: a quality that is chosen on some pictures is flattered by them. Undefined where not even the finest holds.
 */
export async function searchQuality(search: QualitySearch): Promise<FoundQuality | undefined> {
  const { qualities, wanted, samples } = search;
  const all = Array.from({ length: samples }, (_, index) => index);
  // With one sample there is nothing to hold out.
  const chosenOn = samples > 1 ? all.filter((index) => index % 2 === 0) : all;
  const heldOut = samples > 1 ? all.filter((index) => index % 2 === 1) : all;
  const at = async (quality: number, of: readonly number[]): Promise<readonly number[]> => {
    const agreements: number[] = [];
    for (const sample of of) agreements.push(await search.agreementAt(quality, sample));
    return agreements;
  };
  const holds = async (quality: number, of: readonly number[]): Promise<boolean> =>
    supportedAgreement(await at(quality, of)) >= wanted;
  let [low, high] = [0, qualities];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await holds(middle, chosenOn)) high = middle;
    else low = middle + 1;
  }
  for (let quality = low; quality < qualities; quality++) {
    if (!(await holds(quality, heldOut))) continue;
    const agreementRatio = supportedAgreement(await at(quality, all));
    if (agreementRatio >= wanted) return { quality, agreementRatio };
  }
  return undefined;
}
