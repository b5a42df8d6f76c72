import {
  type Call,
  endCut,
  LongshoreError,
  type ModelDescription,
  type Segment,
  startCut,
  type Tensors,
} from "@longshore/core";
import type { Engine, ModelStore } from "@longshore/engine";
import {
  graphAnswers,
  meanAgreement,
  type Quantized,
  quantizeModel,
  readModel,
  tensorAgreement,
  withHalfWeights,
  writeModel,
} from "@longshore/graph";
import { onnxRuntime } from "@longshore/nodejs";
import { answerAgreement } from "../profile/measure.ts";
import { openEngine } from "../engine/open-engine.ts";
import { recordingRuntime, type RecordingRuntime } from "../profile/recording-runtime.ts";
import { overlayStore } from "./overlay-store.ts";
import { addVariant, modelsInside, type NewFiles, variantFile } from "./variant-files.ts";

/** Ways to make a model smaller. */
export type VariantFormat = "int8" | "fp16";

/** The options of `quantizeVariant`. */
export interface VariantOptions {
  readonly store: ModelStore;
  readonly model: string;
  /** Inputs whose runs show the ranges, and inputs that agreement is measured on: best apart. */
  readonly calibration: readonly Tensors[];
  readonly judged: readonly Tensors[];
  readonly format: VariantFormat;
  readonly name: string;
  /** Least agreement of the whole model's answers, 0..1. */
  readonly agreementRatio: number;
  readonly note: (text: string) => void;
}

/** One network that was rewritten. */
export interface VariantGraph {
  readonly model: string;
  readonly bytes: number;
  readonly bytesBefore: number;
  /** Undefined for 16-bit weights. */
  readonly layers?: number;
  readonly leftOut?: readonly string[];
}

/** A new variant, not written yet. */
export interface MadeVariant {
  readonly files: NewFiles;
  readonly graphs: readonly VariantGraph[];
  readonly agreementRatio: number;
  /** Models whose configuration names the variant now, the named one first. */
  readonly models: readonly string[];
}

/** The default variant of a model from beginning to end. */
export function segmentOfModel(model: string, variant = ""): Segment {
  return { model, version: "", digest: "", variant, from: startCut, to: endCut };
}

/** Runs a whole model on inputs. */
async function answersOfModel(
  engine: Engine,
  model: string,
  variant: string,
  inputs: readonly Tensors[],
  call: Call,
): Promise<readonly Tensors[]> {
  const answers: Tensors[] = [];
  for (const one of inputs) {
    const { outputs } = await engine.infer(
      { segment: segmentOfModel(model, variant), inputs: one, codecs: {} },
      call,
    );
    answers.push(outputs);
  }
  return answers;
}

/**
 * Makes a variant of a model with smaller numbers: of its graph, or, for a pipeline, of every network in it. Each network sees
 * its real inputs in the pipeline, one after the other, and each attempt is judged by the answers of the whole model with all
 * networks made so far.
 *
 * Throws `unsupported` when nothing in the model can be made smaller.
 */
export async function quantizeVariant(options: VariantOptions, call: Call): Promise<MadeVariant> {
  const recorder = recordingRuntime(onnxRuntime());
  const opened = openEngine({ store: options.store, tier: "cloud", runtimes: [recorder] });
  try {
    const knowledge = await opened.engine.describe(options.model, undefined, call);
    if (!knowledge)
      throw new LongshoreError("unknown-model", "resolve", `there is no model ${options.model}`);
    await answersOfModel(opened.engine, options.model, "", options.calibration, call);
    const maker = new Maker(options, opened.engine, recorder);
    return await maker.make(knowledge.description, call);
  } finally {
    await opened.close();
  }
}

/** The networks that a model runs, each once. */
function graphModels({
  name,
  version,
  variants,
}: ModelDescription): readonly { readonly model: string; readonly version: string }[] {
  const body = variants[0]?.body;
  if (body?.kind !== "pipeline") return [{ model: name, version }];
  const found = new Map<string, string>();
  for (const { run } of body.steps)
    if ("model" in run && run.version !== undefined) found.set(run.model, run.version);
  return [...found].map(([model, inner]) => ({ model, version: inner }));
}

async function halved(
  file: Uint8Array,
  judge: (candidate: Uint8Array) => Promise<number>,
): Promise<{ readonly file: Uint8Array; readonly agreementRatio: number }> {
  const smaller = writeModel(withHalfWeights(readModel(file)));
  return { file: smaller, agreementRatio: await judge(smaller) };
}

class Maker {
  readonly #options: VariantOptions;
  readonly #engine: Engine;
  readonly #recorder: RecordingRuntime;
  readonly #files: NewFiles = new Map();
  readonly #graphs: VariantGraph[] = [];
  #expected: readonly Tensors[] = [];
  #agreement = 1;

