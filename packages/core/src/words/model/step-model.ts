import { type Body, type CutId, type ModelDescription, startCut, type Step } from "./model.ts";

/** A step that runs a model, as the part of its pipeline that the model is. */
export interface StepModel {
  readonly step: Step;
  readonly run: Extract<Step["run"], { readonly model: string }>;
  readonly from: CutId;
  readonly to: CutId;
}

/** Steps that run a model, in order: once for a request, or once for each of its elements where only others have it. */
export function stepModels(body: Body): readonly StepModel[] {
  if (body.kind === "graph") return [];
  return body.steps.flatMap((step, at) =>
    "model" in step.run && (step.forEach === undefined || step.run.elsewhere)
      ? [{ step, run: step.run, from: body.steps[at - 1]?.id ?? startCut, to: step.id }]
      : [],
  );
}

/** Whether one of its steps has a model that is no part of it, so that no endpoint runs all of it alone. */
export function needsOthers({ variants }: Pick<ModelDescription, "variants">): boolean {
  return variants.some(({ body }) => stepModels(body).some(({ run }) => run.elsewhere !== undefined));
}
