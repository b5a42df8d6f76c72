import {
  type Call,
  type CutProfile,
  estimateOf,
  LongshoreError,
  type ModelKnowledge,
  type Profile,
  startCut,
  type StepModel,
  stepModels,
  type Tensors,
  totalBytes,
  type VariantProfile,
} from "@longshore/core";
import type { MeasureOptions } from "./measure.ts";

/** Counted runs of each input, where nobody says. */
const usualRounds = 5;

/**
 * What can be measured of a pipeline with models that nobody named has: what runs here before the first of them, and what crosses
 * there. All that follows keeps the times that were assumed.
 */
export async function measureHere(
  options: MeasureOptions,
  { description, profile: assumed }: ModelKnowledge,
  call: Call,
): Promise<Profile> {
  const { variants: wanted, runtime } = options;
  const variants: VariantProfile[] = [];
  for (const variant of assumed?.variants ?? []) {
    if (wanted && !wanted.includes(variant.variant)) continue;
    const body = description.variants.find(({ name }) => name === variant.variant)?.body;
    const step = body && stepModels(body).find(({ run }) => run.elsewhere);
    variants.push(step ? await headMeasured(options, description, variant, step, call) : variant);
  }
  if (!assumed || variants.length === 0) {
    const known = description.variants.map(({ name }) => name).join(", ");
    throw new LongshoreError("unknown-variant", "resolve", `${description.name} has the variants ${known}`);
  }
  return { ...assumed, measuredOn: { runtime, threads: 1, description: process.arch }, variants };
}

/** A variant whose times begin with what the head before a step takes here. */
async function headMeasured(
  { engine, clock, samples, rounds = usualRounds }: MeasureOptions,
  { name: model, version, digest }: ModelKnowledge["description"],
  variant: VariantProfile,
  { step, from }: StepModel,
  call: Call,
): Promise<VariantProfile> {
  if (from === startCut) return variant;
  const segment = { model, version, digest, variant: variant.variant, from: startCut, to: from };
  const tookMs: number[] = [];
  let bytes = 0;
  for (const sample of samples) {
    let crossed: Tensors = new Map();
    // The first run loads and warms, and is not counted.
    for (let round = 0; round <= rounds; round++) {
      const beganMs = clock.nowMs();
      crossed = (await engine.infer({ segment, inputs: sample, codecs: {} }, call)).outputs;
      if (round > 0) tookMs.push(clock.nowMs() - beganMs);
    }
    const taken = new Set(Object.values(step.inputs));
    bytes += totalBytes(new Map([...crossed].filter(([name]) => taken.has(name)))) / samples.length;
  }
  const measured = [...estimateOf(tookMs, { observedAtMs: 0, origin: "measured" }).values];
  const buckets = variant.buckets.map((bucket) => {
    const at = bucket.cuts.findIndex(({ cut }) => cut.id === from);
    const head = bucket.cuts[at];
    if (!head) return bucket;
    const before = mean(head.headMs);
    const follows = mean(head.tailMs);
    const cuts = bucket.cuts.map((one, index): CutProfile => {
      const headMean = mean(one.headMs);
      if (index < at) {
        // What was known of the head is divided as it was.
        const ratio = before > 0 ? Math.min(1, headMean / before) : 0;
        return {
          ...one,
          headMs: index === 0 ? one.headMs : measured.map((ms) => ms * ratio),
          tailMs: measured.map((ms) => ms * (1 - ratio) + follows),
        };
      }
      const headMs = measured.map((ms) => ms + Math.max(0, headMean - before));
      const [coding] = one.codings;
      return index === at && coding
        ? { ...one, headMs, codings: [{ ...coding, bytes: Math.round(bytes) }] }
        : { ...one, headMs };
    });
    return { ...bucket, runs: tookMs.length, cuts };
  });
  return { ...variant, buckets };
}

/** Mean of times; 0 of none. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / Math.max(1, values.length);
}
