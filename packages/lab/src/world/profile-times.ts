/** The figures of a profile for a segment: its time, the bytes of its ends. */
import {
  type BucketProfile,
  type CodingProfile,
  type CutProfile,
  endCut,
  estimateOf,
  type Features,
  LongshoreError,
  type Profile,
  type Random,
  type Segment,
  startCut,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import { elementBytes, featuresWithin } from "@longshore/core/internal";

/** The bucket of a variant that an input falls into; the largest where none reaches far enough. */
export function bucketOf(profile: Profile, variant: string, features: Features): BucketProfile {
  const found = profile.variants.find((one) => one.variant === variant);
  const bucket =
    found?.buckets.find(({ upTo }) => featuresWithin(features, upTo)) ??
    found?.buckets[found.buckets.length - 1];
  if (!bucket) throw new LongshoreError("unknown-variant", "resolve", `no profile of variant ${variant}`);
  return bucket;
}

/** A cut of a bucket by its name. */
export function cutOf(bucket: BucketProfile, id: string): CutProfile {
  const found = bucket.cuts.find(({ cut }) => cut.id === id);
  if (!found) throw new LongshoreError("unknown-cut", "resolve", `no cut ${id} in the profile`);
  return found;
}

/**
 * Time of a segment on the profile's machine, as 16 values: head and tail as measured, the middle as the difference of two
 * heads (pairs are not measured).
 */
export function profiledSegmentMs(
  bucket: BucketProfile,
  segment: Pick<Segment, "from" | "to">,
): Float64Array {
  const about = { observedAtMs: -Infinity, origin: "told" as const };
  const from = cutOf(bucket, segment.from);
  const to = cutOf(bucket, segment.to);
  if (segment.to === endCut) return estimateOf(from.tailMs, about).values;
  const head = estimateOf(to.headMs, about).values;
  if (segment.from === startCut) return head;
  const before = estimateOf(from.headMs, about).values;
  return head.map((value, index) => Math.max(0, value - (before[index] ?? 0)));
}

/** One run of a segment on the profile's machine, in milliseconds: a value of the profile and what spreads around it. */
export function drawnRunMs(
  bucket: BucketProfile,
  segment: Pick<Segment, "from" | "to">,
  random: Random,
  logSpread = 0.05,
): number {
  const times = profiledSegmentMs(bucket, segment);
  const value = times[Math.min(times.length - 1, Math.floor(random.next() * times.length))] ?? 0;
  return value * Math.exp(logSpread * (random.next() + random.next() + random.next() - 1.5) * 2);
}

/** How a crossing travels in these codecs, as profiled; undefined where the profile does not know the combination. */
export function codingOf(
  cut: CutProfile,
  codecs: Readonly<Record<string, string>>,
): CodingProfile | undefined {
  const wanted = Object.entries(codecs);
  return cut.codings.find(
    (one) =>
      Object.keys(one.codecs).length === wanted.length &&
      wanted.every(([name, id]) => one.codecs[name] === id),
  );
}

/** Bytes of a crossing when it travels in these codecs: as profiled, or raw as it is. */
export function crossingWireBytes(
  cut: CutProfile,
  codecs: Readonly<Record<string, string>>,
  raw: number,
): number {
  if (Object.keys(codecs).length === 0) return raw;
  return codingOf(cut, codecs)?.bytes ?? raw;
}

/** Zero-filled tensors of a crossing's shapes, for endpoints that only pretend to compute; sizes that vary become 1. */
export function blankTensors(specs: readonly TensorSpec[]): Tensors {
  return new Map(
    specs.map((spec) => {
      const shape = spec.shape.map((size) => Math.max(1, size));
      const count = shape.reduce((product, size) => product * size, 1);
      const width = elementBytes(spec.datatype);
      // BYTES elements are a length and that many bytes: empty ones are four zero bytes each.
      const bytes = new Uint8Array(count * (width > 0 ? width : 4));
      const { ragged: _ragged, ...rest } = spec;
      return [spec.name, { spec: { ...rest, shape }, bytes }] as const;
    }),
  );
}
