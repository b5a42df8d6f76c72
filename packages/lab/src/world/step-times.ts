/** The steps inside a segment of a pipeline, and how its time is divided among them. */
import { type BucketProfile, type CutId, endCut, estimateOf, type Segment, startCut } from "@longshore/core";
import { meanOf } from "@longshore/core/internal";
import type { StepWork } from "../slots/index.ts";
import { cutOf } from "./profile-times.ts";
import type { SimulatedModel } from "./simulated-model.ts";
import type { StepTime } from "./simulated-model.ts";

/** A model without known steps as work: one run. */
export function wholeWork({ description }: Pick<SimulatedModel, "description">): readonly StepWork[] {
  return [{ graph: description.name, ratio: 1, runs: 1 }];
}

/** The steps of a segment and their shares of its time; of a model without known steps, and with a cut that none of them has, one run. */
export function stepsWithin(
  model: Pick<SimulatedModel, "description" | "steps">,
  bucket: BucketProfile,
  { from, to }: Pick<Segment, "from" | "to">,
): readonly StepWork[] {
  const { steps } = model;
  const whole = wholeWork(model);
  if (!steps) return whole;
  const first = positionOf(steps, bucket, from);
  const last = positionOf(steps, bucket, to);
  if (first === undefined || last === undefined) return whole;
  const parts = steps.map((step, index) => ({
    ...step,
    partMs: step.tookMs * Math.max(0, Math.min(index + 1, last) - Math.max(index, first)),
  }));
  const totalMs = parts.reduce((sum, { partMs }) => sum + partMs, 0);
  if (totalMs <= 0) return whole;
  return parts
    .filter(({ partMs }) => partMs > 0)
    .map(({ graph, runs, together, partMs }) => ({
      graph,
      runs,
      ratio: partMs / totalMs,
      ...(together === undefined ? {} : { together }),
    }));
}

/** Steps before a cut, and the share of the one that it lies inside of: the time of its head beyond the steps before. */
function positionOf(steps: readonly StepTime[], bucket: BucketProfile, id: CutId): number | undefined {
  if (id === startCut) return 0;
  if (id === endCut) return steps.length;
  const before = steps.findIndex((step) => step.id === id);
  if (before >= 0) return before + 1;
  const at = steps.findIndex((step) => step.id === id.slice(0, Math.max(0, id.lastIndexOf("."))));
  const step = steps[at];
  if (!step) return undefined;
  const headMs = (cut: CutId): number =>
    meanOf(estimateOf(cutOf(bucket, cut).headMs, { observedAtMs: 0, origin: "told" }));
  const sum = (some: readonly StepTime[]): number => some.reduce((total, { tookMs }) => total + tookMs, 0);
  const insideMs = (headMs(id) / headMs(endCut)) * sum(steps) - sum(steps.slice(0, at));
  return at + Math.min(1, Math.max(0, insideMs / step.tookMs));
}
