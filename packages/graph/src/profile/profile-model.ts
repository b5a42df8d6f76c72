import {
  type BucketProfile,
  type Call,
  type Clock,
  type Codec,
  type CutId,
  type CutProfile,
  endCut,
  LongshoreError,
  type ModelDescription,
  type Profile,
  type ProfileMachine,
  startCut,
  type Variant,
  type VariantProfile,
} from "@longshore/core";
import { stepModels } from "@longshore/core/internal";
import { balanced, frontier, type SplitPoint } from "../partition/index.ts";
import { type Agreement, tensorAgreement } from "./agreement.ts";
import { chooseCuts, type GraphFinder, stepOf } from "./choose-cuts.ts";
import { meanOrZero } from "./code-crossing.ts";
import { measureCuts, type Measuring } from "./measure-cuts.ts";
import type { QualityLadder } from "./quality.ts";
import type { ProfileBucket, ProfiledVariant, ProfileTarget } from "./target.ts";

/** The options of `profileModel`. */
export interface ProfileOptions {
  readonly target: ProfileTarget;
  readonly model: string;
  readonly version?: string;
  /** Variants to profile; default: all. */
  readonly variants?: readonly string[];
  /** From small to large inputs, at least one. */
  readonly buckets: readonly ProfileBucket[];
  /** Codecs to try beside raw; each is applied to all tensors of a crossing that it accepts. */
  readonly codecs: readonly Codec[];
  /**
   * Codecs of pictures in several qualities: instead of all of them, the coarsest that keeps each of `agreements` on these
   * samples is measured, chosen on half of the samples and confirmed by the others. Default: none.
   */
  readonly ladders?: readonly QualityLadder[];
  /** Agreements that requests may demand; default 0.95, 0.98, 0.99 and 0.995. */
  readonly agreements?: readonly number[];
  readonly machine: ProfileMachine;
  readonly clock: Clock;
  /** Files of the graphs, so that their inner cuts can be chosen well; without it they are evenly spaced. */
  readonly graphs?: GraphFinder;
  /** Most cuts measured in a bucket. Default 24: each takes two sessions and some seconds. 0: the ends alone. */
  readonly maxCuts?: number;
  /** Counted runs of each sample on each side of a cut. Default: up to 5, fewer where a run is slow (2 s for each cut). */
  readonly rounds?: number;
  /** Default `tensorAgreement`. */
  readonly agreement?: Agreement;
  readonly progress?: (note: ProfileNote) => void;
  /** No further cut is measured after this moment of the clock; the whole model is, in any case. Default: all are. */
  readonly untilMs?: number;
}

/** How far a profile is. */
export interface ProfileNote {
  readonly variant: string;
  /** From 0. */
  readonly bucket: number;
  readonly measured: number;
  readonly chosen: number;
}

const defaultMaxCuts = 24;
const usualAgreements: readonly number[] = [0.95, 0.98, 0.99, 0.995];
/** Measured times wobble by about this much, so a cut within it of the best may be the best. */
const noiseRatio = 0.03;

/**
 * Measures a model: for each variant and bucket of input sizes the cuts that can be the best choice, with the time of
 * head and tail as they really run, and for each codec the bytes, coding times and agreement of the answers.
 *
 * Cuts are chosen in three steps, because measuring one takes two sessions and seconds: all legal cuts are sketched from
 * the graphs, those that can win are measured, and those that no prices make the best are dropped again.
 *
 * Throws `unknown-model`, `unknown-variant`, and whatever a run of the model throws.
 */
export async function profileModel(options: ProfileOptions, call: Call): Promise<Profile> {
  const { model, target } = options;
  const knowledge = await target.describe(model, options.version, call);
  if (!knowledge) {
    throw new LongshoreError("unknown-model", "resolve", `there is no model "${model}" to profile here`);
  }
  const { description } = knowledge;
  const variants: VariantProfile[] = [];
  for (const variant of chosenVariants(description, options.variants)) {
    const buckets: BucketProfile[] = [];
    for (const [index, bucket] of options.buckets.entries()) {
      buckets.push(await profileBucket(options, description, variant, bucket, index, call));
    }
    variants.push({
      variant: variant.name,
      ...(variant.accuracyRatio !== undefined && { accuracyRatio: variant.accuracyRatio }),
      agreementRatio: variant.agreementRatio,
      buckets,
    });
  }
  return {
    schemaVersion: 1,
    model: description.name,
    version: description.version,
    digest: description.digest,
    measuredOn: options.machine,
    variants,
  };
}

