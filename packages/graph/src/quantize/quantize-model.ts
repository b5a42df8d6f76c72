import { type Call, LongshoreError, type Tensors } from "@longshore/core";
import type { Runtime } from "@longshore/engine";
import { type ModelProto, readModel, writeModel } from "../onnx/index.ts";
import { type Agreement, artifactOfModel, tensorAgreement } from "../profile/index.ts";
import type { Types } from "../shape/index.ts";
import { calibrate, typesOf } from "./calibrate.ts";
import { GraphEditor } from "./editor.ts";
import type { ValueHistogram } from "./histogram.ts";
import { insertQuantised } from "./insert.ts";
import { type Calibration, type CodeRange, rangeOf } from "./ranges.ts";
import { codedNames, rolesOf } from "./roles.ts";
import { type AnswerError, fewestLeftOut, neighbours } from "./sensitivity.ts";
import { simplified } from "./simplify.ts";

/** The options of `quantizeModel`. */
export interface QuantizeOptions {
  readonly file: Uint8Array;
  /** Real inputs, at least one: ranges are what these make the network calculate. */
  readonly inputs: readonly Tensors[];
  readonly runtime: Runtime;
  /** How far the answers must agree with the given model's, 0..1. Default 0.995, the default of requests. */
  readonly agreementRatio?: number;
  /** Agreement of two answers of this graph. Default `tensorAgreement`. */
  readonly agreement?: Agreement;
  /**
   * Agreement of a candidate where it counts, such as in the pipeline that it is part of. Default: of its own answers to
   * `inputs`, as `agreement` tells.
   */
  readonly judge?: (file: Uint8Array, call: Call) => Promise<number>;
  /** Most groups of layers that are tried one by one for what they disturb. Default 64. */
  readonly maxGroups?: number;
  readonly progress?: (note: string) => void;
}

/** An 8-bit model and how it came about. */
export interface Quantized {
  readonly file: Uint8Array;
  readonly agreementRatio: number;
  readonly calibration: Calibration;
  /** Layers with 8-bit weights, and those that could have them and were left out, by the names of their outputs. */
  readonly layers: readonly string[];
  readonly leftOut: readonly string[];
  /** Sessions that were opened to find out. */
  readonly trials: number;
}

/** Ways to choose ranges that are tried, each on the whole network. */
const calibrations: readonly Calibration[] = [
  { by: "extremes" },
  { by: "percentile", keptRatio: 0.99999 },
  { by: "percentile", keptRatio: 0.9999 },
  { by: "error" },
];
/** Inputs that each trial of one group runs. */
const trialInputs = 4;

/**
 * Makes a static 8-bit model: unsigned activations whose ranges come from real inputs, signed weights with a step for each
 * channel. The layers that hurt the answers most keep their fractions, as few as the wanted agreement allows.
 *
 * Throws `unsupported` if no node can be quantised or the operator set cannot be raised, `invalid-input` without inputs, and
 * the error of a failed run.
 */
export async function quantizeModel(options: QuantizeOptions, call: Call): Promise<Quantized> {
  const [first] = options.inputs;
  if (!first)
    throw new LongshoreError("invalid-input", "resolve", "quantising needs at least one input to see ranges");
  const given = readModel(options.file);
  const model = await simplified(given, options.runtime, call);
  const types = typesOf(model, first);
  const layers = layerNames(model, types);
  if (layers.length === 0) {
    throw new LongshoreError(
      "unsupported",
      "resolve",
      "the model has no convolution or product of matrices with stored FP32 weights, so there is nothing that 8 bits would make faster",
    );
  }
  options.progress?.(`${layers.length} layers, ${options.inputs.length} inputs`);
  const names = codedNames(new GraphEditor(model), types);
  const histograms = await calibrate(model, names, options.inputs, options.runtime, call);
  return new Search(options, given, { model, types, layers, histograms }).run(call);
}

/** Weighted nodes that have a role when nothing is left out. */
function layerNames(model: ModelProto, types: Types): readonly string[] {
  const editor = new GraphEditor(model);
  return [...rolesOf(editor, types, new Set())].flatMap(([node, role]) =>
    role.kind === "weighted" ? [node.output[0] ?? ""] : [],
  );
}

interface Subject {
  readonly model: ModelProto;
  readonly types: Types;
  readonly layers: readonly string[];
  readonly histograms: ReadonlyMap<string, ValueHistogram>;
}

class Search {
  readonly #options: QuantizeOptions;
  readonly #given: ModelProto;
  readonly #subject: Subject;
  readonly #agreement: Agreement;
  #trials = 0;

  constructor(options: QuantizeOptions, given: ModelProto, subject: Subject) {
    this.#options = options;
    this.#given = given;
    this.#subject = subject;
    this.#agreement = options.agreement ?? tensorAgreement;
  }

