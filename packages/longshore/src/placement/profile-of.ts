import {
  type BucketProfile,
  type Call,
  LongshoreError,
  type ModelDescription,
  type Profile,
  type Tensors,
} from "@longshore/core";
import { featuresWithin } from "@longshore/core/internal";
import type { Engine } from "@longshore/engine";
import { systemClock } from "@longshore/nodejs";
import { byteCount, type CommandIo } from "../options/io.ts";
import { featuresOf, measureModel, sampleTensors } from "../profile/measure.ts";
import { openEngine } from "../engine/open-engine.ts";
import type { OpenedModel } from "../engine/open-model.ts";
import { readProfile } from "../profile/read-profile.ts";

/** Cuts that are measured if there is no profile, and counted runs of each. */
const effort = { maxCuts: 12, rounds: 3 } as const;
/** Inputs of sizes that differ by less than this factor are of one size. */
const alike = 1.25;

/** Measured times of a model for inputs of a size. */
export interface Times {
  readonly profile: Profile;
  readonly bucket: BucketProfile;
  /** Inputs whose sizes are planned for. */
  readonly inputs: Tensors;
}

/**
 * The times of a model: of a file that is named, of the model's own folder, or measured now. `given` is an input to plan for,
 * by default a seeded one that the model accepts. Throws `invalid-input` where a profile is of another model.
 */
export async function timesOf(
  opened: OpenedModel & { readonly model: string },
  file: string | undefined,
  given: Tensors | undefined,
  io: CommandIo,
  call: Call,
): Promise<Times> {
  const { engine, close } = openEngine({ store: opened.store });
  try {
    const known = await engine.describe(opened.model, undefined, call);
    if (!known) throw new LongshoreError("unknown-model", "resolve", `there is no model ${opened.model}`);
    const { description } = known;
    const named = file === undefined ? known.profile : await ownProfile(file, description);
    const samples = given ? [given] : await sampleTensors(engine, description, undefined, call);
    const profile =
      named?.digest === description.digest
        ? named
        : await measureNow(engine, opened.model, description, samples, io, call);
    const [inputs = new Map()] = samples;
    const features = featuresOf(description, inputs);
    const { buckets } = profile.variants[0] ?? { buckets: [] };
    const bucket = buckets.find(({ upTo }) => featuresWithin(features, upTo)) ?? buckets.at(-1);
    if (!bucket) throw wrong(`the profile of ${opened.model} holds no times`);
    const [planned, measured] = [features.bytes, bucket.typical.bytes];
    if (Math.max(planned, measured) > alike * Math.min(planned, measured)) {
      io.note(
        `times are those of inputs of ${byteCount(measured)}, bytes are planned for inputs of ${byteCount(planned)}; name a usual input with --input`,
      );
    }
    return { profile, bucket, inputs };
  } finally {
    await close();
  }
}

function measureNow(
  engine: Engine,
  model: string,
  description: ModelDescription,
  samples: readonly Tensors[],
  io: CommandIo,
  call: Call,
): Promise<Profile> {
  io.note(`measuring ${model} here; 'longshore profile ${model} --write' keeps times for the next plan`);
  return measureModel(
    {
      engine,
      clock: systemClock(),
      model,
      runtime: "onnxruntime",
      samples,
      codecs: [],
      ...effort,
      ...(description.variants[0] ? { variants: [description.variants[0].name] } : {}),
      progress: (note) => io.progress(`measured ${note.measured} of ${note.chosen} cuts`),
    },
    call,
  );
}

async function ownProfile(file: string, { name, digest }: ModelDescription): Promise<Profile> {
  const profile = await readProfile(file);
  if (profile.digest === digest) return profile;
  throw wrong(
    `the profile ${file} is of ${profile.model} ${profile.version} with another content than this ${name}; measure it with 'longshore profile'`,
  );
}

function wrong(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", message);
}
