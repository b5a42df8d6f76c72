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
    const before = bucket.cuts[at]?.headMs[0] ?? 0;
    const cuts = bucket.cuts.map((one, index): CutProfile => {
      const later = (one.headMs[0] ?? 0) - before;
      const [coding] = one.codings;
      const all = measured.map((ms) => ms + (one.tailMs[0] ?? 0) - before);
      if (index === 0) return { ...one, tailMs: all };
      const headMs = measured.map((ms) => ms + later);
      return index === at && coding
        ? { ...one, headMs, codings: [{ ...coding, bytes: Math.round(bytes) }] }
        : { ...one, headMs };
    });
    return { ...bucket, runs: tookMs.length, cuts };
  });
  return { ...variant, buckets };
}
