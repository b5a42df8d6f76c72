import type { DeclaredPort, PipelineConfig, StepConfig } from "./config.ts";
import { badConfiguration } from "./names.ts";

/** One step of `ensemble_scheduling`: tensors of the ensemble by the names that the step's model gives them. */
export interface TritonEnsembleStep {
  readonly model_name?: string;
  readonly model_version?: number;
  readonly input_map?: readonly { readonly key?: string; readonly value?: string }[];
  readonly output_map?: readonly { readonly key?: string; readonly value?: string }[];
}

/**
 * An ensemble as a pipeline. Triton names the tensors between steps; here a value is named after the step that makes it, so each name
 * is replaced by `<step>.<output>`. Steps may stand in any order and are sorted later.
 */
export function ensemblePipeline(
  model: string,
  steps: readonly TritonEnsembleStep[],
  inputs: readonly DeclaredPort[],
  outputs: readonly { readonly name?: string }[],
): PipelineConfig {
  const bad = (path: string, problem: string): Error =>
    badConfiguration(model, "config.pbtxt", path, problem);
  const values = new Map(inputs.map(({ name }) => [name, name]));
  const ids: string[] = [];
  for (const [index, step] of steps.entries()) {
    if (!step.model_name) throw bad(`ensemble_scheduling.step[${index}]`, "has no model_name");
    const base = step.model_name
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, "-")
      .replaceAll(/^-|-$/g, "")
      .slice(0, 32);
    const same = ids.filter((id) => id === base || id.startsWith(`${base}-`)).length;
    const id = same === 0 ? base || "step" : `${base}-${index}`;
    ids.push(id);
    for (const { key = "", value = "" } of step.output_map ?? []) {
      if (values.has(value)) throw bad(`ensemble tensor ${JSON.stringify(value)}`, "is made twice");
      values.set(value, `${id}.${key}`);
    }
  }
  const value = (tensor: string, path: string): string => {
    const found = values.get(tensor);
    if (found !== undefined) return found;
    throw bad(path, `takes ${JSON.stringify(tensor)}, which no step makes and no input is`);
  };
  return {
    steps: steps.map((step, index): StepConfig => ({
      id: ids[index] ?? "",
      model: step.model_name ?? "",
      ...(step.model_version !== undefined && step.model_version > 0
        ? { version: String(step.model_version) }
        : {}),
      parameters: {},
      inputs: Object.fromEntries(
        (step.input_map ?? []).map(({ key = "", value: tensor = "" }) => [
          key,
          value(tensor, `ensemble_scheduling.step[${index}] input_map`),
        ]),
      ),
    })),
    outputs: Object.fromEntries(outputs.map(({ name = "" }) => [name, value(name, "output")])),
  };
}
