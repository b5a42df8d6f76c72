import { type Call, LongshoreError } from "../base/index.ts";
import { type KnownModel, type Places, ranOf } from "../places/index.ts";
import { type Infeasible, noPlace } from "../plan/index.ts";

/** Who asks for what. */
export interface Asking {
  readonly known: KnownModel;
  readonly call: Call;
}

/**
 * The error of `noPlace`. Where all places that have the model are left alone for a while, it says when the first of them may be
 * asked again.
 */
export function refused(
  { places }: { readonly places: Places },
  { known, call }: Asking,
  plan: Infeasible,
  nowMs: number,
): LongshoreError {
  const error = noPlace(plan);
  if (plan.filter !== "unavailable") return error;
  const of = ranOf(known.description);
  let openMs = Infinity;
  for (const id of known.offersBy.keys()) {
    const place = places.all.get(id);
    if (!place || place.health.distrusted !== undefined) continue;
    const untilMs = places.pausedUntilMs(place, of, call.tenant);
    if (untilMs > nowMs) openMs = Math.min(openMs, untilMs);
  }
  if (openMs === Infinity) return error;
  const { reason, stage, message } = error;
  return new LongshoreError(reason, stage, message, { retryAfterMs: Math.ceil(openMs - nowMs) });
}
