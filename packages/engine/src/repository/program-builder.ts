import { LongshoreError, type PortSpec, type Reveals, type TensorSpec } from "@longshore/core";
import { portSpecs } from "@longshore/core/internal";
import type { ChainStep } from "../lane/index.ts";
import type { TransformSet } from "../transform/index.ts";
import { shapesAgree } from "./complete.ts";
import { someNames } from "../configuration/index.ts";
import type { ElsewhereStep, GraphBody, ModelStep, Program, ProgramStep, ValueFacts } from "./program.ts";

/** A step to add, its values already called as they are in this program. */
export interface NewStep {
  readonly id: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly forEach?: string;
  readonly declassifiesTo?: string;
}

/**
 * Puts a program together step by step, working out the spec of every value and what it gives away.
 *
 * **Reveals.** Inputs reveal the input. The output of a transform reveals as much as the most revealing of its inputs: a crop
 * of an image is still the image. The outputs of a network are features. The operator's `declassifiesTo` makes the outputs of
 * that step count as an answer, and values made from answers alone stay answers.
 */
export interface ProgramBuilder {
  readonly values: ReadonlyMap<string, ValueFacts>;
  addTransform(step: NewStep, chain: Pick<ChainStep, "transform" | "parameters">): void;
  addModel(step: NewStep, runs: Pick<ModelStep, "graph" | "kept">): void;
  addElsewhere(step: NewStep, there: Pick<ElsewhereStep, "model" | "version" | "ports">): void;
  build(variant: string, outputs: Program["outputs"]): Program;
}

/** Most steps a program may have, nested ones included. */
const maxSteps = 256;
const revealing: readonly Reveals[] = ["answer", "features", "input"];

/** Whether it gives several answers to one request. */
export function givesSeveral(step: ProgramStep): boolean {
  if (step.kind === "elsewhere") return step.ports.decoupled === true;
  return step.kind === "transform" && step.answers === true;
}

/** The more revealing of some. */
export function mostRevealing(all: Iterable<Reveals>): Reveals {
  let most = 0;
  for (const one of all) most = Math.max(most, revealing.indexOf(one));
  return revealing[most] ?? "input";
}

