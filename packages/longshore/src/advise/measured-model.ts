import {
  type Call,
  type Clock,
  endCut,
  fp16Codec,
  type InferenceRequest,
  int8Codec,
  LongshoreError,
  type ModelDescription,
  type Profile,
  startCut,
  type Tensors,
  uint8Codec,
} from "@longshore/core";
import { totalBytes } from "@longshore/core/internal";
import type { Engine } from "@longshore/engine";
import type { SimulatedModel } from "@longshore/lab";
import { jpegCodec } from "@longshore/nodejs";
import { featuresOf, measureModel, sampleTensors } from "../profile/measure.ts";
import type { CommandIo } from "../options/io.ts";

/** A model as a simulation needs it: times, bytes, and what really crosses at each cut. */
export interface MeasuredModel {
  readonly simulated: SimulatedModel;
  readonly inputs: readonly Tensors[];
  /** Measured before and found in the repository, instead of now. */
  readonly known: boolean;
  /** Cuts that were chosen and not measured, because the time was over. */
  readonly leftOut: number;
}

/** How much is measured. */
export interface Effort {
  readonly samples: number;
  readonly rounds: number;
  readonly maxCuts: number;
  /** Every codec, or only the smallest of each kind: each costs a run of the tail at every cut. */
  readonly everyCodec: boolean;
}

const budgetMs = 25_000;
/** The time that one cut takes besides its runs: two sessions to load. */
const loadingMs = 300;

/** When one run takes so long, the whole should take well under a minute. */
function effortFor(wholeMs: number): Effort {
  const [samples, rounds] = wholeMs < 20 ? [3, 3] : wholeMs < 100 ? [2, 2] : [1, 1];
  const runs = samples * (rounds + 6);
  const maxCuts = Math.floor(budgetMs / (runs * wholeMs + loadingMs));
  return { samples, rounds, maxCuts: Math.min(16, Math.max(4, maxCuts)), everyCodec: wholeMs < 100 };
}

/**
 * Takes the profile that the repository holds, or measures a small one of the default variant here; then runs the head up
 * to every cut once for each input, so that what crosses in the simulation is what would cross.
 */
export async function measuredModel(
  parts: {
    readonly engine: Engine;
    readonly clock: Clock;
    readonly model: string;
    readonly samples: string | undefined;
    readonly io: Pick<CommandIo, "note" | "progress">;
    /** Default: chosen by the time of one run. */
    readonly effort?: Effort;
    /** Measure here even where the repository holds a profile; default false. */
    readonly fresh?: boolean;
    /** No further cut is measured after this moment of the clock. Default: all are. */
    readonly untilMs?: number;
    /** Default: the first one. */
    readonly variants?: readonly string[];
  },
  call: Call,
): Promise<MeasuredModel> {
  const { engine, clock, model, io } = parts;
  const knowledge = await engine.describe(model, undefined, call);
  if (!knowledge) throw new LongshoreError("unknown-model", "resolve", `there is no model ${model}`);
  const { description } = knowledge;
  const samples = middleFirst(await sampleTensors(engine, description, parts.samples, call));
  const wholeMs = await timeOfWhole(engine, clock, description, samples[0] ?? new Map(), call);
  const effort = parts.effort ?? effortFor(wholeMs);
  const inputs = samples.slice(0, effort.samples);
  const known =
    parts.fresh !== true &&
    knowledge.profile !== undefined &&
    knowledge.profile.digest === description.digest;
  io.note(
    known
      ? `using the profile in the repository, measured on ${knowledge.profile?.measuredOn.description ?? "another machine"}`
      : `measuring ${model}: one run takes ${Math.round(wholeMs)} ms here`,
  );
  let [measured, chosen] = [0, 0];
  const profile =
    known && knowledge.profile
      ? knowledge.profile
      : await measureModel(
          {
            engine,
            clock,
            model,
            runtime: "onnxruntime",
            samples: inputs,
            rounds: effort.rounds,
            maxCuts: effort.maxCuts,
            variants: parts.variants ?? [defaultVariant(description)],
            codecs: effort.everyCodec
              ? [uint8Codec, fp16Codec, int8Codec, jpegCodec(85), jpegCodec(95)]
              : [int8Codec, jpegCodec(85)],
            progress: (note) => {
              ({ measured, chosen } = note);
              io.progress(`measured ${measured} of ${chosen} cuts`);
            },
            ...(parts.untilMs === undefined ? {} : { untilMs: parts.untilMs }),
          },
          call,
        );
  const compute = await crossings(engine, description, profile, inputs, call);
  const [first] = inputs;
  const features = first ? featuresOf(description, first) : { bytes: 0 };
  const simulated = { description, profile, compute, featuresOf: () => features };
  return { simulated, inputs, known, leftOut: chosen - measured };
}

/** Of middling size first: when only one is measured, it should be a typical one. Equal sizes keep their order. */
function middleFirst(samples: readonly Tensors[]): readonly Tensors[] {
  const sorted = samples.toSorted((a, b) => totalBytes(a) - totalBytes(b));
  const middle = sorted[Math.floor(sorted.length / 2)];
  const sizes = new Set(sorted.map(totalBytes));
  if (!middle || sizes.size === 1) return samples;
  return [middle, ...sorted.filter((sample) => sample !== middle)];
}

/** Name of the variant that runs by default. */
export function defaultVariant(description: ModelDescription): string {
  return description.variants[0]?.name ?? "default";
}

async function timeOfWhole(
  engine: Engine,
  clock: Clock,
  description: ModelDescription,
  inputs: Tensors,
  call: Call,
): Promise<number> {
  const request: InferenceRequest = { segment: segmentTo(description, endCut), inputs, codecs: {} };
  await engine.infer(request, call);
  const startedMs = clock.nowMs();
  await engine.infer(request, call);
  return clock.nowMs() - startedMs;
}

function segmentTo(description: ModelDescription, to: string): InferenceRequest["segment"] {
  const { name: model, version, digest } = description;
  return { model, version, digest, variant: defaultVariant(description), from: startCut, to };
}

/** The answers of a simulated endpoint: the tensors that the real engine gave for the same input up to the same cut. */
async function crossings(
  engine: Engine,
  description: ModelDescription,
  profile: Profile,
  inputs: readonly Tensors[],
  call: Call,
): Promise<(request: InferenceRequest) => Tensors> {
  const cuts =
    profile.variants.find(({ variant }) => variant === defaultVariant(description))?.buckets[0]?.cuts ?? [];
  const made = new Map<string, Tensors>();
  /** Which input some bytes belong to: the buffers of every crossing are remembered. */
  const owners = new WeakMap<Uint8Array, number>();
  for (const [index, sample] of inputs.entries()) {
    for (const tensor of sample.values()) owners.set(tensor.bytes, index);
    for (const { cut } of cuts) {
      if (cut.id === startCut) continue;
      const { outputs } = await engine.infer(
        { segment: segmentTo(description, cut.id), inputs: sample, codecs: {} },
        call,
      );
      made.set(`${index} ${cut.id}`, outputs);
      for (const tensor of outputs.values()) owners.set(tensor.bytes, index);
    }
  }
  return ({ segment, inputs: given }) => {
    let owner = 0;
    for (const tensor of given.values()) if ("bytes" in tensor) owner = owners.get(tensor.bytes) ?? owner;
    return made.get(`${owner} ${segment.to}`) ?? made.get(`0 ${segment.to}`) ?? new Map();
  };
}
