import { type Cut, endCut, startCut, type TensorSpec } from "@longshore/core";
import {
  mostRevealing,
  type ModelStep,
  type Program,
  type ProgramStep,
  valueOfTensor,
} from "../repository/index.ts";
import type { Position } from "./positions.ts";

/** One tensor of a crossing: its name and spec outside, and the value (or tensor inside a graph) that it is. */
export interface CrossingTensor {
  /** Under the name by which it crosses. */
  readonly spec: TensorSpec;
  /** Name among the values of a run; differs from the crossing's name only at `end`. */
  readonly value: string;
}

/** Values that a step takes. */
export function takenValues(step: ProgramStep): readonly string[] {
  return [...new Set(Object.values(step.inputs))];
}

/** The crossing at a position: every value made before it and needed after it, once. */
export function crossingAt(program: Program, { id, step, inner }: Position): readonly CrossingTensor[] {
  if (id === startCut) return program.inputs.map((spec) => ({ spec, value: spec.name }));
  if (id === endCut) {
    return program.outputs.map(({ name, value }) => ({ spec: { ...specOf(program, value), name }, value }));
  }
  const made = new Set(program.inputs.map(({ name }) => name));
  for (const before of program.steps.slice(0, step)) for (const { value } of before.outputs) made.add(value);
  const needed = new Set(program.outputs.map(({ value }) => value));
  for (const after of program.steps.slice(inner ? step + 1 : step)) {
    for (const value of takenValues(after)) needed.add(value);
  }
  const crossed = new Map<string, TensorSpec>();
  for (const value of made) if (needed.has(value)) crossed.set(value, specOf(program, value));
  const cutStep = program.steps[step];
  if (inner && cutStep?.kind === "model") {
    for (const tensor of inner.crossing) {
      const value = valueOfTensor(program, cutStep, tensor.name);
      crossed.set(value, crossed.get(value) ?? innerSpec(program, cutStep, tensor, value));
    }
  }
  return [...crossed].map(([value, spec]) => ({ spec, value }));
}

/** A graph input is known better as the value that is fed to it; anything else as the graph's own tensor. */
function innerSpec(program: Program, step: ModelStep, tensor: TensorSpec, value: string): TensorSpec {
  const fed = Object.hasOwn(step.inputs, tensor.name);
  return fed ? specOf(program, value) : { ...tensor, name: value };
}

function specOf(program: Program, value: string): TensorSpec {
  const spec = program.values.get(value)?.spec ?? { name: value, datatype: "FP32", shape: [] };
  return { ...spec, name: value };
}

/** A position as a cut: what crosses and what it gives away. */
export function cutAt(program: Program, position: Position): Cut {
  const crossing = crossingAt(program, position);
  if (position.id === endCut)
    return { id: endCut, crossing: crossing.map(({ spec }) => spec), reveals: "answer" };
  const step = program.steps[position.step];
  const inside = step?.outputs.map(({ value }) => program.values.get(value)?.reveals ?? "features") ?? [];
  return {
    id: position.id,
    crossing: crossing.map(({ spec }) => spec),
    reveals: mostRevealing(
      crossing.map(({ value }) => program.values.get(value)?.reveals ?? insideReveals(step, inside)),
    ),
  };
}

/** Tensors inside a network are features, unless it was only fed what the operator declassified before. */
function insideReveals(step: ProgramStep | undefined, outputs: readonly Cut["reveals"][]): Cut["reveals"] {
  return step?.declassifiesTo === undefined && outputs.length > 0 ? mostRevealing(outputs) : "features";
}
