import { type DataClass, type EndpointId, LongshoreError, type Rules } from "../../words/base/index.ts";
import type { InferenceRequest } from "../../wire/endpoint/index.ts";
import {
  type CutId,
  endCut,
  type PortSpec,
  type Segment,
  startCut,
  stepModels,
} from "../../words/model/index.ts";
import type { Tensor, Tensors } from "../../words/tensor/index.ts";
import type { KnownModel } from "../models/index.ts";

/** Whether no known endpoint runs all of it, or a part of it for the endpoint here. */
export function hasNoRoute(known: KnownModel | undefined): boolean {
  return known === undefined || (!known.whole && known.blocks.length === 0);
}

/**
 * Groups of endpoints: a request needs one of each group. Each model that runs elsewhere only has a group of the endpoints that run it.
 * With fewer than two such models, the only group is the endpoints that serve the whole.
 */
export function endpointsByStep(known: KnownModel): readonly (readonly EndpointId[])[] {
  const { description, here, servedAt, offersBy } = known;
  const body = here ? description.variants[0]?.body : undefined;
  const steps = body ? stepModels(body).filter(({ run }) => run.elsewhere) : [];
  if (steps.length < 2) return [servedAt];
  return steps.map((step) =>
    servedAt.filter((id) =>
      offersBy
        .get(id)
        ?.some(
          ({ segment: { from, to } }) =>
            (from === step.from && to === step.to) || (from === startCut && to === endCut),
        ),
    ),
  );
}

/** The tensors that cross at a cut; undefined if no frontier known here has the cut. */
export function crossingOf(known: KnownModel, variant: string, cut: CutId): readonly PortSpec[] | undefined {
  if (cut === startCut) return known.description.inputs;
  if (cut === endCut) return known.description.outputs;
  const table = known.table.variants.find((one) => one.name === variant);
  for (const bucket of table?.buckets ?? []) {
    const at = bucket.index.get(cut);
    if (at !== undefined) return bucket.cuts[at]?.crossing;
  }
  return undefined;
}

/**
 * Collects the tensors of a crossing, each from the first source that has it: first the reply of another endpoint, then the values held
 * here.
 */
export function gather(
  known: KnownModel,
  segment: Segment,
  sources: readonly (Tensors | undefined)[],
): Tensors {
  const specs = crossingOf(known, segment.variant, segment.from);
  const [first] = sources;
  if (!specs) return first ?? new Map<string, Tensor>();
  const tensors = new Map<string, Tensor>();
  for (const { name, optional } of specs) {
    const found = sources.find((source) => source?.has(name))?.get(name);
    if (!found && optional) continue;
    if (!found) {
      throw new LongshoreError(
        "bad-reply",
        "execute",
        `${name} is needed after ${segment.from} but nobody gave it`,
      );
    }
    tensors.set(name, found);
  }
  return tensors;
}

/** Names that an endpoint must return for a run that ends before the answer, without those already here. */
export function outputsToReturn(known: KnownModel, segment: Segment): readonly string[] | undefined {
  if (segment.to === endCut) return undefined;
  const before = crossingOf(known, segment.variant, segment.from);
  const after = crossingOf(known, segment.variant, segment.to);
  if (!before || !after) return undefined;
  const had = new Set(before.map((spec) => spec.name));
  const wanted = after.filter((spec) => !had.has(spec.name)).map((spec) => spec.name);
  return wanted.length > 0 && wanted.length < after.length ? wanted : undefined;
}

/** Throws `bad-reply` when outputs lack a name of the crossing, or have it in another datatype. */
export function checkCrossing(
  { known, extras }: { readonly known: KnownModel; readonly extras?: Pick<InferenceRequest, "classes"> },
  segment: Segment,
  outputs: Tensors,
  wanted: readonly string[] | undefined,
  from: string,
): void {
  const specs = crossingOf(known, segment.variant, segment.to);
  if (!specs) return;
  for (const { name, datatype, optional } of specs) {
    if (wanted && !wanted.includes(name)) continue;
    const given = outputs.get(name);
    if (given ? given.spec.datatype === datatype : optional) continue;
    // The tensor holds its best classes.
    if (given?.spec.datatype === "BYTES" && extras?.classes?.get(name)) continue;
    throw new LongshoreError(
      "bad-reply",
      "decode",
      given
        ? `${from} gave ${name} as ${given.spec.datatype}; the model declares ${datatype}`
        : `${from} did not give ${name}; it gave ${[...outputs.keys()].slice(0, 8).join(", ") || "nothing"}`,
    );
  }
}

/** The rules of a crossing: its own data class if the operator approved that a step declassifies, otherwise the class of the input. */
export function rulesFor(rules: Rules, known: KnownModel, segment: Segment): Rules {
  if (segment.from === startCut) return rules;
  const table = known.table.variants.find((one) => one.name === segment.variant);
  for (const bucket of table?.buckets ?? []) {
    const at = bucket.index.get(segment.from);
    if (at === undefined) continue;
    const classes: readonly (DataClass | undefined)[] = bucket.classes[at] ?? [undefined];
    const [only] = classes;
    return classes.length === 1 && only !== undefined ? { ...rules, dataClass: only } : rules;
  }
  return rules;
}
