import type { DataClass } from "../../words/base/index.ts";
import {
  type BucketProfile,
  type CodingProfile,
  type Cut,
  type CutId,
  endCut,
  type Features,
  featuresWithin,
  type ModelDescription,
  type Profile,
  startCut,
  type Step,
  type VariantProfile,
} from "../../words/model/index.ts";
import type { Tier } from "../../wire/endpoint/index.ts";
import { elementBytes } from "../../words/tensor/index.ts";
import {
  beliefSize,
  meanReading,
  readBelief,
  type Reading,
  sixteen,
  valuesOf,
  writeBelief,
} from "./beliefs.ts";
import { estimateSize } from "../../words/estimate/index.ts";

/** A frontier as flat arrays. Cut 0 is `start`, the last is `end`. */
export interface BucketTable {
  readonly upTo: Features;
  readonly typical: Features;
  readonly cuts: readonly Cut[];
  readonly index: ReadonlyMap<CutId, number>;
  /** Beliefs with one row for each cut, in milliseconds on the profile's machine. */
  readonly head: Float64Array;
  readonly tail: Float64Array;
  readonly headMemoryBytes: Float64Array;
  /** Codings of cut `c` are `codings[firstCoding[c]..firstCoding[c + 1]]`. */
  readonly firstCoding: Int32Array;
  readonly codings: readonly CodingProfile[];
  /** The same, one column for each figure. */
  readonly coding: CodingColumns;
  /** Bytes of each crossing without a codec. */
  readonly rawBytes: Float64Array;
  /** 1 if a remote run may end here and return: between the steps of a pipeline, never inside a graph. */
  readonly returns: Uint8Array;
  /** For each cut, the last cut that can be reached without a step whose model only other endpoints have. */
  readonly reach: Int32Array;
  /** Data classes of the tensors of each crossing; undefined means the class of the input. */
  readonly classes: readonly (readonly (DataClass | undefined)[])[];
}

/** The columns of codings that decisions read. */
export interface CodingColumns {
  readonly bytes: Float64Array;
  /** Beliefs with one row for each coding, in milliseconds on the profile's machine. */
  readonly encode: Float64Array;
  readonly decode: Float64Array;
  readonly agreementRatio: Float64Array;
  /** Bit `n` is set if the coding needs `codecNames[n]` of the model table. */
  readonly codecMask: Int32Array;
}

/** One variant: its frontier for each bucket, from small inputs to large. */
export interface VariantTable {
  readonly name: string;
  readonly accuracyRatio: number | undefined;
  readonly agreementRatio: number;
  /** Bit 1 device, 2 edge, 4 cloud. */
  readonly tierMask: number;
  readonly memoryBytes: number;
  readonly buckets: readonly BucketTable[];
}

/** The data of one version that decisions need, laid out once when its profile is learned. */
export interface ModelTable {
  readonly description: ModelDescription;
  readonly variants: readonly VariantTable[];
  /** Codecs that any coding uses; the index is the bit in masks. At most 31 are considered. */
  readonly codecNames: readonly string[];
  /** Bytes of the carried state of a sequence; 0 for a model without state. */
  readonly stateBytes: number;
  /** The cut at which the number of elements of a fan-out becomes known, if costs depend on it. */
  readonly itemsCut: CutId | undefined;
}

const tierBits: Readonly<Record<Tier, number>> = { device: 1, edge: 2, cloud: 4 };

/** The bit of a tier in `tierMask`. */
export function tierBit(tier: Tier): number {
  return tierBits[tier];
}

/** Builds the table from a description and its profile. Variants without a profile cannot be priced and are left out. */
export function modelTable(description: ModelDescription, profile: Profile): ModelTable {
  const codecNames = [
    ...new Set(
      profile.variants.flatMap((variant) =>
        variant.buckets.flatMap((bucket) =>
          bucket.cuts.flatMap((cut) => cut.codings.flatMap((coding) => Object.values(coding.codecs))),
        ),
      ),
    ),
  ]
    .filter((name) => name !== "raw")
    .slice(0, 31);
  const variants: VariantTable[] = [];
  for (const variant of description.variants) {
    const measured = profile.variants.find((one) => one.variant === variant.name);
    if (!measured || measured.buckets.length === 0) continue;
    const steps = variant.body.kind === "pipeline" ? variant.body.steps : [];
    variants.push({
      name: variant.name,
      accuracyRatio: variant.accuracyRatio ?? measured.accuracyRatio,
      agreementRatio: variant.agreementRatio,
      tierMask: variant.tiers?.reduce((mask, tier) => mask | tierBits[tier], 0) ?? 7,
      memoryBytes: variant.memoryBytes ?? 0,
      buckets: measured.buckets.map((bucket) => bucketTable(bucket, steps, codecNames)),
    });
  }
  return {
    description,
    variants,
    codecNames,
    stateBytes: description.sequence
      ? description.sequence.states.reduce(
          (total, state) =>
            total +
            elementBytes(state.datatype) * state.shape.reduce((count, size) => count * Math.max(1, size), 1),
          0,
        )
      : 0,
    itemsCut: itemsCutOf(profile.variants),
  };
}

