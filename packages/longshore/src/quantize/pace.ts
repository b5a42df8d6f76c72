import type { Call, Clock, Profile, Random, Tensors, VariantProfile } from "@longshore/core";
import type { Engine } from "@longshore/engine";
import { wholeMs } from "../profile/merge-profile.ts";
import { segmentOfModel } from "./quantize-variant.ts";

/** How many times as fast one variant is as another, from runs in turns. */
export interface Pace {
  /** Median over the rounds of the time of the standard variant over that of the new one. */
  readonly ratio: number;
  /** 95 % interval of that median, by bootstrap over the rounds. */
  readonly least: number;
  readonly most: number;
  readonly rounds: number;
}

/** Rounds; both variants run once in each, and which one runs first changes from round to round. */
const mostRounds = 41;
const leastRounds = 5;
/** No further round begins after this. */
const budgetMs = 20_000;
const resamples = 1000;

/**
 * Measures two variants in turns, so that a machine that slows down slows both: one after the other, a drift of the machine looks like a
 * difference between the variants.
 */
export async function measuredPace(
  {
    engine,
    clock,
    random,
  }: { readonly engine: Pick<Engine, "infer">; readonly clock: Clock; readonly random: Random },
  model: string,
  variants: { readonly standard: string; readonly made: string },
  samples: readonly Tensors[],
  call: Call,
): Promise<Pace> {
  const timeOf = async (variant: string, inputs: Tensors): Promise<number> => {
    const startedMs = clock.nowMs();
    await engine.infer({ segment: segmentOfModel(model, variant), inputs, codecs: {} }, call);
    return clock.nowMs() - startedMs;
  };
  const [first = new Map()] = samples;
  // Loads both, and makes them warm.
  for (let run = 0; run < 2; run++) {
    await timeOf(variants.standard, first);
    await timeOf(variants.made, first);
  }
  const beganMs = clock.nowMs();
  const ratios: number[] = [];
  for (let round = 0; round < mostRounds; round++) {
    if (round >= leastRounds && clock.nowMs() - beganMs > budgetMs) break;
    const inputs = samples[round % samples.length] ?? first;
    const standardFirst = round % 2 === 0;
    const one = await timeOf(standardFirst ? variants.standard : variants.made, inputs);
    const other = await timeOf(standardFirst ? variants.made : variants.standard, inputs);
    ratios.push(standardFirst ? one / other : other / one);
  }
  return { ...intervalOf(ratios, random), rounds: ratios.length };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

function intervalOf(values: readonly number[], random: Random): Omit<Pace, "rounds"> {
  const draw = (): number => values[Math.floor(random.next() * values.length)] ?? NaN;
  const medians = Array.from({ length: resamples }, () => median(values.map(draw))).sort((a, b) => a - b);
  return {
    ratio: median(values),
    least: medians[Math.floor(0.025 * resamples)] ?? NaN,
    most: medians[Math.floor(0.975 * resamples)] ?? NaN,
  };
}

/** Whether the rounds tell the two variants apart. */
export function isCarried({ least, most }: Pace): boolean {
  return least > 1 || most < 1;
}

/**
 * A profile in which the times of a variant stand to those of the standard one as the runs in turns say. Where these do not tell the two apart, the
 * profile claims no difference.
 */
export function pacedProfile(
  profile: Profile,
  variants: { readonly standard: string; readonly made: string },
  pace: Pace,
): Profile {
  const standardMs = wholeMs(profile.variants.find(({ variant }) => variant === variants.standard));
  const madeMs = wholeMs(profile.variants.find(({ variant }) => variant === variants.made));
  if (!standardMs || !madeMs) return profile;
  const ratio = isCarried(pace) ? pace.ratio : 1;
  const factor = standardMs / ratio / madeMs;
  return {
    ...profile,
    variants: profile.variants.map((one) => (one.variant === variants.made ? scaledBy(one, factor) : one)),
  };
}

/** Runs alone are scaled; codecs take what they take. */
function scaledBy(variant: VariantProfile, factor: number): VariantProfile {
  const scaled = (values: readonly number[]): readonly number[] =>
    values.map((ms) => Number((ms * factor).toPrecision(4)));
  return {
    ...variant,
    buckets: variant.buckets.map((bucket) => ({
      ...bucket,
      cuts: bucket.cuts.map((cut) => ({ ...cut, headMs: scaled(cut.headMs), tailMs: scaled(cut.tailMs) })),
    })),
  };
}
