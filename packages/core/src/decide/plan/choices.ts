import { endCut, startCut } from "../../words/model/index.ts";
import { agreementOfVariant } from "./filter/agreement.ts";
import { tierRemoves } from "./filter/tier.ts";
import type { PlanRequest } from "./request.ts";
import { bucketFor, type BucketTable, bucketWithCut, tierBit, type VariantTable } from "../table/index.ts";
import type { ModelView, View } from "./view.ts";

/** One variant as it can be used for this request: the bucket of the input, and which of its cuts still lie ahead. */
export interface Choice {
  readonly variant: VariantTable;
  /** Position among the variants of the model table. */
  readonly position: number;
  readonly bucket: BucketTable;
  readonly bucketPosition: number;
  /** Positions of the request's cuts in the bucket. */
  readonly from: number;
  readonly to: number;
  /** Run time here divided by the time in the profile; NaN if it cannot run here. */
  readonly slowness: number;
  readonly agreementRatio: number;
}

/** The variants that the request may use at all. */
export function choicesOf(request: PlanRequest, view: View, model: ModelView): readonly Choice[] {
  const choices: Choice[] = [];
  const { limits } = request;
  const features = request.usual ? { ...request.usual, ...request.features } : request.features;
  const [standard] = model.table.variants;
  for (const [position, variant] of model.table.variants.entries()) {
    if (limits.variant !== undefined && variant.name !== limits.variant) continue;
    if (request.variant !== undefined && variant.name !== request.variant) continue;
    const atStart = request.from === startCut;
    const bucketPosition = atStart
      ? bucketFor(variant, features)
      : bucketWithCut(variant, features, request.from);
    const bucket = variant.buckets[bucketPosition];
    if (!bucket) continue;
    const from = atStart ? 0 : bucket.index.get(request.from);
    const to = request.to === endCut ? bucket.cuts.length - 1 : bucket.index.get(request.to);
    if (from === undefined || to === undefined || from >= to) continue;
    choices.push({
      variant,
      position,
      bucket,
      bucketPosition,
      from,
      to,
      slowness: holds(view, variant) ? (model.localSlowness[position]?.[bucketPosition] ?? NaN) : NaN,
      agreementRatio: agreementOfVariant(variant, standard, limits),
    });
  }
  return choices;
}

/** A tier that may not hold a variant runs no part of it. */
function holds(view: View, variant: VariantTable): boolean {
  const { info } = view.device;
  return info !== undefined && !tierRemoves(variant.tierMask, tierBit(info.tier));
}
