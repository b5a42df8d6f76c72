import {
  type Call,
  type InferenceRequest,
  LongshoreError,
  type Tensor,
  type Tensors,
  type TensorSpec,
} from "@longshore/core";
import { areHere, inputFits, readInputs } from "@longshore/core/internal";
import { someNames } from "../repository/index.ts";
import type { SegmentPlan } from "../run/index.ts";

type Inputs = InferenceRequest["inputs"];

/** Checks what crosses into a segment by its specs alone, before bodies are read. Throws `invalid-input`. */
export function checkInputs(plan: SegmentPlan, inputs: Inputs): void {
  const where = `${plan.from}..${plan.to}`;
  const refuse = (problem: string): never => {
    throw new LongshoreError("invalid-input", "admission", `segment ${where}: ${problem}`);
  };
  for (const name of inputs.keys()) {
    if (plan.crossing.some(({ spec }) => spec.name === name)) continue;
    refuse(
      `there is no input ${JSON.stringify(name)}; it takes ${someNames(plan.crossing.map(({ spec }) => spec.name))}`,
    );
  }
  for (const { spec, value } of plan.crossing) {
    const given = inputs.get(spec.name)?.spec;
    if (!given) {
      if (plan.needed.has(value)) refuse(`input ${spec.name} (${shown(spec)}) is missing`);
      continue;
    }
    if (given.datatype !== spec.datatype || !fits(given, spec)) {
      refuse(`input ${spec.name} is ${shown(given)}; ${shown(spec)} is expected`);
    }
  }
}

/** A ragged value has sizes that differ between elements (-1); a plain list of equal elements is one, too. */
function fits(given: TensorSpec, declared: TensorSpec): boolean {
  if (given.ragged && !declared.ragged) return false;
  if (!declared.ragged) return inputFits(given.shape, declared.shape);
  return (
    given.shape.length === declared.shape.length &&
    given.shape.every((size, axis) => {
      const wanted = declared.shape[axis];
      return wanted === -1 || size === -1 || size === wanted || given.shape[0] === 0;
    })
  );
}

function shown({ datatype, shape, ragged }: TensorSpec): string {
  return `${ragged ? "ragged " : ""}${datatype} [${shape.join(", ")}]`;
}

/** The inputs of a run by the names that it gives them, once all have arrived: at once where all are here. */
export function runInputs(plan: SegmentPlan, inputs: Inputs, call: Call): Tensors | Promise<Tensors> {
  if (areHere(inputs)) return byValue(plan, inputs);
  return readInputs(inputs, call).then((read) => byValue(plan, read));
}

function byValue({ crossing }: SegmentPlan, inputs: Tensors): Tensors {
  const named = new Map<string, Tensor>();
  for (const { spec, value } of crossing) {
    const input = inputs.get(spec.name);
    if (input) named.set(value, input);
  }
  return named;
}
