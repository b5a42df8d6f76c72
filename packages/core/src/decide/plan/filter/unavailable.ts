import type { EndpointId } from "../../../words/base/index.ts";
import { type ModelDescription, stepModels } from "../../../words/model/index.ts";

/** Removes endpoints that are down, backing off, or failed for this very request. */
export function unavailableRemoves(
  unavailable: string | undefined,
  endpoint: EndpointId,
  excluded: ReadonlySet<EndpointId>,
): boolean {
  return unavailable !== undefined || excluded.has(endpoint);
}

/** The sentence for `lost`. */
export function unavailableDetail(unavailable: string | undefined): string {
  return unavailable ?? "it failed for this request";
}

/** The sentence for a step whose model is outside the pipeline: no endpoint runs all of the pipeline alone. */
export function elsewhereDetail({ variants }: ModelDescription, variant: string): string {
  const steps = variants.flatMap(({ name, body }) => (name === variant ? stepModels(body) : []));
  const names = steps.flatMap(({ step, run }) => (run.elsewhere ? [`${run.model} (step ${step.id})`] : []));
  return `only other endpoints have ${names.join(", ")}`;
}
