import { readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import {
  type Call,
  type Codec,
  endCut,
  type Endpoint,
  type Features,
  LongshoreError,
  type ModelDescription,
  type Profile,
  silentObserver,
  startCut,
  type Tensors,
  textElements,
} from "@longshore/core";
import { elementBytes, needsOthers, stepsAround, totalBytes } from "@longshore/core/internal";
import type { Engine } from "@longshore/engine";
import {
  type Agreement,
  findInputs,
  type GraphFinder,
  onnxSource,
  type ProfileBucket,
  profileModel,
  type QualityLadder,
  tensorAgreement,
} from "@longshore/graph";
import { onnxRuntime, sha256 } from "@longshore/nodejs";
import { measureHere } from "./measure-here.ts";
import { inputExtensions, readInputFiles } from "../inputs/read-inputs.ts";
import { imageLadders, platformCodecs } from "../engine/codecs.ts";
import { platformTransforms } from "../engine/transforms.ts";
import type { MeasureOptions } from "./measure-options.ts";

/** Bytes, and pixels, samples or characters where they are known, of one input. */
export function featuresOf(description: ModelDescription, inputs: Tensors): Features {
  const bytes = totalBytes(inputs);
  const port = description.inputs[0];
  const tensor = port && inputs.get(port.name);
  if (!port || !tensor) return { bytes };
  if (port.datatype !== "BYTES")
    return { bytes, size: tensor.bytes.byteLength / elementBytes(port.datatype) };
  return port.media === "text" ? { bytes, size: tensor.bytes.byteLength - 4 } : { bytes };
}

/** Whether only the head of a model is measured: no endpoint has the rest, or a sequence would have to begin for each run. */
export function measuredHere(description: ModelDescription, endpoints: readonly Endpoint[]): boolean {
  return needsOthers(description) && (endpoints.length === 0 || description.sequence !== undefined);
}

/** Measures a model on an engine with all codecs of this platform and gives its profile. */
export async function measureModel(options: MeasureOptions, call: Call): Promise<Profile> {
  const { engine, model, samples } = options;
  const knowledge = await engine.describe(model, undefined, call);
  if (!knowledge) throw new LongshoreError("unknown-model", "resolve", `there is no model ${model}`);
  const { description } = knowledge;
  const { endpoints = [] } = options;
  const infer = stepsAround(engine, endpoints, { clock: options.clock, observer: silentObserver });
  // A model with several answers runs whole, and is cut nowhere.
  const whole = description.decoupled === true;
  if (measuredHere(description, endpoints)) return measureHere(options, knowledge, undefined, call);
  if (whole && needsOthers(description)) return measureHere(options, knowledge, infer, call);
  const cuts: Engine["cuts"] = (...asked) => engine.cuts(...asked);
  const features = samples.map((sample) => featuresOf(description, sample));
  const typical = features[Math.floor(features.length / 2)] ?? { bytes: 0 };
  const bucket: ProfileBucket = { upTo: { bytes: Number.MAX_SAFE_INTEGER }, typical, samples };
  return profileModel(
    {
      target: { describe: (...asked) => engine.describe(...asked), cuts, infer },
      model,
      version: description.version,
      buckets: [bucket],
      ...(options.codecs ? { codecs: options.codecs } : searchedCodecs()),
      machine: { runtime: options.runtime, threads: 1, description: process.arch },
      clock: options.clock,
      graphs: graphFinder(engine, description, call),
      agreement: answerAgreement,
      ...(options.variants ? { variants: options.variants } : {}),
      ...(options.rounds === undefined ? {} : { rounds: options.rounds }),
      ...(whole ? { maxCuts: 0 } : options.maxCuts === undefined ? {} : { maxCuts: options.maxCuts }),
      ...(options.progress ? { progress: options.progress } : {}),
      ...(options.untilMs === undefined ? {} : { untilMs: options.untilMs }),
    },
    call,
  );
}

/** All codecs of this platform but raw, those of pictures by search. */
function searchedCodecs(): { readonly codecs: readonly Codec[]; readonly ladders: readonly QualityLadder[] } {
  const ladders = imageLadders();
  const searched = new Set(ladders.flatMap(({ codecs }) => codecs.map(({ id }) => id)));
  const codecs = [...platformCodecs().values()].filter(({ id }) => id !== "raw" && !searched.has(id));
  return { codecs, ladders };
}

/** Finds the graph file of a step (or of the model itself), so that inner cuts are chosen well. */
function graphFinder(engine: Engine, description: ModelDescription, call: Call): GraphFinder {
  const source = onnxSource({ sha256 });
  return async (variant, step) => {
    const body = description.variants.find((one) => one.name === variant)?.body;
    const run = body?.kind === "pipeline" ? body.steps.find((one) => one.id === step)?.run : undefined;
    const model = step === undefined ? description.name : run && "model" in run ? run.model : undefined;
    if (model === undefined) return undefined;
    const segment = {
      model,
      version: "",
      digest: "",
      variant: step === undefined ? variant : "",
      from: startCut,
      to: endCut,
    };
    try {
      return await source.open(await engine.artifact(segment, call), call);
    } catch (error) {
      if (LongshoreError.is(error) && error.reason === "unsupported") return undefined;
      throw error;
    }
  };
}

/** Share of characters that stay when one text is edited into the other (Levenshtein, 1966), 0..1. */
export function textAgreement(a: string, b: string): number {
  if (a === b) return 1;
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const change = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(change, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return 1 - (previous[b.length] ?? 0) / Math.max(a.length, b.length);
}

/**
 * Agreement of answers: if a model answers in words, only the characters of the words count (a box that moved by a pixel is no
 * wrong answer); otherwise as `tensorAgreement`.
 */
export const answerAgreement: Agreement = (actual, expected) => {
  const texts = [...expected].filter(([, tensor]) => tensor.spec.datatype === "BYTES");
  if (texts.length === 0) return tensorAgreement(actual, expected);
  const shares = texts.map(([name, tensor]) => {
    const other = actual.get(name);
    return other ? textAgreement(textElements(other).join("\n"), textElements(tensor).join("\n")) : 0;
  });
  return shares.reduce((total, share) => total + share, 0) / shares.length;
};

/** The most samples that are read from a folder by default: each is run many times. */
const maxSamples = 8;

/** `count` evenly spaced ones of a sorted list first, then the others: names that begin alike are often of one kind. */
function spread<T>(sorted: readonly T[], count: number): readonly T[] {
  const step = Math.max(1, sorted.length / count);
  const chosen = new Set(Array.from({ length: count }, (_, index) => sorted[Math.floor(index * step)]));
  return [...sorted.filter((one) => chosen.has(one)), ...sorted.filter((one) => !chosen.has(one))];
}

/**
 * Inputs to measure with: files of a folder that the model's single input can be read from, or seeded guesses that the
 * model accepts. Throws `invalid-input` when there is neither.
 */
export async function sampleTensors(
  engine: Engine,
  description: ModelDescription,
  folder: string | undefined,
  call: Call,
  most: number = maxSamples,
): Promise<readonly Tensors[]> {
  if (folder !== undefined) {
    const files = (await readdir(folder))
      .filter((name) => inputExtensions.includes(extname(name).toLowerCase()))
      .sort();
    const samples: Tensors[] = [];
    let refusal: unknown;
    for (const file of spread(files, most)) {
      if (samples.length === most) break;
      try {
        const inputs = await readInputFiles([join(folder, file)], description.inputs, platformTransforms());
        samples.push(new Map(Object.entries(inputs)));
      } catch (error) {
        refusal = error;
      }
    }
    if (samples.length > 0) return samples;
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `no file of ${folder} can be an input of ${description.name}${refusal instanceof Error ? `: ${refusal.message}` : ""}`,
      { cause: refusal },
    );
  }
  return guessedInputs(engine, description, [1, 2, 3], call);
}

/** Seeded inputs that a bare graph accepts; a pipeline has to be given some. */
export async function guessedInputs(
  engine: Engine,
  description: ModelDescription,
  seeds: readonly number[],
  call: Call,
): Promise<readonly Tensors[]> {
  if (description.variants[0]?.body.kind === "pipeline") {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${description.name} is a pipeline: give it real inputs`,
    );
  }
  const segment = {
    model: description.name,
    version: "",
    digest: "",
    variant: "",
    from: startCut,
    to: endCut,
  };
  const graph = await onnxSource({ sha256 }).open(await engine.artifact(segment, call), call);
  const runtime = onnxRuntime();
  try {
    const shapes = new Map(description.inputs.map(({ name, shape }) => [name, shape]));
    const found = await findInputs(graph, runtime, seeds, call, shapes);
    // The state of a sequence is an input of the graph that no request gives: the engine keeps it.
    return found.map((inputs) => new Map([...inputs].filter(([name]) => shapes.has(name))));
  } finally {
    await runtime.close();
  }
}
