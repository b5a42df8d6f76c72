import type { Digest, Json, ModelPorts, PortSpec, SequenceState, Step, Variant } from "@longshore/core";
import type { TransformSet } from "../transform/index.ts";
import { plainPort, shapesAgree } from "./complete.ts";
import {
  badConfiguration,
  type ModelConfig,
  type StepConfig,
  type VariantConfig,
} from "../configuration/index.ts";
import { type NamedFiles, resolveFileParameters } from "./files.ts";
import { inlineProgram } from "./inline.ts";
import { orderedSteps } from "./pipeline.ts";
import type { GraphBody, Program, ProgramStep } from "./program.ts";
import { type NewStep, type ProgramBuilder, programBuilder } from "./program-builder.ts";

/** The parts of a pipeline. */
export interface PipelineParts {
  readonly model: string;
  readonly config: ModelConfig;
  readonly transforms: TransformSet;
  readonly files: NamedFiles;
  /** The program of another model's version (latest when undefined): the variant of that name, else its default. */
  readonly inner: (model: string, version: string | undefined, variant: string) => Program;
  /** Inputs and outputs of the model of a step that other endpoints run. */
  readonly portsOf: (step: StepConfig) => Promise<ModelPorts>;
}

/** A graph as a program of one step. */
export function graphProgram(graph: GraphBody, variant: string, transforms: TransformSet): Program {
  const bad = (path: string, problem: string): Error =>
    badConfiguration(graph.model, "model file", path, problem);
  const builder = programBuilder(graph.inputs, transforms, bad, true);
  builder.addModel(
    { id: graph.model, inputs: Object.fromEntries(graph.inputs.map(({ name }) => [name, name])) },
    { graph },
  );
  return builder.build(
    variant,
    graph.outputs.map(({ name }) => ({ name, value: name })),
  );
}

/**
 * A graph whose answers are kept, as pipelines take it; not a graph that keeps state, or that receives its position in a
 * sequence.
 */
export function keptProgram(program: Program, digest: Digest): Program {
  const [step] = program.steps;
  if (!program.bare || step?.kind !== "model") return program;
  const { states, controls, sequence } = step.graph;
  if (states.length > 0 || controls.length > 0 || sequence) return program;
  return { ...program, steps: [{ ...step, kept: { digest, variant: program.variant } }] };
}

/** One variant of a pipeline as a program, nested pipelines inlined. Throws `invalid-configuration`. */
export async function pipelineProgram(parts: PipelineParts, variant: VariantConfig): Promise<Program> {
  const { model, config, transforms, files } = parts;
  const bad = (path: string, problem: string, cause?: unknown): Error =>
    badConfiguration(model, config.file, path, problem, cause);
  if (config.inputs.length === 0) throw bad("inputs", "must be declared for a pipeline");
  const builder = programBuilder(config.inputs.map(plainPort), transforms, bad);
  const aliases = new Map<string, string>();
  const real = (value: string): string => aliases.get(value) ?? value;
  for (const step of orderedSteps(model, config, variant)) {
    const added = newStep(step, real);
    if (step.transform !== undefined) {
      const parameters = await resolveFileParameters(
        step.parameters,
        files,
        model,
        `pipeline step ${step.id} with`,
      );
      builder.addTransform(added, { transform: step.transform, parameters });
      continue;
    }
    const there = {
      model: step.model ?? "",
      ...(step.version === undefined ? {} : { version: step.version }),
    };
    if (step.elsewhere) {
      builder.addElsewhere(added, { ...there, ports: await parts.portsOf(step) });
      continue;
    }
    const inner = parts.inner(there.model, step.version, variant.name);
    for (const [output, value] of addInner(builder, added, inner, bad))
      aliases.set(`${step.id}.${output}`, value);
  }
  const program = builder.build(
    variant.name,
    Object.entries(config.pipeline?.outputs ?? {}).map(([name, value]) => ({ name, value: real(value) })),
  );
  const { maxInFlight } = config.pipeline ?? {};
  return maxInFlight === undefined ? program : { ...program, maxInFlight };
}

function newStep(step: StepConfig, real: (value: string) => string): NewStep {
  return {
    id: step.id,
    inputs: Object.fromEntries(Object.entries(step.inputs).map(([port, value]) => [port, real(value)])),
    ...(step.forEach === undefined ? {} : { forEach: real(step.forEach) }),
    ...(step.declassifiesTo === undefined ? {} : { declassifiesTo: step.declassifiesTo }),
  };
}

