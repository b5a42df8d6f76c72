import {
  type Endpoint,
  inferredOffer,
  type ModelKnowledge,
  type Offer,
  type SegmentPattern,
} from "../../wire/endpoint/index.ts";
import { certain, estimateOf, estimateSize, meanOf } from "../../words/estimate/index.ts";
import {
  type BucketProfile,
  endCut,
  type ModelDescription,
  type Profile,
  type Segment,
  startCut,
} from "../../words/model/index.ts";
import { elementBytes } from "../../words/tensor/index.ts";

/** Assumed time of a whole run without measurement and prediction, in milliseconds. */
export const guessedMs = 50;

/**
 * A profile for an unmeasured model: run whole, here or elsewhere, in a predicted time, otherwise in a guess that the first runs correct.
 */
export function guessedProfile(description: ModelDescription, offers: readonly Offer[]): Profile {
  const replyBytes = description.outputs.reduce((total, { datatype, shape }) => {
    const elements = shape.reduce((count, size) => count * Math.max(1, size), 1);
    return total + elements * Math.max(64, elementBytes(datatype));
  }, 0);
  return {
    schemaVersion: 1,
    model: description.name,
    version: description.version,
    digest: description.digest,
    measuredOn: { runtime: "none", threads: 0, description: "guessed: nobody measured it" },
    variants: description.variants.map((variant) => {
      const promised = offers.find(
        (one) =>
          !isGuess(one) &&
          one.segment.variant === variant.name &&
          one.segment.from === startCut &&
          one.segment.to === endCut,
      );
      const values = promised?.completionMs.values.map((value) => Math.max(0.01, value - promised.queueMs));
      const runMs = values ? [...values] : [guessedMs];
      const bucket: BucketProfile = {
        upTo: { bytes: Infinity },
        typical: { bytes: 1 },
        runs: 0,
        legalCuts: 2,
        cuts: [
          {
            cut: { id: startCut, crossing: description.inputs, reveals: "input" },
            headMs: [0],
            tailMs: runMs,
            headMemoryBytes: 0,
            // One byte represents the input: the real size of a request scales it.
            codings: [{ codecs: {}, bytes: 1, encodeMs: 0, decodeMs: 0, agreementRatio: 1, lossless: true }],
          },
          {
            cut: { id: endCut, crossing: description.outputs, reveals: "answer" },
            headMs: runMs,
            tailMs: [0],
            headMemoryBytes: variant.memoryBytes ?? 0,
            codings: [
              {
                codecs: {},
                bytes: replyBytes,
                encodeMs: 0,
                decodeMs: 0,
                agreementRatio: 1,
                lossless: true,
              },
            ],
          },
        ],
      };
      return { variant: variant.name, agreementRatio: variant.agreementRatio, buckets: [bucket] };
    }),
  };
}

/**
 * Offers for an endpoint that makes none itself: a Triton, or a server that never ran the model yet. Its segments are inferred from the
 * directory's patterns (otherwise the whole model), its times from the profile. Its replies correct them.
 *
 * @param said The offers of the server itself. The first gives the time of a run if the server serves this model in one way. A guess gives
 * only the time of a load (`isGuess`).
 */
export function inferredOffers(
  endpoint: Endpoint,
  knowledge: ModelKnowledge,
  profile: Profile,
  nowMs: number,
  said: readonly Offer[] = [],
): readonly Offer[] {
  const told = said.find((one) => !isGuess(one));
  const { info } = endpoint;
  const { description } = knowledge;
  const patterns: readonly SegmentPattern[] = info.serves?.map((one) => one.segment) ?? [
    { model: description.name },
  ];
  const offers: Offer[] = [];
  for (const pattern of patterns) {
    if (pattern.model !== description.name) continue;
    if (pattern.version !== undefined && pattern.version !== description.version) continue;
    const from = pattern.from ?? startCut;
    const to = pattern.to ?? endCut;
    for (const variant of profile.variants) {
      if (pattern.variant !== undefined && pattern.variant !== variant.variant) continue;
      const stated = description.variants.find((one) => one.name === variant.variant);
      for (const bucket of variant.buckets) {
        const profiled = between(bucket, from, to);
        if (!profiled) continue;
        const values =
          told && patterns.length === 1 ? scaledTo(profiled, meanOf(told.completionMs)) : profiled;
        const segment: Segment = {
          model: description.name,
          version: description.version,
          digest: description.digest,
          variant: variant.variant,
          from,
          to,
        };
        const about = { observedAtMs: -Infinity, origin: "prior" } as const;
        const loadMs = said.find((one) => isGuess(one) && one.segment.variant === variant.variant)?.loadMs;
        offers.push({
          ...inferredOffer(info, segment, { values, ...about }, nowMs),
          agreementRatio: stated?.agreementRatio ?? variant.agreementRatio,
          upTo: bucket.upTo,
          ...(loadMs === undefined ? {} : { loadMs }),
        });
      }
    }
  }
  return offers;
}

/** Whether an offer tells only how long loading takes: the server never ran the model. */
export function isGuess({ origin, loadMs }: Offer): boolean {
  return origin === "inferred" && loadMs !== undefined;
}

/** The same spread around another mean. */
function scaledTo(values: Float64Array, mean: number): Float64Array {
  const before = values.reduce((total, value) => total + value, 0) / estimateSize;
  return values.map((value) => (before > 0 ? (value * mean) / before : mean));
}

/** 16 values of a segment on the profile's machine; undefined if a cut is on no frontier. */
function between(bucket: BucketProfile, from: string, to: string): Float64Array | undefined {
  const about = { observedAtMs: -Infinity, origin: "prior" } as const;
  const first = bucket.cuts.find((one) => one.cut.id === from);
  const last = bucket.cuts.find((one) => one.cut.id === to);
  if (!first || !last) return undefined;
  const values = (stated: readonly number[]): Float64Array =>
    stated.length === 0 ? certain(0).values : estimateOf(stated, about).values;
  if (to === endCut) return values(first.tailMs);
  const head = values(last.headMs);
  if (from === startCut) return head;
  const before = values(first.headMs);
  return head.map((value, index) => Math.max(0, value - (before[index] ?? 0)));
}
