import { LongshoreError } from "../base/index.ts";
import { joinElements, splitElements, type Tensor, type Tensors, type TensorSpec } from "../tensor/index.ts";

/** The fields of a step that matter here: the values it takes, and the value that it runs over. */
export interface RepeatedStep {
  readonly id: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly forEach?: string;
}

function valueOf(values: Tensors, name: string, step: string): Tensor {
  const value = values.get(name);
  if (value) return value;
  throw new LongshoreError("invalid-input", "execute", `step ${step} needs ${name}, which is not there`);
}

/** The inputs of a step that runs once, by port. */
export function stepInputs(step: RepeatedStep, values: Tensors): Tensors {
  return new Map(
    Object.entries(step.inputs).map(([port, name]) => [port, valueOf(values, name, step.id)] as const),
  );
}

/**
 * The inputs of a step under `forEach`, one map for each element. The value named is taken apart along its leading axis.
 * So is every other input that is ragged, because it was collected from a step that ran over the same elements: its count
 * must agree, `invalid-input` otherwise. All other inputs go to each run whole.
 */
export function eachInputs(step: RepeatedStep, values: Tensors): readonly Tensors[] {
  const over = step.forEach ?? "";
  const elements = splitElements(valueOf(values, over, step.id));
  const apart = new Map<string, readonly Tensor[]>([[over, elements]]);
  for (const name of Object.values(step.inputs)) {
    const value = valueOf(values, name, step.id);
    if (apart.has(name) || !(value.rows || value.spec.ragged)) continue;
    const others = splitElements(value);
    if (others.length !== elements.length) {
      throw new LongshoreError(
        "invalid-input",
        "execute",
        `step ${step.id} runs over ${elements.length} elements of ${over}, but ${name} has ${others.length}`,
      );
    }
    apart.set(name, others);
  }
  return elements.map(
    (_, index) =>
      new Map(
        Object.entries(step.inputs).flatMap(([port, name]) => {
          const value = apart.get(name)?.[index] ?? values.get(name);
          return value ? [[port, value] as const] : [];
        }),
      ),
  );
}

/** The spec of one element of the value that a step runs over, for `Transform.specs` and for runs over nothing. */
export function elementSpec(spec: TensorSpec): TensorSpec {
  return { name: spec.name, datatype: spec.datatype, shape: spec.shape.slice(1) };
}

/**
 * The inputs' specs as one run of the step sees them, by port: values taken apart lose their leading axis. The counterpart
 * of `eachInputs` (or `stepInputs`, without `forEach`) before anything ran.
 */
export function portSpecs(
  step: RepeatedStep,
  specs: ReadonlyMap<string, TensorSpec>,
): ReadonlyMap<string, TensorSpec> {
  return new Map(
    Object.entries(step.inputs).flatMap(([port, name]) => {
      const spec = specs.get(name);
      if (!spec) return [];
      const apart = step.forEach !== undefined && (name === step.forEach || spec.ragged === true);
      return [[port, apart ? elementSpec(spec) : spec] as const];
    }),
  );
}

/**
 * The outputs of all runs of a `forEach` step as ragged values, by port. `specs` are those of one run; they give datatype and
 * shape when there were no elements.
 */
export function collected(runs: readonly Tensors[], specs: readonly TensorSpec[]): Tensors {
  const values = new Map<string, Tensor>();
  for (const spec of specs) {
    const parts = runs.flatMap((run) => run.get(spec.name) ?? []);
    if (parts.length !== runs.length) {
      throw new LongshoreError(
        "internal",
        "execute",
        `output ${spec.name} came from ${parts.length} of ${runs.length} runs`,
      );
    }
    values.set(spec.name, joinElements(spec.name, parts, spec));
  }
  return values;
}
