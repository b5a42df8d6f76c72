import { mkdir, rename, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { type Call, LongshoreError, type Profile, type Tensors } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { ModelStore } from "@longshore/engine";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { warnWhenBusy } from "../profile/busy-machine.ts";
import { isCarried, type Pace, pacedProfile, measuredPace } from "../quantize/pace.ts";
import { measureModel, sampleTensors } from "../profile/measure.ts";
import { mergeProfile, wholeMs } from "../profile/merge-profile.ts";
import { openEngine } from "../engine/open-engine.ts";
import { type OpenedModel, openModel } from "../engine/open-model.ts";
import { overlayStore } from "../quantize/overlay-store.ts";
import { type MadeVariant, quantizeVariant, type VariantFormat } from "../quantize/quantize-variant.ts";
import { byteCount, type CommandIo, type ExitCode, milliseconds, table } from "../options/io.ts";

/** Options of `longshore quantize`. */
export interface QuantizeCommandOptions {
  readonly samples?: string;
  readonly format: VariantFormat;
  readonly name?: string;
  readonly agreement: number;
  readonly output?: string;
  readonly cuts: number;
  readonly json: boolean;
}

/** Makes a smaller variant of a model and measures it: an 8-bit one, or one with weights of 16 bits. */
export async function quantize(
  model: string,
  options: QuantizeCommandOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const call = housekeepingCall("quantize", io.stop);
  const opened = await openModel(model);
  if (opened.model === undefined) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      "a repository was named; name one of its models: REPOSITORY/MODEL",
    );
  }
  const name = options.name ?? options.format;
  const samples = await readSamples(opened.store, opened.model, options.samples, call);
  if (options.samples === undefined) {
    io.note("seeded random inputs: ranges and agreement say little of real ones; give --samples");
  }
  const { calibration, judged } = apart(samples);
  const made = await quantizeVariant(
    {
      store: opened.store,
      model: opened.model,
      calibration,
      judged,
      format: options.format,
      name,
      agreementRatio: options.agreement,
      note: (text) => io.note(text),
    },
    call,
  );
  if (made.agreementRatio < options.agreement) {
    io.note(
      `its answers agree ${made.agreementRatio.toFixed(4)}, less than ${options.agreement}: nothing is written`,
    );
    return 1;
  }
  await warnWhenBusy(io);
  const { profile, pace } = await measure(opened, opened.model, made, name, samples, options.cuts, call);
  const written = await write(model, opened, made, options.output, profile, io);
  report(opened.model, name, made, { profile, pace }, written, options.json, io);
  return 0;
}

async function readSamples(
  store: ModelStore,
  model: string,
  folder: string | undefined,
  call: Call,
): Promise<readonly Tensors[]> {
  // As a cloud, so that variants that only the cloud may hold are there too.
  const { engine, close } = openEngine({ store, tier: "cloud" });
  try {
    const knowledge = await engine.describe(model, undefined, call);
    if (!knowledge) throw new LongshoreError("unknown-model", "resolve", `there is no model ${model}`);
    return await sampleTensors(engine, knowledge.description, folder, call, mostSamples);
  } finally {
    await close();
  }
}

/** Inputs that are read: half of them show ranges, the other half judge. */
const mostSamples = 16;

/** Judging by inputs that ranges were chosen from would flatter; with fewer than four there is no choice. */
function apart(samples: readonly Tensors[]): {
  readonly calibration: readonly Tensors[];
  readonly judged: readonly Tensors[];
} {
  if (samples.length < 4) return { calibration: samples, judged: samples };
  return {
    calibration: samples.filter((_, at) => at % 2 === 0),
    judged: samples.filter((_, at) => at % 2 === 1),
  };
}

/** Measurements of the default and the new variant. */
interface Measured {
  /** Merged with the earlier profile. The alternating runs of both variants give their ratio. */
  readonly profile: Profile;
  readonly pace: Pace;
}