/** `bad(path, problem)` makes the error. `bare` programs call values as the graph calls its tensors. */
export function programBuilder(
  inputs: readonly PortSpec[],
  transforms: TransformSet,
  bad: (path: string, problem: string, cause?: unknown) => Error,
  bare = false,
): ProgramBuilder {
  const values = new Map<string, ValueFacts>(inputs.map((spec) => [spec.name, { spec, reveals: "input" }]));
  const steps: ProgramStep[] = [];

  const specs = (): Map<string, TensorSpec> => new Map([...values].map(([name, { spec }]) => [name, spec]));

  function checkStep(step: NewStep): void {
    if (steps.length >= maxSteps)
      throw bad("pipeline", `has more than ${maxSteps} steps, nested ones included`);
    for (const [port, value] of Object.entries(step.inputs)) {
      if (values.has(value)) continue;
      throw bad(
        `pipeline step ${step.id}`,
        `takes ${JSON.stringify(value)} as ${port}, which nothing before it makes; known: ${someNames([...values.keys()])}`,
      );
    }
    const over = step.forEach === undefined ? undefined : values.get(step.forEach)?.spec;
    if (over && over.shape.length === 0)
      throw bad(`pipeline step ${step.id}`, `cannot run for each of ${over.name}: it has no axes`);
  }

  /** One step that gives several answers is enough, and every request must pass it. */
  function checkAnswers(step: NewStep): void {
    const path = `pipeline step ${step.id}`;
    const other = steps.find(givesSeveral);
    if (other)
      throw bad(path, `gives several answers, as step ${other.id} does; a pipeline has one such step`);
    if (step.forEach !== undefined) throw bad(path, "gives several answers and cannot run for each element");
  }

  function knownPorts(step: NewStep, ports: readonly string[], what: string): void {
    for (const port of Object.keys(step.inputs)) {
      if (ports.includes(port)) continue;
      throw bad(
        `pipeline step ${step.id}`,
        `gives ${what} an input ${JSON.stringify(port)}; it takes ${someNames(ports)}`,
      );
    }
  }

  function checkPorts(step: NewStep, model: string, ports: readonly TensorSpec[]): void {
    const path = `pipeline step ${step.id}`;
    knownPorts(
      step,
      ports.map(({ name }) => name),
      `model ${model}`,
    );
    const given = portSpecs(step, specs());
    for (const port of ports) {
      const spec = given.get(port.name);
      if (!spec) throw bad(path, `gives model ${model} no ${port.name}`);
      if (spec.datatype === port.datatype && shapesAgree(spec.shape, port.shape)) continue;
      throw bad(
        path,
        `gives model ${model} ${spec.datatype} [${spec.shape.join(", ")}] (${spec.name}) as ${port.name}, which is ${port.datatype} [${port.shape.join(", ")}]`,
      );
    }
  }

  function add(step: NewStep, outputs: readonly TensorSpec[], made: Reveals): ProgramStep["outputs"] {
    const reveals = step.declassifiesTo === undefined ? made : "answer";
    return outputs.map(({ name: port, datatype, shape, ragged }) => {
      const value = bare ? port : `${step.id}.${port}`;
      const each = step.forEach !== undefined;
      const spec: TensorSpec = {
        name: value,
        datatype,
        shape: each ? [-1, ...shape] : shape,
        ...(each || ragged ? { ragged: true } : {}),
      };
      values.set(value, { spec, reveals });
      return { port, value };
    });
  }

  const taken = (step: NewStep): Reveals =>
    mostRevealing(Object.values(step.inputs).map((value) => values.get(value)?.reveals ?? "input"));

  /** The class of a network's outputs, from its inputs. */
  const ofModel = (step: NewStep, { inputs: ports }: Pick<GraphBody, "inputs">): Reveals =>
    ports.length > 0 && taken(step) === "answer" ? "answer" : "features";

  return {
    values,
    addTransform(step, { transform: name, parameters }) {
      checkStep(step);
      const transform = transforms.get(name);
      if (!transform) {
        throw bad(
          `pipeline step ${step.id}`,
          `names the transform ${JSON.stringify(name)}; there are ${someNames([...transforms.keys()].sort(), 40)}`,
        );
      }
      knownPorts(step, transform.inputs, transform.name);
      const made = taken(step);
      let outputs: readonly TensorSpec[];
      try {
        outputs = transform.specs(portSpecs(step, specs()), transform.parse(parameters));
      } catch (thrown) {
        if (!LongshoreError.is(thrown)) throw thrown;
        throw bad(`pipeline step ${step.id}`, `cannot work: ${thrown.message}`, thrown);
      }
      const { declassifiesTo: _, ...link } = step;
      const chain: ChainStep = { ...link, transform: name, parameters };
      const several = transform.answers !== undefined;
      if (several) checkAnswers(step);
      steps.push({
        ...step,
        kind: "transform",
        outputs: add(step, outputs, made),
        chain,
        ...(several ? { answers: true } : {}),
      });
    },
    addModel(step, { graph, kept }) {
      checkStep(step);
      checkPorts(step, graph.model, graph.inputs);
      if (graph.states.length > 0 && steps.some(givesSeveral)) {
        throw bad(
          `pipeline step ${step.id}`,
          `runs model ${graph.model} after a step that gives several answers, but it keeps state between requests`,
        );
      }
      if (step.forEach !== undefined && graph.states.length > 0) {
        throw bad(
          `pipeline step ${step.id}`,
          `runs model ${graph.model} for each element, but it keeps state between requests`,
        );
      }
      steps.push({
        ...step,
        kind: "model",
        outputs: add(step, graph.outputs, ofModel(step, graph)),
        graph,
        ...(kept ? { kept } : {}),
      });
    },
    addElsewhere(step, { model, version, ports }) {
      checkStep(step);
      checkPorts(step, model, ports.inputs);
      if (ports.decoupled) checkAnswers(step);
      steps.push({
        ...step,
        kind: "elsewhere",
        outputs: add(step, ports.outputs, ofModel(step, ports)),
        model,
        ...(version === undefined ? {} : { version }),
        ports,
      });
    },
    build(variant, outputs) {
      for (const { name, value } of outputs) {
        if (values.has(value)) continue;
        throw bad(
          `output ${JSON.stringify(name)}`,
          `is ${JSON.stringify(value)}, which no step makes; known: ${someNames([...values.keys()])}`,
        );
      }
      return { variant, bare, inputs, outputs, steps, values };
    },
  };
}