  constructor(options: VariantOptions, engine: Engine, recorder: RecordingRuntime) {
    this.#options = options;
    this.#engine = engine;
    this.#recorder = recorder;
  }

  async make(description: ModelDescription, call: Call): Promise<MadeVariant> {
    const { store, model, name, judged } = this.#options;
    const networks = graphModels(description);
    this.#expected = await answersOfModel(this.#engine, model, "", judged, call);
    const pipelines = (await modelsInside(store, model)).filter(
      (inner) => !networks.some((one) => one.model === inner),
    );
    for (const pipeline of pipelines) await addVariant(store, this.#files, pipeline, { name });
    const refusals: string[] = [];
    for (const { model: network, version } of networks) {
      try {
        await this.#network(network, version, call);
      } catch (error) {
        if (!LongshoreError.is(error) || error.reason !== "unsupported") throw error;
        refusals.push(`${network}: ${error.message}`);
        this.#options.note(`${network} stays as it is: ${error.message}`);
      }
    }
    if (this.#graphs.length === 0) throw new LongshoreError("unsupported", "resolve", refusals.join("; "));
    for (const pipeline of pipelines) {
      await addVariant(store, this.#files, pipeline, { name, agreement: this.#agreement });
    }
    const models = [...pipelines, ...this.#graphs.map((one) => one.model)];
    return { files: this.#files, graphs: this.#graphs, agreementRatio: this.#agreement, models };
  }

  async #network(model: string, version: string, call: Call): Promise<void> {
    const { store, name, format, note } = this.#options;
    // A name that cannot be written is reported before any attempt.
    await addVariant(store, new Map(this.#files), model, { name });
    const artifact = await this.#engine.artifact(segmentOfModel(model), call);
    const file = await artifact.bytes(call);
    const path = `${model}/${version}/${variantFile(name)}`;
    const agreements: number[] = [];
    const judge = async (candidate: Uint8Array): Promise<number> => {
      const files = new Map(this.#files).set(path, candidate);
      await addVariant(store, files, model, { name, graph: variantFile(name) });
      const agreed = await this.#judge(files, call);
      agreements.push(agreed);
      return agreed;
    };
    const feeds = this.#recorder.recorded(artifact.digest).feeds;
    const made: Pick<Quantized, "file" | "agreementRatio"> & Partial<Quantized> =
      format === "fp16" ? await halved(file, judge) : await this.#eightBits(model, file, feeds, judge, call);
    this.#agreement = made.agreementRatio;
    this.#files.set(path, made.file);
    // Alone it is judged by its own answers: a request for this network gets their agreement.
    const own =
      this.#options.model === model
        ? made.agreementRatio
        : await this.#ownAgreement(file, made.file, feeds, call);
    await addVariant(store, this.#files, model, { name, graph: variantFile(name), agreement: own });
    this.#graphs.push({
      model,
      bytes: made.file.byteLength,
      bytesBefore: file.byteLength,
      ...(made.layers && made.leftOut ? { layers: made.layers.length, leftOut: made.leftOut } : {}),
    });
    note(
      `${model}: ${file.byteLength} to ${made.file.byteLength} bytes, agreement of ${this.#options.model} ${made.agreementRatio.toFixed(4)}`,
    );
  }

  async #eightBits(
    model: string,
    file: Uint8Array,
    feeds: readonly Tensors[],
    judge: (candidate: Uint8Array) => Promise<number>,
    call: Call,
  ): Promise<Quantized> {
    const runtime = onnxRuntime();
    try {
      return await quantizeModel(
        {
          file,
          inputs: feeds,
          runtime,
          agreementRatio: this.#options.agreementRatio,
          judge,
          progress: (text) => this.#options.note(`${model}: ${text}`),
        },
        call,
      );
    } finally {
      await runtime.close();
    }
  }

  async #ownAgreement(
    before: Uint8Array,
    after: Uint8Array,
    feeds: readonly Tensors[],
    call: Call,
  ): Promise<number> {
    const runtime = onnxRuntime();
    try {
      const [expected, actual] = [
        await graphAnswers(readModel(before), feeds, runtime, call),
        await graphAnswers(readModel(after), feeds, runtime, call),
      ];
      return meanAgreement(actual, expected, tensorAgreement);
    } finally {
      await runtime.close();
    }
  }

  /** Agreement of the whole model with these files. */
  async #judge(files: NewFiles, call: Call): Promise<number> {
    const { store, model, name, judged } = this.#options;
    const opened = openEngine({ store: overlayStore(store, files), tier: "cloud" });
    try {
      const answers = await answersOfModel(opened.engine, model, name, judged, call);
      return meanAgreement(answers, this.#expected, answerAgreement);
    } finally {
      await opened.close();
    }
  }
}