  async run(call: Call): Promise<Quantized> {
    const { layers } = this.#subject;
    const wanted = this.#options.agreementRatio ?? 0.995;
    const few = spread(this.#options.inputs, trialInputs);
    const expected = await this.#answers(this.#given, few, call);
    const { calibration, ranges } = await this.#bestRanges(few, expected, call);
    const results = new Map<ReadonlySet<string>, { file: Uint8Array; agreementRatio: number }>();
    const holds = async (leftOut: ReadonlySet<string>): Promise<boolean> => {
      const file = writeModel(this.#candidate(ranges, leftOut));
      const agreementRatio = await this.#judge(file, call);
      results.set(leftOut, { file, agreementRatio });
      this.#options.progress?.(
        `${leftOut.size} of ${layers.length} layers left out: agreement ${agreementRatio.toFixed(4)}`,
      );
      return agreementRatio >= wanted;
    };
    let leftOut: ReadonlySet<string> = new Set<string>();
    if (!(await holds(leftOut))) {
      const worstFirst = await this.#disturbances(ranges, few, expected, call);
      leftOut = await fewestLeftOut(worstFirst, holds);
      const names = [...results.keys()].find((tried) => tried.size === leftOut.size);
      if (names) leftOut = names;
      else await holds(leftOut);
    }
    if (leftOut.size === layers.length) {
      throw new LongshoreError(
        "unsupported",
        "resolve",
        `no layer of ${layers.length} can have 8 bits and leave an agreement of ${wanted}; allow less`,
      );
    }
    const result = results.get(leftOut) ?? {
      file: writeModel(this.#candidate(ranges, leftOut)),
      agreementRatio: 0,
    };
    return {
      ...result,
      calibration,
      layers: layers.filter((name) => !leftOut.has(name)),
      leftOut: [...leftOut],
      trials: this.#trials,
    };
  }

  /** The calibration under which the whole network agrees best. */
  async #bestRanges(
    few: readonly Tensors[],
    expected: readonly Tensors[],
    call: Call,
  ): Promise<{ readonly calibration: Calibration; readonly ranges: ReadonlyMap<string, CodeRange> }> {
    let best:
      | { calibration: Calibration; ranges: ReadonlyMap<string, CodeRange>; agreed: number }
      | undefined;
    for (const calibration of calibrations) {
      const ranges = new Map(
        [...this.#subject.histograms].map(([name, seen]) => [name, rangeOf(seen, calibration)]),
      );
      const agreed = await this.#agreed(
        this.#candidate(ranges, new Set()),
        few,
        expected,
        call,
        tensorAgreement,
      );
      this.#options.progress?.(`ranges by ${wordsOf(calibration)}: agreement ${agreed.toFixed(4)}`);
      if (!best || agreed > best.agreed) best = { calibration, ranges, agreed };
    }
    // There is at least one way.
    return best as NonNullable<typeof best>;
  }

  /** The effect of each group of layers on the answers when it alone has 8 bits, the worst first. */
  async #disturbances(
    ranges: ReadonlyMap<string, CodeRange>,
    few: readonly Tensors[],
    expected: readonly Tensors[],
    call: Call,
  ): Promise<readonly AnswerError[]> {
    const { layers } = this.#subject;
    const found: AnswerError[] = [];
    for (const nodes of neighbours(layers, this.#options.maxGroups ?? 64)) {
      const alone = new Set(layers.filter((name) => !nodes.includes(name)));
      const agreed = await this.#agreed(this.#candidate(ranges, alone), few, expected, call, tensorAgreement);
      found.push({ nodes, error: 1 - agreed });
      if (found.length % 10 === 0) this.#options.progress?.(`${found.length} groups of layers tried`);
    }
    return found.sort((a, b) => b.error - a.error);
  }

  #candidate(ranges: ReadonlyMap<string, CodeRange>, leftOut: ReadonlySet<string>): ModelProto {
    return insertQuantised(this.#subject.model, { types: this.#subject.types, ranges, leftOut });
  }

  async #judge(file: Uint8Array, call: Call): Promise<number> {
    if (this.#options.judge) return this.#options.judge(file, call);
    const { inputs } = this.#options;
    const expected = await this.#answers(this.#given, inputs, call);
    return this.#agreed(readModel(file), inputs, expected, call);
  }

  async #agreed(
    model: ModelProto,
    inputs: readonly Tensors[],
    expected: readonly Tensors[],
    call: Call,
    agreement: Agreement = this.#agreement,
  ): Promise<number> {
    return meanAgreement(await this.#answers(model, inputs, call), expected, agreement);
  }

  #answers(model: ModelProto, inputs: readonly Tensors[], call: Call): Promise<readonly Tensors[]> {
    this.#trials++;
    return graphAnswers(model, inputs, this.#options.runtime, call);
  }
}

/** Answers of a graph to inputs, on a session of its own. */
export async function graphAnswers(
  model: ModelProto,
  inputs: readonly Tensors[],
  runtime: Runtime,
  call: Call,
): Promise<readonly Tensors[]> {
  const session = await runtime.load(artifactOfModel(model), {}, call);
  try {
    const names = session.outputs.map(({ name }) => name);
    const answers: Tensors[] = [];
    for (const feeds of inputs) answers.push(await session.run(feeds, names, call));
    return answers;
  } finally {
    await session.release();
  }
}

/** Mean agreement of answers, 1 for none. */
export function meanAgreement(
  actual: readonly Tensors[],
  expected: readonly Tensors[],
  agreement: Agreement,
): number {
  const total = expected.reduce((sum, one, at) => sum + agreement(actual[at] ?? new Map(), one), 0);
  return expected.length === 0 ? 1 : total / expected.length;
}

/** `count` evenly spaced ones. */
function spread<T>(all: readonly T[], count: number): readonly T[] {
  const step = Math.max(1, all.length / count);
  return Array.from({ length: Math.min(count, all.length) }, (_, at) => all[Math.floor(at * step)]).filter(
    (one): one is T => one !== undefined,
  );
}

/** A calibration in words. */
export function wordsOf(calibration: Calibration): string {
  if (calibration.by === "percentile")
    return `${Number((calibration.keptRatio * 100).toFixed(6))} % of the values`;
  return calibration.by === "extremes" ? "extremes" : "least squared error";
}
