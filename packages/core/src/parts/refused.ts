import { type Call, type EndpointId, LongshoreError } from "../base/index.ts";
import { type KnownModel, type Places, ranOf } from "../places/index.ts";
import { type Infeasible, noPlace } from "../plan/index.ts";

/** Who asks for what. */
interface Asking {
  readonly known: KnownModel;
  readonly call: Call;
}

/** Endpoints that have the model and are paused now, the first to be asked again first, with how long that takes in milliseconds. */
export function pausesOf(
  places: Places,
  { known, call }: Asking,
  nowMs: number,
): readonly { readonly id: EndpointId; readonly leftMs: number }[] {
  const of = ranOf(known.description);
  const paused: { readonly id: EndpointId; readonly leftMs: number }[] = [];
  for (const id of known.offersBy.keys()) {
    const place = places.all.get(id);
    if (!place || place.health.distrusted !== undefined) continue;
    const leftMs = places.pausedUntilMs(place, of, call.tenant) - nowMs;
    if (leftMs > 0) paused.push({ id, leftMs: Math.ceil(leftMs) });
  }
  return paused.sort((one, other) => one.leftMs - other.leftMs);
}

/** The error of a decision without an endpoint. With `leftMs` there is one again after so many milliseconds: `no-place`, retryable. */
export function refused(plan: Infeasible, leftMs: number | undefined): LongshoreError {
  const error = noPlace(plan);
  if (leftMs === undefined) return error;
  return new LongshoreError("no-place", error.stage, error.message, { retryAfterMs: leftMs });
}