/** Measures the segments of both variants, then both as a whole in turns. */
async function measure(
  { store }: OpenedModel,
  model: string,
  made: MadeVariant,
  name: string,
  samples: readonly Tensors[],
  cuts: number,
  call: Call,
): Promise<Measured> {
  const before = openEngine({ store, tier: "cloud" });
  const known = (await before.engine.describe(model, undefined, call))?.profile;
  await before.close();
  const { engine, close } = openEngine({ store: overlayStore(store, made.files), tier: "cloud" });
  try {
    const standard =
      (await engine.describe(model, undefined, call))?.description.variants[0]?.name ?? "default";
    const parts = { engine, clock: systemClock(), model, runtime: "onnxruntime", samples, maxCuts: cuts };
    const later = await measureModel({ ...parts, variants: [standard, name] }, call);
    const variants = { standard, made: name };
    const pace = await measuredPace({ ...parts, random: systemRandom() }, model, variants, samples, call);
    return { profile: pacedProfile(mergeProfile(known, later, standard), variants, pace), pace };
  } finally {
    await close();
  }
}

async function write(
  argument: string,
  opened: OpenedModel,
  made: MadeVariant,
  output: string | undefined,
  measured: Profile,
  io: CommandIo,
): Promise<readonly string[]> {
  const [only, ...others] = made.graphs.map((one) => one.model);
  if (output !== undefined || opened.folder === undefined) {
    const file = [...made.files].find(([path]) => path.startsWith(`${only}/`) && extname(path) === ".onnx");
    if (others.length > 0 || !file) {
      throw new LongshoreError(
        "invalid-input",
        "resolve",
        "--output holds one network; this model has several: leave it out",
      );
    }
    const path =
      output ?? join(dirname(argument), basename(file[0]).replace("model", basename(argument, ".onnx")));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, file[1]);
    io.note(`wrote ${path}`);
    return [path];
  }
  const repository = dirname(opened.folder);
  const profile = `${opened.model}/${measured.version}/profile.json`;
  const files = new Map(made.files).set(
    profile,
    new TextEncoder().encode(`${JSON.stringify(measured, null, 1)}\n`),
  );
  const paths: string[] = [];
  // Networks before the configurations that name them: a server that watches never sees one without the other.
  for (const [path, bytes] of [...files].sort(
    ([a], [b]) => Number(b.endsWith(".onnx")) - Number(a.endsWith(".onnx")),
  )) {
    const target = join(repository, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(`${target}.tmp`, bytes);
    await rename(`${target}.tmp`, target);
    io.note(`wrote ${target}`);
    paths.push(target);
  }
  return paths;
}

function report(
  model: string,
  name: string,
  made: MadeVariant,
  { profile, pace }: Measured,
  files: readonly string[],
  json: boolean,
  io: CommandIo,
): void {
  const [standard, variant] = [profile.variants[0], profile.variants.find((one) => one.variant === name)];
  const [before = 0, after = 0] = [wholeMs(standard), wholeMs(variant)];
  const summary = {
    model,
    variant: name,
    agreementRatio: made.agreementRatio,
    wholeMs: after,
    wholeMsBefore: before,
    timesAsFast: pace,
    graphs: made.graphs,
    files,
  };
  if (json) {
    io.out(JSON.stringify(summary));
    return;
  }
  io.out(
    table(
      ["network", "before", "after", "layers", "left out"],
      made.graphs.map((one) => [
        one.model,
        byteCount(one.bytesBefore),
        byteCount(one.bytes),
        one.layers === undefined ? "" : String(one.layers),
        one.leftOut === undefined ? "" : String(one.leftOut.length),
      ]),
    ),
  );
  const spread = `${pace.ratio.toFixed(2)} times as fast (${pace.least.toFixed(2)} to ${pace.most.toFixed(2)} in ${pace.rounds} rounds of both in turns)`;
  const speed = isCarried(pace)
    ? `${milliseconds(after)} instead of ${milliseconds(before)}, ${spread}`
    : `no difference in time that the spread carries: ${spread}; the profile claims none`;
  io.out(`${model} ${name}: ${speed}, agreement ${made.agreementRatio.toFixed(4)}`);
}