function bucketTable(
  bucket: BucketProfile,
  steps: readonly Step[],
  codecNames: readonly string[],
): BucketTable {
  const { cuts } = bucket;
  const count = cuts.length;
  const head = new Float64Array(beliefSize * count);
  const tail = new Float64Array(beliefSize * count);
  const firstCoding = new Int32Array(count + 1);
  const codings: CodingProfile[] = [];
  const rawBytes = new Float64Array(count);
  for (const [row, cut] of cuts.entries()) {
    writeBelief(head, count, row, sixteen(cut.headMs));
    writeBelief(tail, count, row, sixteen(cut.tailMs));
    firstCoding[row] = codings.length;
    codings.push(...cut.codings);
    const raw = cut.codings.find((coding) => Object.values(coding.codecs).every((codec) => codec === "raw"));
    rawBytes[row] = raw?.bytes ?? cut.codings.reduce((most, coding) => Math.max(most, coding.bytes), 0);
  }
  firstCoding[count] = codings.length;
  return {
    upTo: bucket.upTo,
    typical: bucket.typical,
    cuts: cuts.map((one) => one.cut),
    index: new Map(cuts.map((one, row) => [one.cut.id, row])),
    head,
    tail,
    headMemoryBytes: Float64Array.from(cuts, (one) => one.headMemoryBytes),
    firstCoding,
    codings,
    coding: {
      bytes: Float64Array.from(codings, (one) => one.bytes),
      encode: codingTimes(codings, "encodeMs", "encodeSpreadMs"),
      decode: codingTimes(codings, "decodeMs", "decodeSpreadMs"),
      agreementRatio: Float64Array.from(codings, (one) => one.agreementRatio),
      codecMask: Int32Array.from(codings, (one) => maskOf(Object.values(one.codecs), codecNames)),
    },
    rawBytes,
    returns: Uint8Array.from(cuts, ({ cut }) => (steps.some((step) => step.id === cut.id) ? 1 : 0)),
    reach: reachOf(cuts, steps),
    classes: cuts.map((one) => crossingClasses(one.cut, steps)),
  };
}

/** Cuts are ordered by the steps before them. With unknown steps, nothing lies between two cuts. */
function reachOf(cuts: BucketProfile["cuts"], steps: readonly Step[]): Int32Array {
  const before = cuts.map(({ cut: { id } }) => {
    if (id === startCut || id === endCut) return id === startCut ? 0 : steps.length;
    const at = steps.findIndex((step) => id === step.id || id.startsWith(`${step.id}.`));
    return at < 0 ? NaN : steps[at]?.id === id ? at + 1 : at + 0.5;
  });
  const elsewhere = steps.flatMap(({ run }, at) => ("model" in run && run.elsewhere ? [at] : []));
  return Int32Array.from(before, (from, cut) => {
    const first = elsewhere.find((at) => from <= at) ?? Infinity;
    let last = cut;
    while (last + 1 < cuts.length && !((before[last + 1] ?? 0) > first)) last++;
    return last;
  });
}

/** Times of codings: all runs if the profile has them, otherwise its one stated time. */
function codingTimes(
  codings: readonly CodingProfile[],
  time: "encodeMs" | "decodeMs",
  spread: "encodeSpreadMs" | "decodeSpreadMs",
): Float64Array {
  const count = codings.length;
  const beliefs = new Float64Array(beliefSize * count);
  for (const [row, coding] of codings.entries()) {
    const runs = coding[spread] ?? [];
    writeBelief(beliefs, count, row, sixteen(runs.length > 0 ? runs : [coding[time]]));
    // Exact to the last digit.
    if (runs.length === 0) beliefs[row] = coding[time];
  }
  return beliefs;
}

/** The bits of some codecs. A codec without a bit sets the sign bit, which no endpoint has, so it is never chosen. */
export function maskOf(codecs: readonly string[], codecNames: readonly string[]): number {
  let mask = 0;
  for (const codec of codecs) {
    if (codec === "raw") continue;
    const bit = codecNames.indexOf(codec);
    mask |= bit < 0 ? 1 << 31 : 1 << bit;
  }
  return mask;
}

