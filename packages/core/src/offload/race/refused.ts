import { type Call, type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type EndpointStates, ranOf } from "../endpoints/index.ts";
import { type Infeasible, noEndpoint } from "../../decide/plan/index.ts";

/** Who asks for what. */
interface Asking {
  readonly known: KnownModel;
  readonly call: Call;
}

/** Endpoints that have the model and are paused now, the first to be asked again first, with how long that takes in milliseconds. */
export function pausesOf(
  endpoints: EndpointStates,
  { known, call }: Asking,
  nowMs: number,
): readonly { readonly id: EndpointId; readonly leftMs: number }[] {
  const of = ranOf(known.description);
  const paused: { readonly id: EndpointId; readonly leftMs: number }[] = [];
  for (const id of known.offersBy.keys()) {
    const endpoint = endpoints.all.get(id);
    if (!endpoint || endpoint.health.distrusted !== undefined) continue;
    const leftMs = endpoints.pausedUntilMs(endpoint, of, call.tenant) - nowMs;
    if (leftMs > 0) paused.push({ id, leftMs: Math.ceil(leftMs) });
  }
  return paused.sort((one, other) => one.leftMs - other.leftMs);
}

/** The error of a decision without an endpoint. With `leftMs` there is one again after so many milliseconds: `no-endpoint`, retryable. */
export function refused(plan: Infeasible, leftMs: number | undefined): LongshoreError {
  const error = noEndpoint(plan);
  if (leftMs === undefined) return error;
  return new LongshoreError("no-endpoint", error.stage, error.message, { retryAfterMs: leftMs });
}