function chosenVariants(
  description: ModelDescription,
  wanted: readonly string[] | undefined,
): readonly Variant[] {
  if (!wanted) return description.variants;
  return wanted.map((name) => {
    const found = description.variants.find((variant) => variant.name === name);
    if (found) return found;
    const names = description.variants.map((variant) => variant.name).join(", ");
    throw new LongshoreError(
      "unknown-variant",
      "resolve",
      `${description.name} has no variant "${name}"; it has ${names}`,
    );
  });
}

async function profileBucket(
  options: ProfileOptions,
  description: ModelDescription,
  variant: Variant,
  bucket: ProfileBucket,
  index: number,
  call: Call,
): Promise<BucketProfile> {
  if (bucket.samples.length === 0) {
    throw new LongshoreError("invalid-input", "resolve", `bucket ${index} has no samples to profile with`);
  }
  const profiled: ProfiledVariant = {
    model: description.name,
    version: description.version,
    digest: description.digest,
    variant: variant.name,
  };
  const limit = options.maxCuts ?? defaultMaxCuts;
  const chosen = await chooseCuts(
    options.target,
    profiled,
    variant,
    bucket,
    { graphs: options.graphs, limit },
    call,
  );
  const measuring: Measuring = {
    target: options.target,
    profiled,
    samples: bucket.samples,
    codecs: options.codecs,
    ladders: options.ladders ?? [],
    agreements: options.agreements ?? usualAgreements,
    rounds: options.rounds,
    clock: options.clock,
    untilMs: options.untilMs ?? Infinity,
    agreement: options.agreement ?? tensorAgreement,
  };
  const note = (measured: number): void =>
    options.progress?.({ variant: variant.name, bucket: index, measured, chosen: chosen.length });
  const measured = await measureCuts(measuring, chosen, note, call);
  return {
    upTo: bucket.upTo,
    typical: bucket.typical,
    runs: measured.runs,
    cuts: worthKeeping(
      measured.cuts,
      stepModels(variant.body).flatMap(({ from, to }) => [from, to]),
    ),
    legalCuts: await legalCuts(options, profiled, call),
  };
}

/** The number of legal cuts of a bare graph, else of those that the target lists. */
async function legalCuts(options: ProfileOptions, profiled: ProfiledVariant, call: Call): Promise<number> {
  const listed = await options.target.cuts(profiled.model, profiled.version, profiled.variant, call);
  const bare = listed.some((cut) => stepOf(cut.id) === "");
  const graph = bare ? await options.graphs?.(profiled.variant, undefined) : undefined;
  return graph?.table.legal ?? listed.length;
}

/**
 * The cuts that some prices make the best, under any codec, or that are the best for an endpoint that pays for memory instead
 * of time at the head, or balance head and tail. The same again among those whose crossing is not the input any more: rules
 * often keep that here, and then another cut is the best. `start` and `end` always, and those `around` models of steps: a
 * server of another make may have one, whole.
 */
export function worthKeeping(
  measured: readonly CutProfile[],
  around: readonly CutId[] = [],
): readonly CutProfile[] {
  const kept = new Set<string>([startCut, endCut, ...around]);
  const codecs = new Set(measured.flatMap((cut) => cut.codings.map(codingName)));
  for (const codec of codecs) {
    for (const allowed of [measured, measured.filter(({ cut }) => cut.reveals !== "input")]) {
      for (const id of winners(allowed, codec)) kept.add(id);
    }
  }
  return measured.filter((profile) => kept.has(profile.cut.id));
}

/** Those of some cuts that can be the best under a codec, by id. */
function winners(measured: readonly CutProfile[], codec: string): readonly string[] {
  const points: SplitPoint[] = [];
  const memoryPoints: SplitPoint[] = [];
  const ids: string[] = [];
  for (const profile of measured) {
    const coding = profile.codings.find((one) => codingName(one) === codec) ?? profile.codings[0];
    if (!coding) continue;
    const tail = meanOrZero(profile.tailMs) + coding.decodeMs;
    points.push({ head: meanOrZero(profile.headMs) + coding.encodeMs, tail, transfer: coding.bytes });
    memoryPoints.push({ head: profile.headMemoryBytes, tail, transfer: coding.bytes });
    ids.push(profile.cut.id);
  }
  const best = [...frontier(points, noiseRatio), ...frontier(memoryPoints), ...balanced(points)];
  return best.flatMap((index) => ids[index] ?? []);
}

function codingName(coding: { readonly codecs: Readonly<Record<string, string>> }): string {
  return Object.values(coding.codecs)[0] ?? "raw";
}
