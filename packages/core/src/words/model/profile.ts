import type { TensorSpec } from "../tensor/index.ts";
import type { Cut } from "./cut.ts";
import type { Features } from "./features.ts";
import type { Digest } from "./model.ts";

/**
 * Measured facts about one version, as data that travels in its package (`profile.json`). Segments are measured as they
 * will really run: layer times do not add up once a runtime fuses them.
 */
export interface Profile {
  readonly schemaVersion: 1;
  readonly model: string;
  readonly version: string;
  readonly digest: Digest;
  readonly measuredOn: ProfileMachine;
  readonly variants: readonly VariantProfile[];
}

/** Where the times were taken; another endpoint scales them by its own speed. */
export interface ProfileMachine {
  readonly runtime: string;
  readonly threads: number;
  readonly description: string;
}

/**
 * The machine class of a profile: an endpoint that is slower than one profile of it is slower than all, by about the same
 * factor.
 */
export function referenceOf({ runtime, threads, description }: ProfileMachine): string {
  return `${runtime} ${threads} ${description}`;
}

/** A profile of one variant: one frontier for each bucket of input features, from small to large. */
export interface VariantProfile {
  readonly variant: string;
  readonly accuracyRatio?: number;
  readonly agreementRatio: number;
  readonly buckets: readonly BucketProfile[];
}

/** The measurements for inputs up to a size. */
export interface BucketProfile {
  readonly upTo: Features;
  /** Features of the measured input, so that times can be scaled inside the bucket. */
  readonly typical: Features;
  /** Number of runs for each time. */
  readonly runs: number;
  /** In order from `start` to `end`, both included; pruned to those that can be the best choice. */
  readonly cuts: readonly CutProfile[];
  readonly legalCuts: number;
}

/** One cut of a bucket's frontier. Times in milliseconds on the profile's machine, as 16 quantile values or a mean. */
export interface CutProfile {
  readonly cut: Cut;
  /** Time of the head (`start` to here) and of the tail (here to `end`), each as it runs alone. */
  readonly headMs: readonly number[];
  readonly tailMs: readonly number[];
  /** Resident memory that the head needs, in bytes. */
  readonly headMemoryBytes: number;
  /** The ranges of the side tensors of the crossing, by name. */
  readonly sides?: Readonly<Record<string, ValueRange>>;
  /** Ways to carry the crossing, best first by nothing: the planner chooses. */
  readonly codings: readonly CodingProfile[];
}

/** Whole numbers that were seen, both ends included. */
export interface ValueRange {
  readonly least: number;
  readonly most: number;
}

/** Elements of a side tensor at most. */
const mostSideElements = 32;

/**
 * Whether a crossing tensor stands beside the data: a few whole numbers along at most one axis, such as a shape or a count.
 * Their values become sizes, and sizes become memory; longer ones, and those of more axes, are data (words of a text).
 */
export function isSideTensor({ datatype, shape }: TensorSpec): boolean {
  if (datatype !== "INT64" && datatype !== "INT32") return false;
  return shape.length <= 1 && (shape[0] ?? 1) <= mostSideElements;
}

/** The crossing of a cut under one choice of codecs. */
export interface CodingProfile {
  /** Codec for each crossing tensor that is not sent raw, by tensor name. */
  readonly codecs: Readonly<Record<string, string>>;
  readonly bytes: number;
  /** The quickest of a few runs for each input, in the mean: plans add these up where there is no spread. */
  readonly encodeMs: number;
  readonly decodeMs: number;
  /**
   * The times of all these runs, as 16 quantile values of three digits; absent if nothing is coded, and in older profiles.
   */
  readonly encodeSpreadMs?: readonly number[];
  readonly decodeSpreadMs?: readonly number[];
  /**
   * How far what arrives lies from what was sent: root mean square of the difference over that of the values, all
   * fractions of the crossing and all that was coded together, on real inputs; 0 where it is the same, 1 where nothing of it
   * is left, at worst more. Undefined where it is no number, and in older profiles.
   */
  readonly errorRatio?: number;
  /** Agreement of the final answers with the uncoded run, measured on real inputs, 0..1. */
  readonly agreementRatio: number;
  readonly lossless: boolean;
}
