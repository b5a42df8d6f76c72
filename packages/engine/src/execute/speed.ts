import {
  type BucketProfile,
  type Clock,
  type CutId,
  endCut,
  type Features,
  type Profile,
  type Segment,
  startCut,
  type VariantProfile,
  estimateOf,
  type Estimate,
} from "@longshore/core";
import {
  type DurationBelief,
  durationBelief,
  featuresWithin,
  meanOf,
  deviceSpeed,
  referenceOf,
  type SpeedBelief,
} from "@longshore/core/internal";

/** The measured times, without waiting, of a tail that this endpoint has run, by content and not by version name. */
interface Observed {
  readonly from: CutId;
  readonly serviceMs: Estimate;
}

/** How fast this endpoint is: relative to profiles if there are any, else as observed. */
export interface Speeds {
  /** A segment with an input crossing of this many bytes took this long, waiting excluded. */
  seen(segment: Segment, bytes: number, serviceMs: number, profile: Profile | undefined): void;
  /** Time here over time in the profile; of what was not run yet, as of other models that were. */
  ratio(segment: Pick<Segment, "digest" | "variant">, profile: Profile): Estimate;
  /** Tails of a variant that were run here. */
  observed(segment: Pick<Segment, "digest" | "variant">): readonly Observed[];
}

/** Segments whose times are remembered; the oldest goes. */
const mostSegments = 512;

interface Seen {
  readonly segment: Segment;
  readonly belief: DurationBelief;
  readonly later: Later;
}

interface Ratio {
  readonly belief: SpeedBelief;
  readonly later: Later;
}

/** Beliefs are computed when they are read, not on every request: a request only leaves its figures. */
interface Later {
  add(values: readonly number[]): void;
  flush(): void;
}

function later(most: number, into: (values: readonly number[]) => void): Later {
  let waiting: (readonly number[])[] = [];
  return {
    add(values) {
      waiting.push(values);
      if (waiting.length > 2 * most) waiting = waiting.slice(-most);
    },
    flush() {
      for (const values of waiting.splice(0)) into(values);
    },
  };
}

/** Runs that are kept until a belief is read. */
const mostWaiting = 64;

export function speeds(clock: Clock): Speeds {
  const ratios = new Map<string, Ratio>();
  const durations = new Map<string, Seen>();
  const device = deviceSpeed();
  const keyOf = ({ digest, variant }: Pick<Segment, "digest" | "variant">): string => `${digest} ${variant}`;
  /** Of segments that come by again: texts as long as these take longer to make than to look up. */
  const keys = new WeakMap<Segment, { readonly key: string; readonly variantKey: string }>();

  function keysOf(segment: Segment): { readonly key: string; readonly variantKey: string } {
    const known = keys.get(segment);
    if (known) return known;
    const variantKey = keyOf(segment);
    const made = { key: `${variantKey} ${segment.from}..${segment.to}`, variantKey };
    keys.set(segment, made);
    return made;
  }

  /** Times of first runs, until a second one tells whether they were warm; then 0. */
  const firstMs = new Map<string, number>();

  /** The first run of a segment loads and compiles: its time is forgotten when the second takes less than half. */
  function firstWasCold(key: string, serviceMs: number): boolean {
    const before = firstMs.get(key);
    if (before === 0) return false;
    const [oldest] = firstMs.keys();
    if (firstMs.size >= mostSegments && oldest !== undefined && before === undefined) firstMs.delete(oldest);
    firstMs.set(key, before === undefined ? serviceMs : 0);
    return before !== undefined && serviceMs < before / 2;
  }

  function durationOf(segment: Segment, key: string, serviceMs: number): Seen {
    const known = durations.get(key);
    if (known) return known;
    const belief = durationBelief({ priorMs: Math.max(0.001, serviceMs) });
    const made = {
      segment,
      belief,
      later: later(mostWaiting, ([tookMs = NaN, atMs = NaN]) => belief.seen(tookMs, atMs)),
    };
    const [oldest] = durations.keys();
    if (durations.size >= mostSegments && oldest !== undefined) durations.delete(oldest);
    durations.set(key, made);
    return made;
  }

  function ratioOf(key: string, { measuredOn }: Profile): Ratio {
    const known = ratios.get(key);
    if (known) return known;
    const belief = device.follow(referenceOf(measuredOn), key);
    const made = {
      belief,
      later: later(mostWaiting, ([tookMs = NaN, profiledMs = NaN, atMs = NaN]) =>
        belief.seen(tookMs, profiledMs, atMs),
      ),
    };
    const [oldest] = ratios.keys();
    if (ratios.size >= mostSegments && oldest !== undefined) ratios.delete(oldest);
    ratios.set(key, made);
    return made;
  }

  return {
    seen(segment, bytes, serviceMs, profile) {
      const nowMs = clock.nowMs();
      const { key, variantKey } = keysOf(segment);
      if (firstWasCold(key, serviceMs)) {
        durations.delete(key);
        ratios.delete(variantKey);
      }
      durationOf(segment, key, serviceMs).later.add([serviceMs, nowMs]);
      const profiledMs = profile && profiledTime(profile, segment, bytes);
      if (profile && profiledMs !== undefined) {
        ratioOf(variantKey, profile).later.add([serviceMs, profiledMs, nowMs]);
      }
    },
    ratio(segment, profile) {
      // Others may be what this one starts from.
      for (const { later } of ratios.values()) later.flush();
      return ratioOf(keyOf(segment), profile).belief.ratio();
    },
    observed(wanted) {
      const key = keyOf(wanted);
      return [...durations.values()]
        .filter(({ segment }) => keyOf(segment) === key && segment.to === endCut)
        .map((seen) => {
          seen.later.flush();
          return { from: seen.segment.from, serviceMs: seen.belief.estimate(clock.nowMs()) };
        });
    },
  };
}

