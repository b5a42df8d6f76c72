import {
  badConfiguration,
  type ModelConfig,
  someNames,
  type StepConfig,
  type VariantConfig,
} from "../configuration/index.ts";

/** Steps of a pipeline variant, overrides applied, in topological order. Throws `invalid-configuration`. */
export function orderedSteps(
  model: string,
  config: ModelConfig,
  variant: VariantConfig,
): readonly StepConfig[] {
  const steps = config.pipeline?.steps ?? [];
  const bad = (path: string, problem: string): Error => badConfiguration(model, config.file, path, problem);
  const ids = new Map<string, number>();
  for (const [index, { id }] of steps.entries()) {
    const first = ids.get(id);
    if (first !== undefined) {
      throw bad(
        `pipeline.steps[${index}].id`,
        `is ${JSON.stringify(id)}, as is that of step ${first}; ids are unique`,
      );
    }
    if (["start", "end"].includes(id))
      throw bad(`pipeline.steps[${index}].id`, `is ${id}, which names a cut`);
    ids.set(id, index);
  }
  for (const key of [...Object.keys(variant.parameters), ...Object.keys(variant.models)]) {
    if (!ids.has(key)) {
      throw bad(
        `variant ${variant.name}`,
        `changes step ${JSON.stringify(key)}; steps here: ${someNames([...ids.keys()])}`,
      );
    }
  }
  const changed = steps.map((step) => override(step, variant, bad));
  return sorted(changed, ids, (path, problem) => bad(path, problem));
}

/** The step that makes a value, when one of these steps does. */
function makerOf(value: string): string {
  const dot = value.indexOf(".");
  return dot < 0 ? "" : value.slice(0, dot);
}

/** Models of this endpoint that a configuration names in any of its variants. */
export function modelsNamed(config: ModelConfig): readonly string[] {
  const named = new Set<string>();
  const elsewhere = new Set<string>();
  for (const step of config.pipeline?.steps ?? []) {
    if (step.elsewhere) elsewhere.add(step.id);
    else if (step.model !== undefined) named.add(step.model);
  }
  for (const { models } of config.variants) {
    for (const [step, model] of Object.entries(models)) if (!elsewhere.has(step)) named.add(model);
  }
  return [...named];
}

type Bad = (path: string, problem: string) => Error;

function override(step: StepConfig, variant: VariantConfig, bad: Bad): StepConfig {
  const path = `pipeline step ${step.id}`;
  if ((step.transform === undefined) === (step.model === undefined)) {
    throw bad(path, "needs exactly one of transform and model");
  }
  if (step.elsewhere && step.model === undefined) throw bad(path, "is a transform, which runs here");
  const parameters = variant.parameters[step.id];
  const model = variant.models[step.id];
  if (step.transform === undefined && (parameters || Object.keys(step.parameters).length > 0)) {
    throw bad(path, "runs a model, which takes no parameters (with)");
  }
  if (step.transform !== undefined && step.version !== undefined)
    throw bad(path, "is a transform, which has no version");
  if (model !== undefined && step.model === undefined) {
    throw bad(`variant ${variant.name}`, `gives step ${step.id} a model, but it is a transform`);
  }
  if (step.forEach !== undefined && !Object.values(step.inputs).includes(step.forEach)) {
    throw bad(
      path,
      `runs for each ${step.forEach}, which is not among its inputs: ${someNames(Object.values(step.inputs))}`,
    );
  }
  return {
    ...step,
    ...(model === undefined ? {} : { model }),
    parameters: { ...step.parameters, ...parameters },
  };
}

/** Kahn's sort, keeping the written order wherever it is free to; a ring is named. */
function sorted(
  steps: readonly StepConfig[],
  ids: ReadonlyMap<string, number>,
  bad: Bad,
): readonly StepConfig[] {
  const waits = new Map<string, Set<string>>(
    steps.map((step) => [
      step.id,
      new Set(
        Object.values(step.inputs)
          .map(makerOf)
          .filter((id) => ids.has(id)),
      ),
    ]),
  );
  const order: StepConfig[] = [];
  while (order.length < steps.length) {
    const next = steps.find(({ id }) => waits.get(id)?.size === 0);
    if (!next) throw bad("pipeline", `is cyclic: ${ring(waits)}`);
    waits.delete(next.id);
    for (const set of waits.values()) set.delete(next.id);
    order.push(next);
  }
  return order;
}

function ring(waits: ReadonlyMap<string, ReadonlySet<string>>): string {
  const seen: string[] = [];
  let [at] = waits.keys();
  while (at !== undefined && !seen.includes(at)) {
    seen.push(at);
    [at] = waits.get(at) ?? [];
  }
  return [...seen.slice(seen.indexOf(at ?? "")), at ?? ""].reverse().join(" > ");
}