/**
 * Data classes of the tensors of a crossing. The output of a step carries the classes of its inputs, unless the operator approved that the
 * step declassifies. A tensor inside a step's graph is not past that step yet, so it carries the classes of the step's inputs. A value that
 * cannot be traced carries the input's class.
 */
function crossingClasses(cut: Cut, steps: readonly Step[]): readonly (DataClass | undefined)[] {
  const known = new Map<string, ReadonlySet<DataClass | undefined>>();
  const inherited: ReadonlySet<DataClass | undefined> = new Set([undefined]);
  const taken = new Map<string, ReadonlySet<DataClass | undefined>>();
  for (const step of steps) {
    const inputs = new Set<DataClass | undefined>();
    for (const value of Object.values(step.inputs)) {
      for (const one of known.get(value.split(".")[0] ?? "") ?? inherited) inputs.add(one);
    }
    taken.set(step.id, inputs);
    known.set(step.id, step.declassifiesTo === undefined ? inputs : new Set([step.declassifiesTo]));
  }
  const classes = new Set<DataClass | undefined>();
  if (cut.id === endCut && steps.length > 0) {
    for (const one of known.get(steps.at(-1)?.id ?? "") ?? inherited) classes.add(one);
  } else if (cut.id === startCut) {
    classes.add(undefined);
  } else {
    for (const { name } of cut.crossing) {
      const inside = name.indexOf(":");
      const from = inside >= 0 ? taken.get(name.slice(0, inside)) : known.get(name.split(".")[0] ?? "");
      for (const one of from ?? inherited) classes.add(one);
    }
  }
  if (classes.size === 0) classes.add(undefined);
  return [...classes];
}

/** The first cut with a ragged tensor, if buckets differ in their number of items. */
function itemsCutOf(variants: readonly VariantProfile[]): CutId | undefined {
  for (const variant of variants) {
    const limits = new Set(variant.buckets.map((bucket) => bucket.upTo.items));
    if (limits.size < 2) continue;
    const cut = variant.buckets[0]?.cuts.find((one) => one.cut.crossing.some((spec) => spec.ragged === true));
    if (cut) return cut.cut.id;
  }
  return undefined;
}

/** The bucket for the features: the first that holds them, otherwise the last. */
export function bucketFor(variant: VariantTable, features: Features): number {
  for (let index = 0; index < variant.buckets.length; index++) {
    const bucket = variant.buckets[index];
    if (bucket && featuresWithin(features, bucket.upTo)) return index;
  }
  return variant.buckets.length - 1;
}

/**
 * The bucket for the features among those whose frontier holds `cut`: first the right one and larger ones, then smaller ones. -1 if none
 * does.
 */
export function bucketWithCut(variant: VariantTable, features: Features, cut: CutId): number {
  const right = bucketFor(variant, features);
  for (let index = right; index < variant.buckets.length; index++) {
    if (variant.buckets[index]?.index.has(cut)) return index;
  }
  for (let index = right - 1; index >= 0; index--) if (variant.buckets[index]?.index.has(cut)) return index;
  return -1;
}

/**
 * Time of the run between two cuts, before scaling to an endpoint's speed. It is measured if one of them is an end of the model; otherwise
 * it is the difference of two heads (an estimate: fused layer times do not add up).
 */
export function segmentMs(bucket: BucketTable, from: number, to: number, reading: Reading): number {
  const count = bucket.cuts.length;
  if (from >= to) return 0;
  if (from === 0) return readBelief(bucket.head, count, to, reading);
  if (to === count - 1) return readBelief(bucket.tail, count, from, reading);
  return Math.max(
    0,
    readBelief(bucket.head, count, to, reading) - readBelief(bucket.head, count, from, reading),
  );
}

/** Mean of `segmentMs`. */
export function segmentMeanMs(bucket: BucketTable, from: number, to: number): number {
  return segmentMs(bucket, from, to, meanReading);
}

/** Adds the time between two cuts, times `factor`, to 16 values: `segmentMs` of each value. */
export function addSegment(
  values: Float64Array,
  bucket: BucketTable,
  from: number,
  to: number,
  factor: number,
): void {
  if (from >= to) return;
  const count = bucket.cuts.length;
  const isTail = from > 0 && to === count - 1;
  const beliefs = isTail ? bucket.tail : bucket.head;
  const at = valuesOf(count, isTail ? from : to);
  const before = from > 0 && !isTail ? valuesOf(count, from) : -1;
  for (let index = 0; index < estimateSize; index++) {
    const whole = beliefs[at + index] ?? NaN;
    const own = before < 0 ? whole : Math.max(0, whole - (beliefs[before + index] ?? NaN));
    values[index] = (values[index] ?? 0) + own * factor;
  }
}