/** The profile's time of a head, a tail or the whole; undefined for segments that it did not measure. */
function profiledTime(profile: Profile, segment: Segment, bytes: number): number | undefined {
  const variant = profile.variants.find((one) => one.variant === segment.variant);
  const bucket = variant && bucketFor(variant, segment.from, bytes);
  if (!bucket) return undefined;
  if (segment.to === endCut) return meanTime(bucket, segment.from, "tailMs");
  return segment.from === startCut ? meanTime(bucket, segment.to, "headMs") : undefined;
}

function meanTime(bucket: BucketProfile, cut: CutId, part: "headMs" | "tailMs"): number | undefined {
  const measured = bucket.cuts.find((one) => one.cut.id === cut)?.[part];
  if (!measured || measured.length === 0) return undefined;
  let mean = meansOfTimes.get(measured);
  if (mean === undefined) meansOfTimes.set(measured, (mean = meanOf(profiledEstimate(measured))));
  return mean;
}

/** Means of lists in profiles, which never change. */
const meansOfTimes = new WeakMap<readonly number[], number>();

/** Times in a profile as a belief. */
export function profiledEstimate(measuredMs: readonly number[]): Estimate {
  return estimateOf(measuredMs, { observedAtMs: -Infinity, origin: "prior" });
}

/** The bucket of an input of this many bytes; for a later crossing, the bucket whose crossing there is nearest in size. */
function bucketFor(variant: VariantProfile, from: CutId, bytes: number): BucketProfile | undefined {
  if (from === startCut) {
    return variant.buckets.find(({ upTo }) => featuresWithin({ bytes }, upTo)) ?? variant.buckets.at(-1);
  }
  let best: BucketProfile | undefined;
  let distance = Infinity;
  for (const bucket of variant.buckets) {
    const raw = rawBytes(bucket, from);
    if (raw === undefined) continue;
    const apart = Math.abs(Math.log((raw + 1) / (bytes + 1)));
    if (apart < distance) [best, distance] = [bucket, apart];
  }
  return best;
}

function rawBytes(bucket: BucketProfile, cut: CutId): number | undefined {
  const codings = bucket.cuts.find((one) => one.cut.id === cut)?.codings;
  return codings?.find(({ codecs }) => Object.keys(codecs).length === 0)?.bytes;
}

/** Buckets that an input with these features may fall into. */
export function bucketsFor(
  variant: VariantProfile,
  features: Features | undefined,
): readonly BucketProfile[] {
  if (!features) return variant.buckets;
  const first = variant.buckets.find(({ upTo }) => featuresWithin(features, upTo)) ?? variant.buckets.at(-1);
  return first ? [first] : [];
}
