import {
  type Call,
  type Cut,
  endCut,
  startCut,
  type Step,
  type TensorSpec,
  type Variant,
} from "@longshore/core";
import type { OpenGraph } from "../extract/index.ts";
import { type CutSketch, promising, sketchCuts } from "./sketch.ts";
import type { ProfileBucket, ProfiledVariant, ProfileTarget } from "./target.ts";

/** A cut that is worth measuring, with the memory that its head needs as far as a graph was there to tell. */
export interface ChosenCut {
  readonly cut: Cut;
  readonly headMemoryBytes: number;
}

/** Finds the file of a graph: of the model itself (`step` undefined) or of one of its steps. */
export type GraphFinder = (variant: string, step: string | undefined) => Promise<OpenGraph | undefined>;

/**
 * Chooses the cuts to measure: those between steps all, those inside graphs by what can be said without running them,
 * at most `limit` in all but at least two a graph; of a `limit` of 0 the ends alone come. A graph whose file is not at hand gives evenly spaced ones.
 */
export async function chooseCuts(
  target: ProfileTarget,
  profiled: ProfiledVariant,
  variant: Variant | undefined,
  bucket: ProfileBucket,
  options: { readonly graphs?: GraphFinder | undefined; readonly limit: number },
  call: Call,
): Promise<readonly ChosenCut[]> {
  const legal = await target.cuts(profiled.model, profiled.version, profiled.variant, call);
  // A variant for one tier alone is never split between two.
  const whole = variant?.tiers?.length === 1 || options.limit === 0;
  const cuts = whole ? legal.filter(({ id }) => isEnd(id)) : legal;
  const groups = new Map<string, Cut[]>();
  for (const cut of cuts) {
    const step = stepOf(cut.id);
    if (step !== undefined) groups.set(step, [...(groups.get(step) ?? []), cut]);
  }
  const outer = cuts.filter((cut) => stepOf(cut.id) === undefined);
  const share = Math.max(2, Math.floor((options.limit - outer.length) / Math.max(1, groups.size)));
  const inner = new Map<string, ChosenCut>();
  const stepMemory = new Map<string, number>();
  for (const [step, group] of groups) {
    const graph = await options.graphs?.(profiled.variant, step === "" ? undefined : step);
    const inputs = graph && (await graphInputs(target, profiled, variant, step, cuts, bucket, graph, call));
    if (!graph || !inputs) {
      for (const cut of spaced(group, share)) inner.set(cut.id, { cut, headMemoryBytes: 0 });
      continue;
    }
    for (const { cut, sketch } of matched(group, sketchCuts(graph.split, graph.table, inputs), share)) {
      inner.set(cut.id, { cut, headMemoryBytes: sketch.headMemoryBytes });
      stepMemory.set(step, Math.max(stepMemory.get(step) ?? 0, sketch.headMemoryBytes));
    }
  }
  return withMemory(cuts, inner, stepMemory);
}

function isEnd(cut: string): boolean {
  return cut === startCut || cut === endCut;
}

/** Step whose graph a cut lies in: "" for a bare graph, undefined for a cut between steps. */
export function stepOf(cut: string): string | undefined {
  const inside = /^(?:(.+)\.)?c\d+$/.exec(cut);
  return inside ? (inside[1] ?? "") : undefined;
}

function spaced(cuts: readonly Cut[], count: number): readonly Cut[] {
  if (cuts.length <= count) return cuts;
  return Array.from(
    { length: count },
    (_unused, index) => cuts[Math.round(((index + 0.5) * cuts.length) / count - 0.5)],
  ).filter((cut): cut is Cut => cut !== undefined);
}

/** The promising sketches with the engine's own cut of the same number, whose tensors carry the names of the pipeline. */
function matched(
  group: readonly Cut[],
  sketches: readonly CutSketch[],
  count: number,
): readonly { readonly cut: Cut; readonly sketch: CutSketch }[] {
  const byNumber = new Map(group.map((cut) => [cut.id.slice(cut.id.lastIndexOf("c")), cut]));
  return promising(sketches, count).flatMap((sketch) => {
    const cut = byNumber.get(sketch.cut.id);
    return cut ? [{ cut, sketch }] : [];
  });
}

/** Real specs of the inputs of a graph: the sample's, or what crosses right before the step. */
async function graphInputs(
  target: ProfileTarget,
  profiled: ProfiledVariant,
  variant: Variant | undefined,
  step: string,
  cuts: readonly Cut[],
  bucket: ProfileBucket,
  graph: OpenGraph,
  call: Call,
): Promise<readonly TensorSpec[] | undefined> {
  const [sample] = bucket.samples;
  if (!sample) return undefined;
  if (step === "") return [...sample.values()].map((tensor) => tensor.spec);
  const wiring =
    variant?.body.kind === "pipeline" ? variant.body.steps.find((one) => one.id === step) : undefined;
  const at = cuts.findIndex((cut) => stepOf(cut.id) === step);
  const before = cuts.slice(0, at).findLast((cut) => stepOf(cut.id) === undefined);
  if (!wiring || !before) return undefined;
  const values =
    before.id === startCut
      ? sample
      : (
          await target.infer(
            { segment: { ...profiled, from: startCut, to: before.id }, inputs: sample, codecs: {} },
            call,
          )
        ).outputs;
  return portSpecs(wiring, graph, (name) => values.get(name)?.spec);
}

function portSpecs(
  step: Step,
  graph: OpenGraph,
  specOf: (value: string) => TensorSpec | undefined,
): readonly TensorSpec[] | undefined {
  const specs = graph.split.inputs.flatMap((input) => {
    const spec = specOf(step.inputs[input.name] ?? "");
    return spec ? [{ ...spec, name: input.name }] : [];
  });
  return specs.length === graph.split.inputs.length ? specs : undefined;
}

/** All cuts to measure in order; a head that holds whole steps needs the memory of the largest of them, or their sum. */
function withMemory(
  cuts: readonly Cut[],
  inner: ReadonlyMap<string, ChosenCut>,
  stepMemory: ReadonlyMap<string, number>,
): readonly ChosenCut[] {
  const seen = new Set<string>();
  let finished = 0;
  return cuts.flatMap((cut) => {
    const step = stepOf(cut.id);
    if (step !== undefined) {
      const chosen = inner.get(cut.id);
      return chosen ? [{ cut, headMemoryBytes: finished + chosen.headMemoryBytes }] : [];
    }
    // The cut after a step carries its name; every loaded model stays in memory.
    for (const [name, bytes] of stepMemory) {
      if (!seen.has(name) && (cut.id === name || cut.id === endCut)) {
        seen.add(name);
        finished += bytes;
      }
    }
    return [{ cut, headMemoryBytes: finished }];
  });
}
