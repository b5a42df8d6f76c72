import type { DataClass, Rules } from "../base/index.ts";
import { type Features, type Segment, startCut } from "../model/index.ts";
import type { Leg } from "../plan/index.ts";
import { type Tensors, totalBytes } from "../tensor/index.ts";
import type { Held } from "./job.ts";
import type { KnownModel } from "../places/index.ts";

/** A crossing that a head here made, as the start of what comes next. Items are counted when it is ragged. */
export function heldAt(leg: Leg, outputs: Tensors, before: Features): Held {
  let items: number | undefined;
  for (const { spec } of outputs.values()) if (spec.ragged === true) items ??= spec.shape[0];
  return {
    cut: leg.segment.to,
    variant: leg.segment.variant,
    tensors: outputs,
    bytes: totalBytes(outputs),
    features: items === undefined ? before : { ...before, items },
  };
}

/**
 * The rules that a crossing travels under: the class that clings to it where the operator approved that a step
 * declassifies, else the input's own.
 */
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
