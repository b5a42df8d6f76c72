import {
  type Call,
  type CutProfile,
  endCut,
  estimateOf,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type ModelKnowledge,
  type Profile,
  type Segment,
  startCut,
  type Tensors,
  type VariantProfile,
} from "@longshore/core";
import { type StepModel, stepModels, totalBytes } from "@longshore/core/internal";
import type { MeasureOptions } from "./measure-options.ts";

/** Counted runs of each input, by default. */
const usualRounds = 5;

/** Runs a request to its end, wherever that is. */
type Run = (request: InferenceRequest, call: Call) => Promise<InferenceResponse>;

/**
 * Measures what can be measured of a pipeline with models that only others have, and that is not cut up between endpoints: the
 * steps that run here before the first of them, and the crossing there. With `whole`, which runs all of it, the rest is
 * measured, too, and divided among the later steps in the assumed proportions; without, they keep their assumed times.
 */
export async function measureHere(
  options: MeasureOptions,
  { description, profile: assumed }: ModelKnowledge,
  whole: Run | undefined,
  call: Call,
): Promise<Profile> {
  const { variants: wanted, runtime } = options;
  const variants: VariantProfile[] = [];
  for (const variant of assumed?.variants ?? []) {
    if (wanted && !wanted.includes(variant.variant)) continue;
    const body = description.variants.find(({ name }) => name === variant.variant)?.body;
    const step = body && stepModels(body).find(({ run }) => run.elsewhere);
    variants.push(step ? await headMeasured(options, description, variant, step, whole, call) : variant);
  }
  if (!assumed || variants.length === 0) {
    const known = description.variants.map(({ name }) => name).join(", ");
    throw new LongshoreError("unknown-variant", "resolve", `${description.name} has the variants ${known}`);
  }
  return { ...assumed, measuredOn: { runtime, threads: 1, description: process.arch }, variants };
}

/** The times of runs of a segment, and the outputs of the last of each sample. */
interface Timed {
  readonly tookMs: readonly number[];
  readonly outputs: readonly Tensors[];
}

async function timed(
  { clock, samples, rounds = usualRounds }: MeasureOptions,
  run: Run,
  segment: Segment,
  call: Call,
): Promise<Timed> {
  const tookMs: number[] = [];
  const outputs: Tensors[] = [];
  for (const sample of samples) {
    let last: Tensors = new Map();
    // The first run loads and warms, and is not counted.
    for (let round = 0; round <= rounds; round++) {
      const beganMs = clock.nowMs();
      last = (await run({ segment, inputs: sample, codecs: {} }, call)).outputs;
      if (round > 0) tookMs.push(clock.nowMs() - beganMs);
    }
    outputs.push(last);
  }
  return { tookMs: [...estimateOf(tookMs, { observedAtMs: 0, origin: "measured" }).values], outputs };
}

/** A variant whose times begin with what the head before a step takes here, and end with what the whole takes. */
async function headMeasured(
  options: MeasureOptions,
  { name: model, version, digest }: ModelKnowledge["description"],
  variant: VariantProfile,
  { step, from }: StepModel,
  whole: Run | undefined,
  call: Call,
): Promise<VariantProfile> {
  const { engine, samples, rounds = usualRounds } = options;
  const all = { model, version, digest, variant: variant.variant, from: startCut, to: endCut };
  const here: Run = (...asked) => engine.infer(...asked);
  const head = from === startCut ? undefined : await timed(options, here, { ...all, to: from }, call);
  const end = whole && (await timed(options, whole, all, call));
  if (!head && !end) return variant;
  const measured = head?.tookMs ?? [0];
  const taken = new Set(Object.values(step.inputs));
  const crossing = (head?.outputs ?? []).map((one) => new Map([...one].filter(([name]) => taken.has(name))));
  const bytes = crossing.reduce((sum, one) => sum + totalBytes(one), 0) / samples.length;
  const buckets = variant.buckets.map((bucket) => {
    const at = bucket.cuts.findIndex(({ cut }) => cut.id === from);
    const known = bucket.cuts[at];
    if (!known) return bucket;
    const before = meanTimeMs(known.headMs);
    const follows = meanTimeMs(known.tailMs);
    // The known times of either side are divided in the same proportions.
    const scale =
      end && follows > 0 ? Math.max(0, meanTimeMs(end.tookMs) - meanTimeMs(measured)) / follows : 1;
    const cuts = bucket.cuts.map((one, index): CutProfile => {
      const headMean = meanTimeMs(one.headMs);
      if (index < at) {
        const ratio = before > 0 ? Math.min(1, headMean / before) : 0;
        return {
          ...one,
          headMs: index === 0 ? one.headMs : measured.map((ms) => ms * ratio),
          tailMs: measured.map((ms) => ms * (1 - ratio) + follows * scale),
        };
      }
      const headMs = measured.map((ms) => ms + Math.max(0, headMean - before) * scale);
      const tailMs = one.tailMs.map((ms) => ms * scale);
      const [coding] = one.codings;
      return head && index === at && coding
        ? { ...one, headMs, tailMs, codings: [{ ...coding, bytes: Math.round(bytes) }] }
        : { ...one, headMs, tailMs };
    });
    const [start] = cuts;
    if (start && end) cuts[0] = { ...start, tailMs: end.tookMs };
    return { ...bucket, runs: rounds * samples.length, cuts };
  });
  return { ...variant, buckets };
}

/** Mean of times; 0 of none. */
export function meanTimeMs(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / Math.max(1, values.length);
}