function addInner(
  builder: ProgramBuilder,
  step: NewStep,
  inner: Program,
  bad: (path: string, problem: string) => Error,
): ReadonlyMap<string, string> {
  const [only] = inner.steps;
  if (!inner.bare || only?.kind !== "model") return inlineProgram(builder, step, inner, bad);
  builder.addModel(step, only);
  return new Map();
}

/** Outputs of a pipeline: the outputs of its steps, under the declared names; declarations are checked and may add detail. */
export function pipelineOutputs(model: string, config: ModelConfig, program: Program): readonly PortSpec[] {
  const bad = (path: string, problem: string): Error => badConfiguration(model, config.file, path, problem);
  for (const { name } of config.outputs) {
    if (program.outputs.some((output) => output.name === name)) continue;
    throw bad(`output ${JSON.stringify(name)}`, "is declared but is none of pipeline.outputs");
  }
  return program.outputs.map(({ name, value }) => {
    const made = program.values.get(value)?.spec;
    const declared = config.outputs.find((output) => output.name === name);
    if (!made) throw bad(`output ${JSON.stringify(name)}`, "is made by no step");
    // Of what transforms make of values of open rank nothing is known, which reads as [], too.
    if (!declared) return { ...made, name, ...(made.shape.length === 0 ? { openRank: true } : {}) };
    if (declared.datatype !== made.datatype || !shapesAgree(declared.shape, made.shape)) {
      throw bad(
        `output ${JSON.stringify(name)}`,
        `is declared ${declared.datatype} [${declared.shape.join(", ")}]; ${value} is ${made.datatype} [${made.shape.join(", ")}]`,
      );
    }
    return { ...plainPort(declared), ...(made.ragged ? { ragged: true } : {}) };
  });
}

/** The description of a variant. Parameters that name files stay as they are written. */
export function describeVariant(
  config: ModelConfig,
  written: VariantConfig,
  program: Program,
  isDefault: boolean,
): Variant {
  const body: Variant["body"] = config.pipeline
    ? {
        kind: "pipeline",
        steps: program.steps.map((step): Step => ({
          id: step.id,
          run: runOf(config, written, step),
          inputs: step.inputs,
          ...(step.forEach === undefined ? {} : { forEach: step.forEach }),
          ...(step.declassifiesTo === undefined ? {} : { declassifiesTo: step.declassifiesTo }),
        })),
        outputs: Object.fromEntries(program.outputs.map(({ name, value }) => [name, value])),
      }
    : { kind: "graph", file: written.graph ?? config.graph };
  return {
    name: written.name,
    body,
    agreementRatio: isDefault ? 1 : (written.agreementRatio ?? 0),
    ...(written.accuracyRatio === undefined ? {} : { accuracyRatio: written.accuracyRatio }),
    ...(written.tiers ? { tiers: written.tiers } : {}),
    ...(written.memoryBytes === undefined ? {} : { memoryBytes: written.memoryBytes }),
  };
}

function runOf(config: ModelConfig, written: VariantConfig, step: ProgramStep): Step["run"] {
  if (step.kind === "model") return { model: step.graph.model, version: step.graph.version };
  if (step.kind === "transform")
    return { transform: step.chain.transform, parameters: writtenParameters(config, written, step.id) };
  const { model, version, ports } = step;
  return { model, ...(version === undefined ? {} : { version }), elsewhere: ports };
}

/** Of nested steps nothing is written here: their own model's description tells. */
function writtenParameters(config: ModelConfig, variant: VariantConfig, id: string): Json {
  const own = config.pipeline?.steps.find((step) => step.id === id);
  return own ? { ...own.parameters, ...variant.parameters[id] } : {};
}

/** States of all stateful steps of a program, called as they are outside it: `<step>:<input>`, or plainly when bare. */
export function programStates(program: Program): readonly SequenceState[] {
  return program.steps.flatMap((step) => {
    if (step.kind !== "model") return [];
    return step.graph.states.map(({ input, output, datatype, shape }) =>
      program.bare
        ? { input, output, datatype, shape }
        : { input: `${step.id}:${input}`, output: `${step.id}:${output}`, datatype, shape },
    );
  });
}
